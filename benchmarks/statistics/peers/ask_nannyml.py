"""NannyML: its univariate drift calculator with its defaults, a chunk a check."""

from __future__ import annotations

import nannyml
import numpy as np
import pandas as pd


def alarms(reference: np.ndarray, live: np.ndarray, *, per_check: int) -> dict[str, list[int]]:
    """Checks at which any summary's alert is set."""
    names = [f"summary_{i}" for i in range(reference.shape[1])]
    calculator = nannyml.UnivariateDriftCalculator(column_names=names, chunk_size=per_check)
    calculator.fit(pd.DataFrame(reference, columns=names))
    found = calculator.calculate(pd.DataFrame(live, columns=names)).filter(period="analysis")
    table = found.to_df()
    alerts = table[[column for column in table.columns if column[-1] == "alert"]]
    return {"UnivariateDriftCalculator, any summary": np.flatnonzero(alerts.any(axis=1)).tolist()}

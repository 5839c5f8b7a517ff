"""The peer of the fleet pass: Evidently's data-drift preset over one adapter's signals."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

Floats = npt.NDArray[np.float64]


def drift_report(reference: Floats, window: Floats) -> None:
    """Compare signals ``(S, n)`` with references ``(S, m)`` as the preset does by default."""
    run = Report([DataDriftPreset()]).run(_dataset(window), _dataset(reference))
    run.dict()


def _dataset(rows: Floats) -> Any:
    frame = pd.DataFrame({f"signal_{i}": row for i, row in enumerate(rows)})
    return Dataset.from_pandas(frame, DataDefinition(numerical_columns=list(frame)))

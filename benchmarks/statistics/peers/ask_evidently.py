"""Evidently: its data-drift preset with its defaults, a report a check."""

from __future__ import annotations

from typing import Any

import numpy as np
import pandas as pd
from evidently import DataDefinition, Dataset, Report
from evidently.presets import DataDriftPreset

CHECKS = 32
"""Checks of each stream: a report takes a tenth of a second and more."""
_DRIFTED_SHARE = 0.5
"""The preset's default: a dataset has drifted when half of its columns have."""


def alarms(reference: np.ndarray, live: np.ndarray, *, per_check: int) -> dict[str, list[int]]:
    """Checks that the preset calls drifted, and checks at which it calls any summary so."""
    before = _dataset(reference)
    shares = [_share(before, batch) for batch in live.reshape(-1, per_check, live.shape[1])]
    return {
        "DataDriftPreset, half the summaries": _at_least(shares, _DRIFTED_SHARE),
        "DataDriftPreset, any summary": _at_least(shares, 1e-9),
    }


def _share(before: Any, batch: np.ndarray) -> float:
    found = Report([DataDriftPreset()]).run(_dataset(batch), before).dict()
    for metric in found["metrics"]:
        value = metric["value"]
        if isinstance(value, dict) and "share" in value:
            return float(value["share"])
    raise ValueError("the preset reported no share of drifted columns")


def _at_least(shares: list[float], level: float) -> list[int]:
    return [check for check, share in enumerate(shares) if share >= level]


def _dataset(rows: np.ndarray) -> Any:
    frame = pd.DataFrame({f"summary_{i}": column for i, column in enumerate(rows.T)})
    return Dataset.from_pandas(frame, DataDefinition(numerical_columns=list(frame)))

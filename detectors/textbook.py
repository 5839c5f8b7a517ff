"""The thresholds of textbooks, for the preset `classic`, and the values that they limit."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from detectors.types import Score, Window


def smallest_p_value(_window: Window, score: Score) -> float | None:
    """Return the smallest KS p-value of a rank detector's signals; None without data."""
    signals = score.details.get("signals")
    if not isinstance(signals, Mapping):
        return None
    return min((one["ks_p_value"] for one in signals.values() if one["n"]), default=None)


def mean_of(signal: str) -> Callable[[Window, Score], float | None]:
    """Return a function that averages a signal over a window; None without data."""

    def mean(window: Window, _score: Score) -> float | None:
        values = window.signals.get(signal, np.empty(0))
        known = values[~np.isnan(values)]
        return float(known.mean()) if known.size else None

    return mean


@dataclass(frozen=True, slots=True, kw_only=True)
class Threshold:
    """A textbook threshold: the value compared, its limit, and the side that is past it.

    value
        Computes the value from a window and its score; None: it is not a window's.
    """

    what: str
    limit: float
    above: bool = False
    value: Callable[[Window, Score], float | None] | None = None

    def past(self, value: float) -> bool:
        """Whether a value is past the limit."""
        return value > self.limit if self.above else value < self.limit


SMALLEST_P_VALUE = Threshold(what="smallest KS p-value", limit=0.01, value=smallest_p_value)

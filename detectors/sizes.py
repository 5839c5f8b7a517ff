"""Model a signal's usual value by request size, so that long answers are not slow ones.

An engine's time is close to a straight line in the tokens it reads and writes. The line is fitted
to the reference, and values are expressed relative to it: 1 is usual, 2 is twice as long as a
request of these sizes took.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from detectors.packing import Arrays, words
from detectors.types import Floats, Window

_THIRDS = (1 / 3, 2 / 3)
_ROUNDS = 6
_SMALLEST = 1e-3
"""Of the usual value: a line through noise must not divide by zero."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SizeLine:
    """One signal's usual value: ``base`` plus ``slopes`` times the sizes in ``columns``.

    Neither is below 0: more tokens take longer. ``usual`` are the sizes ``(C,)`` used for requests
    of unknown size.
    """

    signal: str
    columns: tuple[str, ...]
    base: float
    slopes: Floats
    usual: Floats

    def at(self, sizes: Floats) -> Floats:
        """Return the usual value for requests of some sizes ``(n, C)``."""
        known = np.where(np.isfinite(sizes), sizes, self.usual)
        return np.maximum(self.base + known @ self.slopes, _SMALLEST)


Lines = tuple[SizeLine, ...]


def fit_lines(baseline: Window, columns: Mapping[str, tuple[str, ...]]) -> Lines:
    """Fit a line to each signal of a baseline, by its sizes.

    Tukey's resistant lines, one size after the other, each through what the others leave,
    until they agree: a tenth of wild values moves them by little.
    Source: Tukey (1977), *Exploratory Data Analysis*, chapter 5.
    """
    return tuple(
        _fit(signal, names, _sizes(baseline, names), baseline.signals[signal])
        for signal, names in columns.items()
    )


def relative(lines: Lines, window: Window, signals: tuple[str, ...], values: Floats) -> Floats:
    """Return values ``(n, S)``, dividing those with a line by it."""
    if not lines:
        return values
    told = values.copy()
    for line in lines:
        place = signals.index(line.signal)
        with np.errstate(over="ignore"):
            told[:, place] = values[:, place] / line.at(_sizes(window, line.columns))
    return told


def dump_lines(lines: Lines) -> Arrays:
    """Name the arrays for :func:`detectors.packing.pack`; none if there is no line."""
    if not lines:
        return {}
    arrays: dict[str, Floats] = {"sized": np.array([line.signal for line in lines])}
    for place, line in enumerate(lines):
        arrays[f"size_columns_{place}"] = np.array(line.columns)
        arrays[f"size_line_{place}"] = np.concatenate(([line.base], line.slopes, line.usual))
    return arrays


def load_lines(arrays: Arrays) -> Lines:
    """Build lines from the arrays of :func:`dump_lines`."""
    return tuple(
        _load(arrays, signal, place)
        for place, signal in enumerate(words(arrays["sized"]) if "sized" in arrays else ())
    )


def _load(arrays: Arrays, signal: str, place: int) -> SizeLine:
    columns = words(arrays[f"size_columns_{place}"])
    line = arrays[f"size_line_{place}"]
    slopes, usual = line[1:].reshape(2, len(columns))
    return SizeLine(signal=signal, columns=columns, base=float(line[0]), slopes=slopes, usual=usual)


def _sizes(window: Window, columns: tuple[str, ...]) -> Floats:
    unknown = np.full(len(window), np.nan)
    return np.column_stack([window.signals.get(column, unknown) for column in columns])


def _fit(signal: str, columns: tuple[str, ...], sizes: Floats, value: Floats) -> SizeLine:
    known = np.isfinite(value)
    x, y = sizes[known], value[known]
    usual = np.array([_median(column[np.isfinite(column)]) for column in x.T])
    x = np.where(np.isfinite(x), x, usual)
    slopes = np.zeros(len(columns))
    for _ in range(_ROUNDS):
        for place, column in enumerate(x.T):
            others = np.delete(np.arange(slopes.size), place)
            slopes[place] = _slope(column, y - x[:, others] @ slopes[others])
    base = max(0.0, _median(y - x @ slopes))
    line = SizeLine(signal=signal, columns=columns, base=base, slopes=slopes, usual=usual)
    # if a negative base was cut off, the line is too high by a factor
    factor = _median(y / line.at(x)) if base == 0.0 else 1.0
    return SizeLine(signal=signal, columns=columns, base=base, slopes=slopes * factor, usual=usual)


def _slope(x: Floats, y: Floats) -> float:
    """Return the slope between the medians of the lower and upper third of sizes, at least 0."""
    if not x.size:
        return 0.0
    low, high = np.quantile(x, _THIRDS)
    below, above = x <= low, x >= high
    run = float(np.median(x[above]) - np.median(x[below]))
    if run <= 0.0:
        return 0.0
    return max(0.0, float(np.median(y[above]) - np.median(y[below])) / run)


def _median(values: Floats) -> float:
    return float(np.median(values)) if values.size else 0.0

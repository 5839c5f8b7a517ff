"""Signals of a window as columns, and which of them a baseline can stand for."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.errors import ReferenceTooSmall, SignalAbsent
from detectors.types import Floats, Window

SMALLEST_REFERENCE = 300
"""Measured baseline values of a signal; below, the null means say nothing useful."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Measured:
    """A detector's signals, split by whether the baseline measured them."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


def columns(window: Window, signals: tuple[str, ...]) -> Floats:
    """Values ``(n, S)`` of some signals; NaN where a record or the window lacks one."""
    table = np.full((len(window), len(signals)), np.nan)
    for column, signal in enumerate(signals):
        if signal in window.signals:
            table[:, column] = window.signals[signal]
    return table


def measured(baseline: Window, signals: tuple[str, ...]) -> Measured:
    """Split signals into those the baseline measured and those it never did.

    Raises
    ------
    SignalAbsent
        It measured none of them.
    ReferenceTooSmall
        It measured one, but fewer than 300 times.
    """
    counts = dict(
        zip(signals, (~np.isnan(columns(baseline, signals))).sum(axis=0).tolist(), strict=True)
    )
    present = tuple(signal for signal in signals if counts[signal])
    if not present:
        raise SignalAbsent(signals=signals)
    for signal in present:
        if counts[signal] < SMALLEST_REFERENCE:
            raise ReferenceTooSmall(signal=signal, needed=SMALLEST_REFERENCE, got=counts[signal])
    return Measured(present=present, absent=tuple(s for s in signals if not counts[s]))

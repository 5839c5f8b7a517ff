"""Read signals of a window as columns, and tell which of them a baseline covers."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from detectors.errors import ReferenceTooSmall, SignalAbsent
from detectors.types import Floats, Window

SMALLEST_REFERENCE = 300
"""Measured baseline values needed of a signal; below, the null means are useless."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeasuredSignals:
    """A detector's signals, split by whether the baseline measured them often enough."""

    present: tuple[str, ...]
    absent: tuple[str, ...]


def columns(window: Window, signals: tuple[str, ...]) -> Floats:
    """Return values ``(n, S)`` of some signals; NaN if a record or the window lacks one."""
    table = np.full((len(window), len(signals)), np.nan)
    for column, signal in enumerate(signals):
        if signal in window.signals:
            table[:, column] = window.signals[signal]
    return table


def measured(baseline: Window, signals: tuple[str, ...]) -> MeasuredSignals:
    """Split signals into those that the baseline covers and the others.

    Raises
    ------
    SignalAbsent
        The baseline measured none of them.
    ReferenceTooSmall
        The baseline measured some, but none 300 times.
    """
    counts = dict(
        zip(signals, (~np.isnan(columns(baseline, signals))).sum(axis=0).tolist(), strict=True)
    )
    present = tuple(signal for signal in signals if counts[signal] >= SMALLEST_REFERENCE)
    if not signals:
        raise SignalAbsent(signals=())
    if not present:
        most = max(signals, key=lambda signal: counts[signal])
        if not counts[most]:
            raise SignalAbsent(signals=signals)
        raise ReferenceTooSmall(signal=most, needed=SMALLEST_REFERENCE, got=counts[most])
    return MeasuredSignals(present=present, absent=tuple(s for s in signals if s not in present))

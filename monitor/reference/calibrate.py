"""Fit detectors to a baseline. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from detectors import DETECTORS
from detectors.columns import SMALLEST_REFERENCE, columns
from detectors.day_effect import ASSUMED, DayEffect
from detectors.errors import ReferenceTooSmall, SignalAbsent
from detectors.rank_detector import RankDetector
from detectors.rank_reference import RankReference
from detectors.signals import SignalKind, main_signal
from detectors.types import Window
from monitor.reference.errors import Unbuildable
from monitor.store.references.calibrations import Bins, Calibration

SMALLEST_BASELINE: Final = 300
COVERED_RECORDS: Final = 1_000
COVERED_DAYS: Final = 13.9
"""The span from first to last record that counts as 14 days: 1,000 records spread evenly over
14 days span 13.97 days on average."""
_SECONDS_PER_DAY: Final = 86_400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CalibrationSet:
    """Every detector's calibration and every ranked signal's bins.

    ``shown_days`` is the largest difference between days of each detector's signals, in sd, if
    there are enough days to tell.
    """

    calibrations: dict[str, Calibration]
    bins: dict[str, Bins]
    shown_days: dict[str, float] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenSpan:
    """How much of the adapter's life a baseline has seen."""

    records: int
    days: float

    @property
    def approved_by(self) -> str | None:
        """``coverage`` at 14 days and 1,000 records; None is provisional."""
        covered = self.days >= COVERED_DAYS and self.records >= COVERED_RECORDS
        return "coverage" if covered else None

    @property
    def hourly_rate(self) -> float:
        """Records per hour; 0 under a day, when a burst says nothing about traffic."""
        return self.records / (self.days * 24.0) if self.days >= 1.0 else 0.0


def span_of(window: Window) -> SeenSpan:
    """Measure from the first record to the last."""
    return SeenSpan(
        records=len(window), days=float(window.at[-1] - window.at[0]) / _SECONDS_PER_DAY
    )


def calibrate(
    window: Window, *, days: Mapping[str, DayEffect] | None = None, otherwise: DayEffect = ASSUMED
) -> CalibrationSet:
    """Fit every detector; one that the baseline cannot calibrate says why.

    ``days`` is, by detector, the assumed difference between days while the baseline has seen too
    few; ``otherwise`` is for detectors that it does not name.

    Raises
    ------
    Unbuildable
        No detector can use the baseline.
    """
    calibrations: dict[str, Calibration] = {}
    bins: dict[str, Bins] = {}
    shown: dict[str, float] = {}
    for name, detector in DETECTORS.items():
        try:
            fitted = detector.fit(window, days=(days or {}).get(name, otherwise))
        except (ReferenceTooSmall, SignalAbsent) as reason:
            calibrations[name] = Calibration(body=None, absent_reason=str(reason))
            continue
        calibrations[name] = Calibration(body=detector.dump(fitted))
        if isinstance(detector, RankDetector):
            bins |= _bins(fitted)
            if np.isfinite(fitted.null.shown_days):
                shown[name] = fitted.null.shown_days
    if all(one.body is None for one in calibrations.values()):
        reasons = "; ".join(f"{name}: {one.absent_reason}" for name, one in calibrations.items())
        raise Unbuildable(f"no detector can use this baseline: {reasons}")
    return CalibrationSet(calibrations=calibrations, bins=bins, shown_days=shown)


def measured_shares(window: Window, *, embedded: float, answered: float) -> dict[str, float]:
    """Return, by detector, the share of the baseline's requests that it could measure.

    ``embedded`` and ``answered`` are the shares with a vector of the prompt and of the answer: if
    the baseline's early half is its own index, only the later half is compared.
    """
    with_vector = {SignalKind.PROMPT: embedded, SignalKind.ANSWER: answered}
    shares: dict[str, float] = {}
    for name, detector in DETECTORS.items():
        signal = main_signal(detector)
        if signal is not None and signal.kind in with_vector:
            shares[name] = with_vector[signal.kind]
        elif detector.signals:
            told_by = detector.profile.told_by(_present(window, detector.signals))
            shares[name] = _share(window, told_by)
    return shares


def _present(window: Window, signals: tuple[str, ...]) -> tuple[str, ...]:
    counts = (~np.isnan(columns(window, signals))).sum(axis=0)
    return tuple(s for s, n in zip(signals, counts, strict=True) if n >= SMALLEST_REFERENCE)


def _share(window: Window, signals: tuple[str, ...]) -> float:
    return float((~np.isnan(columns(window, signals))).any(axis=1).mean()) if signals else 0.0


def _bins(fitted: RankReference) -> dict[str, Bins]:
    return {
        signal: Bins(edges=cuts, counts=counts.astype(np.int32))
        for signal, cuts, counts in zip(fitted.signals, fitted.cuts, fitted.counts, strict=True)
    }

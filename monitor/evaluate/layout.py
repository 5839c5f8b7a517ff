"""Arrange stored records and feedback as windows that can be compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from detectors import DETECTORS
from detectors.feedback import Directions
from detectors.types import Floats, Window
from monitor.domain import Arrival, Interval
from monitor.evaluate.calibrated import Calibrated
from monitor.store.records import feedback
from monitor.store.records.columns import RecordColumns
from monitor.strata import comparable


def feedback_window(
    arrivals: Sequence[Arrival],
    interval: Interval,
    *,
    directions: Directions,
    calibrated: Calibrated | None,
) -> Window:
    """Arrange feedback as a window's signals, without feedback on the reference's records."""
    signals = directions.signals
    given = feedback.laid_out(
        arrivals,
        names=list(signals),
        since=calibrated.feedback_from if calibrated else None,
    )
    return Window(
        start=interval.start.timestamp(),
        end=interval.end.timestamp(),
        at=given.at,
        signals={signals[name]: values for name, values in given.values.items()},
        subjects=given.subjects,
        entered=given.entered,
    )


def comparable_window(
    columns: RecordColumns, interval: Interval, calibrated: Calibrated | None
) -> Window:
    """Return the part of the records that the reference in force can compare."""
    signals = columns.signals
    if calibrated is not None:
        signals = comparable(signals, columns.strata, calibrated.reference.strata)
    return _cut(columns, signals, interval)


def windows_beside(
    columns: RecordColumns, interval: Interval, calibrated: Calibrated | None
) -> tuple[Window, ...]:
    """Return, for each reference beside the one in force, the records that only it compares."""
    if calibrated is None:
        return ()
    return tuple(
        _cut(columns, _own(columns, calibrated, number), interval)
        for number in range(len(calibrated.beside))
    )


def _own(columns: RecordColumns, calibrated: Calibrated, number: int) -> dict[str, Floats]:
    """Return the signals that neither the reference in force nor an earlier one compares."""
    one = calibrated.beside[number]
    found: dict[str, Floats] = {}
    for detector in one.by_detector:
        taken = [
            stratum
            for earlier in calibrated.beside[:number]
            if detector in earlier.by_detector
            for stratum in earlier.strata
        ]
        signals = {name: columns.signals[name] for name in DETECTORS[detector].signals}
        found |= comparable(
            signals, columns.strata, one.strata, but=(*calibrated.reference.strata, *taken)
        )
    return found


def _cut(columns: RecordColumns, signals: Mapping[str, Floats], interval: Interval) -> Window:
    return Window(
        start=interval.start.timestamp(),
        end=interval.end.timestamp(),
        at=columns.at,
        signals=signals,
        subjects=columns.subjects,
        entered=columns.arrived,
    )

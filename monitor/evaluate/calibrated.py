"""A version's reference, ready to be compared with."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import Connection

from detectors import DETECTORS
from monitor.domain import Reference, ReferenceId, VersionId
from monitor.policy.budget import saw_too_few_days
from monitor.store import calibrations, references
from monitor.store.calibrations import Calibration


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """A ready reference with one loaded calibration per detector that its baseline carries.

    ``absent`` says why a detector has none ("similarity: 120 measured, 300 needed").
    Feedback on records before ``feedback_from`` is none of the evidence against it; None: on
    any record it is. ``only_tickets`` are detectors that saw too few days to page. ``measured``
    is the share of the baseline's requests that a detector was measured on; all, where the
    reference does not say.
    """

    reference: Reference
    hourly_rate: float
    by_detector: Mapping[str, Any]
    absent: Mapping[str, str]
    feedback_from: datetime | None = None
    only_tickets: frozenset[str] = frozenset()
    measured: Mapping[str, float] = field(default_factory=dict)

    def strata_of(self, detector: str) -> tuple[str, ...]:
        """Name the settings that a detector can compare requests of."""
        del detector
        return tuple(self.reference.strata)


class Calibrations:
    """Loads each reference once; references never change, so nothing expires."""

    def __init__(self, *, most: int = 1_024) -> None:
        self._most = most
        self._known: dict[ReferenceId, Calibrated] = {}
        self._lock = Lock()

    def current(self, tx: Connection, version_id: VersionId) -> Calibrated | None:
        """Give the reference in force of the version, or None while it is learning."""
        reference = references.current(tx, version_id)
        if reference is None:
            return None
        with self._lock:
            known = self._known.get(reference.id)
        if known is not None and known.reference == reference:
            return known
        loaded = _load(tx, reference) if known is None else _approved(known, reference)
        with self._lock:
            while len(self._known) >= self._most:
                self._known.pop(next(iter(self._known)))
            self._known[reference.id] = loaded
        return loaded


def _approved(known: Calibrated, reference: Reference) -> Calibrated:
    """Only the approval of a reference can change after it is ready."""
    return replace(known, reference=reference)


def _load(tx: Connection, reference: Reference) -> Calibrated:
    stored = calibrations.read(tx, reference.id)
    details = references.details(tx, reference.id)
    loaded = unpacked(reference, stored, hourly_rate=details.hourly_rate)
    return replace(loaded, feedback_from=details.feedback_from, measured=details.measured)


def unpacked(
    reference: Reference, stored: Mapping[str, Calibration], *, hourly_rate: float
) -> Calibrated:
    """Make a reference's calibrations ready for use."""
    fitted = {
        name: DETECTORS[name].load(calibration.body)
        for name, calibration in stored.items()
        if calibration.body is not None and name in DETECTORS
    }
    return Calibrated(
        reference=reference,
        hourly_rate=hourly_rate,
        by_detector=fitted,
        only_tickets=saw_too_few_days(fitted, span_days=reference.span_days),
        absent={
            name: calibration.absent_reason or "not calibrated"
            for name, calibration in stored.items()
            if calibration.body is None
        },
    )

"""A version's reference, ready to be compared with."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from threading import Lock
from typing import Any

from sqlalchemy import Connection

from detectors import DETECTORS
from monitor.domain import Reference, ReferenceId, VersionId
from monitor.policy.budget import saw_too_few_days
from monitor.reference.calibrate import COVERED_DAYS
from monitor.store import calibrations, references, settings_references
from monitor.store.calibrations import Calibration
from monitor.store.settings_references import SettingsReference


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Beside:
    """What requests of other settings are compared with, where these matter.

    What is found against a ``young`` one, of less than a fortnight, moves no traffic.
    """

    id: int
    strata: tuple[str, ...]
    by_detector: Mapping[str, Any]
    young: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Calibrated:
    """A ready reference with one loaded calibration per detector that its baseline carries.

    ``absent`` says why a detector has none ("similarity: 120 measured, 300 needed").
    Feedback on records before ``feedback_from`` is none of the evidence against it; None: on
    any record it is. ``only_tickets`` are detectors that saw too few days to page. ``measured``
    is the share of the baseline's requests that a detector was measured on, where the reference
    says so. ``beside`` are references of settings that this one has not.
    """

    reference: Reference
    hourly_rate: float
    by_detector: Mapping[str, Any]
    absent: Mapping[str, str]
    feedback_from: datetime | None = None
    only_tickets: frozenset[str] = frozenset()
    measured: Mapping[str, float] = field(default_factory=dict)
    beside: tuple[Beside, ...] = ()

    def strata_of(self, detector: str) -> tuple[str, ...]:
        """Name the settings that a detector can compare requests of."""
        others = [s for one in self.beside if detector in one.by_detector for s in one.strata]
        return (*self.reference.strata, *others)

    def usual(self, detector: str) -> float:
        """Share of the baseline's own requests that a detector was measured on, in [0, 1]."""
        if detector not in self.by_detector:
            return 1.0
        if detector in self.measured:
            return self.measured[detector]
        units = int(self.by_detector[detector].null.units.max())
        return min(1.0, units / max(self.reference.n_baseline, 1))

    @property
    def strata(self) -> tuple[str, ...]:
        """Name all settings that requests are compared of."""
        return (*self.reference.strata, *(s for one in self.beside for s in one.strata))


class Calibrations:
    """Loads each reference once; references never change, but others come to stand beside."""

    def __init__(self, *, most: int = 1_024) -> None:
        self._most = most
        self._known: dict[ReferenceId, Calibrated] = {}
        self._lock = Lock()

    def current(self, tx: Connection, version_id: VersionId) -> Calibrated | None:
        """Give the reference in force of the version, or None while it is learning."""
        reference = references.current(tx, version_id)
        if reference is None:
            return None
        beside = settings_references.beside(tx, reference.id)
        with self._lock:
            known = self._known.get(reference.id)
        if known is not None and known.reference == reference and _same(known, beside):
            return known
        loaded = _load(tx, reference) if known is None else _approved(known, reference)
        loaded = replace(loaded, beside=tuple(_beside(tx, loaded, one) for one in beside))
        with self._lock:
            while len(self._known) >= self._most:
                self._known.pop(next(iter(self._known)))
            self._known[reference.id] = loaded
        return loaded


def _approved(known: Calibrated, reference: Reference) -> Calibrated:
    """Only the approval of a reference can change after it is ready."""
    return replace(known, reference=reference)


def _same(known: Calibrated, beside: Sequence[SettingsReference]) -> bool:
    return [one.id for one in known.beside] == [one.id for one in beside]


def _beside(tx: Connection, known: Calibrated, wanted: SettingsReference) -> Beside:
    for one in known.beside:
        if one.id == wanted.id:
            return one
    bodies = settings_references.bodies(tx, wanted.id)
    return Beside(
        id=wanted.id,
        strata=wanted.strata,
        young=wanted.span_days < COVERED_DAYS,
        by_detector={
            name: DETECTORS[name].load(body)
            for name, body in bodies.items()
            if name in known.by_detector
        },
    )


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

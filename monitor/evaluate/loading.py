"""Load a version's reference from the store, once."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from threading import Lock
from typing import Final

from sqlalchemy import Connection

from detectors import DETECTORS
from monitor.domain import Reference, ReferenceId, VersionId
from monitor.evaluate.calibrated import Beside, Calibrated
from monitor.policy.budget import saw_too_few_days
from monitor.reference.calibrate import COVERED_DAYS
from monitor.store.references import calibrations, references, settings_references
from monitor.store.references.calibrations import Calibration
from monitor.store.references.settings_references import SettingsReference

MOST_KEPT: Final = 1_024


class Calibrations:
    """Loads each reference once; references never change, but new ones may be added beside."""

    def __init__(self) -> None:
        self._known: dict[ReferenceId, Calibrated] = {}
        self._lock = Lock()

    def current(
        self, tx: Connection, version_ids: Collection[VersionId]
    ) -> dict[VersionId, Calibrated]:
        """Return versions' references in force; a version that is learning has none."""
        found = references.current_of(tx, version_ids)
        beside = settings_references.beside_all(tx, [one.id for one in found.values()])
        current = {}
        for version_id, reference in found.items():
            known = self._kept(reference.id)
            if known is None:
                details = references.details(tx, reference.id)
                known = replace(
                    unpacked(
                        reference,
                        calibrations.read(tx, reference.id),
                        hourly_rate=details.hourly_rate,
                    ),
                    feedback_from=details.feedback_from,
                    measured=details.measured,
                )
            wanted = [one.id for one in beside[reference.id]]
            if known.reference != reference or [one.id for one in known.beside] != wanted:
                # it can be approved, and no more
                known = replace(
                    known,
                    reference=reference,
                    beside=tuple(_beside(tx, known, one) for one in beside[reference.id]),
                )
            current[version_id] = self._keep(known)
        return current

    def _kept(self, reference_id: ReferenceId) -> Calibrated | None:
        with self._lock:
            return self._known.get(reference_id)

    def _keep(self, loaded: Calibrated) -> Calibrated:
        with self._lock:
            if self._known.get(loaded.reference.id) is not loaded:
                while len(self._known) >= MOST_KEPT:
                    self._known.pop(next(iter(self._known)))
                self._known[loaded.reference.id] = loaded
        return loaded


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

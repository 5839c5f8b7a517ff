"""End the incidents of versions that no longer receive traffic.

Their verdicts stand, because nobody found them healthy, but their evaluations open no incident
(:attr:`monitor.outbox.inputs.AlertInputs.departed`). If such a version gets traffic again and still
drifts, its next evaluation reopens its incident.
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from alerts.closing import Closing
from alerts.types import VerdictKind
from alerts.words import clock_time
from monitor.domain import IncidentId, Verdict, Version, VersionId
from monitor.outbox.fleet import leave_shared
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.record import OF_ITS_ANSWERS, record_closing
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.store.registry import adapters, versions
from monitor.store.traffic import departures
from monitor.store.traffic.departures import Departure

_LOG = structlog.get_logger(__name__)


class DepartingFailed(Exception):  # noqa: N818 - named as the outcome it reports
    """The incidents of some departed versions could not be ended; the others were."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Departing:
    """The job that finds departed versions; a loop calls :meth:`turn`.

    ``channels`` are the names that messages may go to; a version counts as departed after ``after``
    without traffic.
    """

    database: Database
    channels: Collection[str]
    after: timedelta
    base_url: str | None = None

    def turn(self, *, now: datetime) -> Sequence[IncidentId]:
        """End the incidents of departed versions; return the versions' own incidents that ended.

        Raises DepartingFailed after all others have ended.
        """
        asked = self.database.run(lambda tx: self._found(tx, now=now))
        ended: list[IncidentId] = []
        failed: list[VersionId] = []
        for version_id in sorted(asked):
            try:
                ended += self._end(version_id, now=now)
            except sa.exc.DBAPIError:
                raise
            except Exception:  # noqa: BLE001 (one version of many)
                _LOG.exception("departing_failed", version=version_id)
                failed.append(version_id)
        if failed:
            raise DepartingFailed(", ".join(str(one) for one in failed))
        return ended

    def _found(self, tx: Connection, *, now: datetime) -> dict[VersionId, Departure]:
        told = departures.told_of(tx, [kind.value for kind in OF_ITS_ANSWERS])
        return departures.departed(tx, told, now=now, after=self.after)

    def _end(self, version_id: VersionId, *, now: datetime) -> Sequence[IncidentId]:
        """Lock in the order that evaluations use: the verdict, then the base, then incidents."""

        def work(tx: Connection) -> list[IncidentId]:
            judged = verdicts.current(tx, version_id=version_id, lock=True)
            found = departures.departed(tx, [version_id], now=now, after=self.after)
            if version_id not in found:
                return []
            version = versions.fetch_by_id(tx, version_id)
            stood = judged.verdict if judged else None
            return self._told(tx, version, stood, found[version_id], now=now)

        return self.database.run(work)

    def _told(
        self,
        tx: Connection,
        version: Version,
        stood: Verdict | None,
        departure: Departure,
        *,
        now: datetime,
    ) -> list[IncidentId]:
        reason = reason_of(version, departure, now=now)
        unjudged = Verdict(kind=VerdictKind.LEARNING, reason=reason, since=now)
        verdict = replace(stood or unjudged, reason=reason)
        inputs = AlertInputs(
            adapter=adapters.fetch_by_id(tx, version.adapter_id), base_url=self.base_url
        )
        leave_shared(
            tx,
            version,
            verdict=verdict,
            inputs=inputs,
            channels=self.channels,
            now=now,
            why=Closing.OUT_OF_SERVICE,
        )
        closed = [
            record_closing(
                tx,
                version,
                kind=kind,
                why=Closing.OUT_OF_SERVICE,
                verdict=verdict,
                inputs=inputs,
                channels=self.channels,
                now=now,
            )
            for kind in OF_ITS_ANSWERS
        ]
        ended = [one for one in closed if one is not None]
        for incident_id in ended:
            audit.append(
                tx,
                actor="driftline",
                act="incident.out_of_service",
                subject=f"incident {incident_id}",
                details={"of": version.label, "reason": reason},
            )
            _LOG.info("incident_out_of_service", incident=incident_id, version=version.label)
        return ended


def reason_of(version: Version, departure: Departure, *, now: datetime) -> str:
    """State why a version's incidents end."""
    return (
        f"no arm of {version.adapter}'s route has had {version.name}"
        f" since {clock_time(departure.at, now=now)} (generation {departure.generation})"
    )

"""Find since when a first channel could have acknowledged what a later one waits for.

A later channel is one with :attr:`alerts.telling.Manner.unacknowledged_for`. Its time counts from
when another channel was told: a silence, a group's wait or a stop of the service keeps both back.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from alerts.message import from_json as alert_from_json
from monitor.domain import IncidentId
from monitor.outbox.matters import Muting
from monitor.store import clock
from monitor.store.incidents import telling as store
from monitor.store.incidents.telling import HeldRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Calls:
    """The calls of first channels: those made, by later channel and incident, and those to come."""

    later: Collection[str]
    made: Mapping[tuple[str, IncidentId], datetime]
    held: Sequence[HeldRow]
    muting: Muting

    def since(
        self, rows: Sequence[HeldRow], *, failed: Collection[str]
    ) -> dict[IncidentId, datetime]:
        """Return from when the time of one channel counts, by incident.

        ``failed`` channels tell nobody now, so nobody waits for them.
        """
        if not rows or rows[0].channel not in self.later:
            return {}
        first: dict[IncidentId, datetime] = {}
        for row in rows:
            first.setdefault(row.incident_id, row.at)
        coming = self._coming(first, failed)
        return {
            one: self.made.get((rows[0].channel, one), self.muting.now if one in coming else at)
            for one, at in first.items()
        }

    def _coming(
        self, since: Mapping[IncidentId, datetime], failed: Collection[str]
    ) -> set[IncidentId]:
        newest = {
            (row.channel, row.incident_id): row
            for row in self.held
            if row.incident_id in since and row.channel not in {*self.later, *failed}
        }
        return {
            row.incident_id
            for row in newest.values()
            if row.at >= since[row.incident_id] and not self._kept_back(row)
        }

    def _kept_back(self, row: HeldRow) -> bool:
        """True if the message is muted; one that cannot be read is on its way."""
        try:
            return self.muting.mutes(alert_from_json(row.alert))
        except ValueError:
            return True


def read_calls(
    tx: Connection, held: Sequence[HeldRow], *, later: Collection[str], muting: Muting
) -> Calls:
    """Read the calls made, their times corrected where a clock ran ahead."""
    made: Mapping[tuple[str, IncidentId], datetime] = {}
    if any(row.channel in later for row in held):
        known = clock.read(tx)
        made = {
            what: clock.sure(known, at, now=muting.now)
            for what, at in store.called(tx, later).items()
        }
    return Calls(later=later, made=made, held=held, muting=muting)

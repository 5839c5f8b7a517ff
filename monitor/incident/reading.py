"""Read an incident and everything related to it, in one transaction."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from alerts.message import ActionLine, Alert, NearbyChange, Unseen
from alerts.silences import Silence
from alerts.types import Blame, Kind
from monitor.domain import IncidentId, Interval, VerdictSeverity, Version
from monitor.incident.timeline import Moment, timeline
from monitor.outbox.changes import changes_about
from monitor.outbox.deeds import done as what_was_done
from monitor.outbox.lines import score_lines
from monitor.outbox.present import blame_now, of_incident
from monitor.outbox.silencing import silenced
from monitor.store import audit
from monitor.store.evaluation import evaluations, verdicts
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.incidents import deliveries, fleet_incidents, incidents, telling
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.fleet_incidents import Member
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.registry import versions
from monitor.store.traffic import actions, routes
from monitor.store.traffic.actions import ActionRow
from monitor.store.traffic.routes import RouteRow

__all__ = ["IncidentStory", "Member", "read_story"]

SILENT_FOR: Final = timedelta(hours=24)
"""Without an onset, its cause lies at most this far back, since silence is judged over a day."""
LOOKED_BACK: Final = timedelta(days=1)
"""A score that is older than this is no longer news; probes run every few hours."""
MOST_MESSAGES: Final = 100
MOST_MOVES: Final = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentStory:
    """An incident and everything related to it.

    version
        The version concerned; None for a fleet incident.
    versions
        All versions of its adapter, oldest registration first; empty for a fleet incident.
    onset
        When the change began; None if not estimated.
    judged
        The version's current verdict.
    scores
        Its scores when the incident crossed its line, the strongest evidence first.
    route
        The adapter's current route.
    told
        Its last message while it was open; if nobody was told, the one it would have now.
    done
        The last action on its traffic; None if there was none, or for a fleet incident.
    silenced
        The silence that keeps its messages back now; None if there is none.
    waits_since
        When its waiting message was held; None if none waits.
    """

    row: IncidentRow
    version: Version | None
    versions: Sequence[Version]
    members: Sequence[Member]
    onset: Interval | None
    judged: VerdictRow | None
    scores: Sequence[ScoreRow]
    changes: Sequence[NearbyChange]
    route: RouteRow | None
    actions: Sequence[ActionRow]
    deliveries: Sequence[DeliveryRow]
    told: Alert
    timeline: Sequence[Moment]
    done: ActionLine | None = None
    silenced: Silence | None = None
    waits_since: datetime | None = None

    @property
    def subject(self) -> str:
        """The incident's subject in words."""
        if self.version is not None:
            return self.version.label
        return f"adapters on {self.row.base_model or 'one base model'}"

    @property
    def unseen(self) -> Unseen | None:
        """For a version that is not fully compared, the coverage that people were told last."""
        return self.told.unseen if self.row.closed_at is None else None

    @property
    def crossed(self) -> Sequence[str]:
        """The detectors that the verdict rests on; after a recovery, those that had crossed."""
        named = self.judged.verdict.detectors if self.judged else ()
        strong = [one for one in self.scores if max(one.evidence_page, one.evidence_notice) >= 0]
        return named or [one.detector for one in strong]

    @property
    def blame(self) -> Blame:
        """The current blame (:func:`blame_now`)."""
        return blame_now(self.row, self.judged.verdict if self.judged else None)


def read_story(
    tx: Connection, incident_id: IncidentId, *, margin: timedelta, now: datetime
) -> IncidentStory | None:
    """Read a story; None if there is no such incident.

    ``margin`` is how far from the onset a declared change is still listed.
    """
    row = incidents.incident(tx, incident_id)
    if row is None:
        return None
    version = None if row.version_id is None else versions.fetch_by_id(tx, row.version_id)
    onset = _onset(tx, row)
    members = fleet_incidents.members(tx, row.id)
    scores = _scores(tx, row)
    moves = _actions(tx, row, members)
    done = what_was_done(tx, version, since=row.opened_at) if version else None
    sent = deliveries.newest(tx, incident_id=row.id, limit=MOST_MESSAGES)
    return IncidentStory(
        row=row,
        version=version,
        versions=versions.of_adapter(tx, version.adapter_id) if version else (),
        members=members,
        onset=onset,
        judged=verdicts.current(tx, version_id=version.id) if version else None,
        scores=scores,
        changes=_changes(tx, row, onset, margin=margin, now=now),
        route=routes.row(tx, version.adapter) if version else None,
        actions=moves,
        deliveries=sent,
        told=_told(tx, row, sent, scores, done, margin=margin, now=now),
        timeline=timeline(
            row,
            transitions=_transitions(tx, row, onset),
            deliveries=sent,
            actions=moves,
            routes=_routes(tx, row),
            said=audit.newest(tx, subject=f"incident {row.id}"),
        ),
        done=done,
        silenced=silenced(tx, [row], now=now).get(row.id),
        waits_since=telling.waiting(tx, row.id),
    )


def _told(
    tx: Connection,
    row: IncidentRow,
    sent: Sequence[DeliveryRow],
    scores: Sequence[ScoreRow],
    done: ActionLine | None,
    *,
    margin: timedelta,
    now: datetime,
) -> Alert:
    told = of_incident(tx, row, sent, margin=margin, now=now)
    if told.kind is not Kind.DRIFT:
        return told
    told = replace(told, action=done or told.action)
    if told.scores:
        return told
    paged = row.severity is VerdictSeverity.PAGE
    crossed = {
        one.detector: one
        for one in scores
        if (one.evidence_page if paged else one.evidence_notice) >= 0
    }
    return replace(told, scores=score_lines(crossed, crossed, ()))


def _onset(tx: Connection, row: IncidentRow) -> Interval | None:
    if row.kind != Kind.DRIFT or row.version_id is None:
        return None
    return verdicts.told_onset(
        tx, version_id=row.version_id, opened_at=row.opened_at, closed_at=row.closed_at
    )


def _scores(tx: Connection, row: IncidentRow) -> list[ScoreRow]:
    """Read what the detectors found when the incident crossed the line of its severity."""
    if row.version_id is None:
        return []
    at = verdicts.crossed_at(
        tx,
        version_id=row.version_id,
        severity=row.severity,
        since=row.opened_at,
        until=row.closed_at,
    )
    until = at or row.opened_at
    own = evaluations.scores_at(
        tx, version_id=row.version_id, since=until - LOOKED_BACK, until=until
    )
    return sorted(own, key=lambda one: (-max(one.evidence_page, one.evidence_notice), one.detector))


def _changes(
    tx: Connection, row: IncidentRow, onset: Interval | None, *, margin: timedelta, now: datetime
) -> tuple[NearbyChange, ...]:
    """List the changes known by now; a message lists only those declared before it."""
    return changes_about(
        tx,
        row.adapter,
        base=row.base_model,
        interval=onset or Interval(start=row.opened_at - SILENT_FOR, end=row.opened_at),
        margin=margin,
        now=now,
        is_onset=onset is not None,
    )


def _within(row: IncidentRow, at: datetime) -> bool:
    return row.opened_at <= at and (row.closed_at is None or at <= row.closed_at)


def _actions(tx: Connection, row: IncidentRow, members: Sequence[Member]) -> list[ActionRow]:
    """List the actions on its versions while it was open, newest first."""
    about = {row.version_id} if row.version_id is not None else {m.version_id for m in members}
    found = actions.action_list(tx, adapter_id=row.adapter_id, limit=MOST_MOVES)
    return [one for one in found if one.version_id in about and _within(row, one.created_at)]


def _transitions(
    tx: Connection, row: IncidentRow, onset: Interval | None
) -> list[verdicts.TransitionRow]:
    if row.adapter_id is None:
        return []
    since = min(onset.start, row.opened_at) if onset else row.opened_at
    found = verdicts.history(tx, adapter_id=row.adapter_id, since=since, limit=MOST_MOVES)
    until = row.closed_at
    return [one for one in found if one.version == row.version and (not until or one.at <= until)]


def _routes(tx: Connection, row: IncidentRow) -> list[RouteRow]:
    if row.adapter is None:
        return []
    found = routes.history(tx, row.adapter, limit=MOST_MOVES)
    return [one for one in found if _within(row, one.route.since)]

"""Set silences, and find the one that keeps an incident's messages back."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from sqlalchemy import Connection

import alerts.types as words
from alerts import matching
from alerts.matching import Matcher
from alerts.silences import Silence, SilenceRefused, check, silencing
from monitor.domain import IncidentId
from monitor.store import audit, teams
from monitor.store.incidents import silences
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.registry import adapters
from monitor.store.teams import Match


def silence(
    tx: Connection,
    match: Mapping[str, object],
    *,
    starts_at: datetime,
    ends_at: datetime,
    author: str,
    comment: str,
    now: datetime,
    of: Match | None = None,
) -> Silence:
    """Set a silence on alerts that ``match`` accepts, written as a channel's match is.

    ``of`` is what the author's key is bound to.

    Raises
    ------
    SilenceRefused
        The silence makes no sense (:func:`alerts.silences.check`), ``match`` is unreadable, or it
        could accept alerts of another team.
    """
    try:
        matcher = matching.parse_matcher(match)
    except ValueError as error:
        raise SilenceRefused(str(error)) from error
    check(matcher, starts_at=starts_at, ends_at=ends_at, comment=comment, now=now)
    made = silences.add(
        tx, matcher, starts_at=starts_at, ends_at=ends_at, author=author, comment=comment
    )
    if of and not teams.sees(tx, of, {"silence": made.id}):
        raise SilenceRefused("name adapters of your team, or what your key is bound to")
    audit.append(
        tx,
        actor=author,
        act="silence.add",
        subject=f"silence {made.id}",
        details={
            "match": matching.to_json(matcher),
            "starts_at": starts_at.isoformat(),
            "ends_at": ends_at.isoformat(),
            "comment": comment,
        },
    )
    return made


def expire(tx: Connection, silence_id: int, *, actor: str, now: datetime) -> bool:
    """End a silence now; False if it is over. Open incidents are told at the next look."""
    ended = silences.expire(tx, silence_id, now=now)
    if ended:
        audit.append(tx, actor=actor, act="silence.expire", subject=f"silence {silence_id}")
    return ended


def silenced(
    tx: Connection, rows: Sequence[IncidentRow], *, now: datetime
) -> dict[IncidentId, Silence]:
    """Map the silenced ones of these open incidents to their silences.

    Of a silence that is wider than a team, the team sees that it is there and when it ends.
    """
    with teams.whole(tx):
        holding = silences.holding(tx, now=now)
    if not holding:
        return {}
    if teams.bound():
        shown = {one.id for one in silences.holding(tx, now=now)}
        cut = {one.id: replace(one, matcher=Matcher(), comment="") for one in holding}
    else:
        shown, cut = set(), {}
    found = {
        row.id: silencing(holding, _facts(tx, row), now=now) for row in rows if not row.closed_at
    }
    return {
        incident_id: one if one.id in shown else cut.get(one.id, one)
        for incident_id, one in found.items()
        if one is not None
    }


@dataclass(frozen=True, slots=True, kw_only=True)
class _Facts:
    """An incident's fields that a matcher reads; its messages carry the same."""

    adapter: str = ""
    version: str = ""
    owner: str | None = None
    tier: str = "standard"
    labels: Mapping[str, str] = field(default_factory=dict)
    severity: words.Severity
    kind: words.Kind
    blame: words.Blame


def _facts(tx: Connection, row: IncidentRow) -> _Facts:
    severity, kind, blame = words.Severity(row.severity.value), words.Kind(row.kind), row.blame
    if row.adapter_id is None:
        return _Facts(severity=severity, kind=kind, blame=blame)
    adapter = adapters.fetch_by_id(tx, row.adapter_id)
    return _Facts(
        adapter=adapter.name,
        version=row.version or "",
        owner=adapter.owner,
        tier=adapter.tier,
        labels=dict(adapter.labels),
        severity=severity,
        kind=kind,
        blame=blame,
    )

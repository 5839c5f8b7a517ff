"""``/incidents``: what on-call was told about, and that somebody has it in hand."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Path, Query
from pydantic import Field
from sqlalchemy import Connection

from alerts.types import Kind
from monitor.api import answers, lookup, paging
from monitor.api.access import Operator, Reader
from monitor.api.bodies import AcknowledgeRequest, MarkRequest, Name
from monitor.api.deliveries import DeliveryBody, delivery_body
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.problems import Problem
from monitor.api.shapes import Answer, Page, WindowBody
from monitor.domain import Blame, ChangeKind, IncidentId, Interval, Mark, Severity
from monitor.outbox import NotMarkable, NotOpen, Word, changes_about, mark
from monitor.outbox import acknowledge as take_in_hand
from monitor.reference.accept import Anew, accept
from monitor.store import fleet_incidents, incidents, outbox, verdicts
from monitor.store.incidents import IncidentRow
from monitor.store.keys import Key

router: Final = APIRouter(prefix="/incidents", tags=["incidents"])

SILENT_FOR: Final = timedelta(hours=24)
"""Silence is looked for over a day, so without an onset its cause lies at most this far back."""

Number = Annotated[int, Path(ge=1, lt=2**63, description="As in the incident's link.")]


class IncidentBody(Answer):
    """What on-call is told about. ``kind``: drift, no_data or error.

    Of one version, or (`base_model` given, `adapter` and `version` null) of all adapters on
    a base model that moved together.
    """

    incident: int
    adapter: str | None
    version: str | None
    base_model: str | None = Field(
        description="Of a fleet incident; empty where its versions name no base model."
    )
    part_of: int | None = Field(
        description="The fleet incident that this one was found to belong to."
    )
    kind: str
    number: int
    phase: str
    severity: Severity
    blame: Blame
    summary: str
    opened_at: datetime
    closed_at: datetime | None
    acknowledged_by: str | None
    acknowledged_until: datetime | None
    marked: Mark | None = Field(description="What a person said of it; null: not judged.")
    marked_by: str | None
    marked_at: datetime | None
    marked_because: str | None


class NearChangeBody(Answer):
    """A change that was declared about the time an incident began."""

    kind: ChangeKind
    title: str
    begun_at: datetime
    ended_at: datetime | None
    author: str
    text: str = Field(description="All of it in plain words, and how it lies to the onset.")


class MemberBody(Answer):
    """A version that a fleet incident is about; ``left_at`` null: it still is."""

    adapter: str
    version: str
    joined_at: datetime
    left_at: datetime | None


class IncidentDetail(IncidentBody):
    """An incident with what was declared about its onset, and the messages, newest first."""

    members: Sequence[MemberBody] = Field(description="Of a fleet incident, the first first.")

    onset: WindowBody | None = Field(description="When the change began; null: not estimated.")
    changes: Sequence[NearChangeBody]
    deliveries: Sequence[DeliveryBody]


class AnewBody(Answer):
    """What a version is compared with from now on."""

    adapter: str
    version: str
    generation: int | None = Field(
        description="Of the reference that is being built; null: no live signal had moved."
    )
    records: int = Field(description="Since the onset; the generation is made of them.")
    perplexity: bool = Field(description="Whether the next probe registers it anew.")


class AcceptedIncident(IncidentDetail):
    """An accepted incident, and what this request began."""

    anew: Sequence[AnewBody] = Field(description="Empty: it was accepted before.")


@router.get("")
def get_incidents(
    _key: Reader,
    parts: Parts,
    *,
    open_only: Annotated[bool, Query(alias="open")] = False,
    adapter: Annotated[Name | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[IncidentBody]:
    """List incidents, newest first."""
    before = paging.before_id(cursor)

    def read(tx: Connection) -> list[IncidentRow]:
        return incidents.incident_list(
            tx,
            open_only=open_only,
            adapter_id=lookup.adapter(tx, adapter).id if adapter else None,
            before_id=before,
            limit=limit + 1,
        )

    rows = parts.database.run(read)
    return Page(
        items=[IncidentBody(**_fields(row)) for row in rows[:limit]],
        next=paging.encode(rows[limit - 1].id) if len(rows) > limit else None,
    )


@router.get("/{incident}")
def get_incident(_key: Reader, parts: Parts, incident: Number) -> IncidentDetail:
    """Show one incident and what was sent about it."""
    return parts.database.run(lambda tx: _detail(tx, incident, parts))


@router.post("/{incident}/ack")
def acknowledge(
    key: Operator, parts: Parts, incident: Number, body: AcknowledgeRequest | None = None
) -> IncidentDetail:
    """Say that somebody has it in hand: no repeats until then, or until it worsens."""
    lasts = timedelta(hours=(body or AcknowledgeRequest(hours=24.0)).hours)

    def work(tx: Connection) -> IncidentDetail:
        row = _row(tx, incident)
        try:
            take_in_hand(tx, row.id, by=key.name, lasts=lasts, now=parts.clock())
        except NotOpen as reason:
            raise Problem(409, str(reason), kind="incident-not-open") from reason
        return _detail(tx, incident, parts)

    return parts.database.run(work)


@router.post("/{incident}/false")
def mark_false(key: Operator, parts: Parts, incident: Number, body: MarkRequest) -> IncidentDetail:
    """Say that it was false: it ends if it is open, and its evidence begins at nothing.

    Of a fleet incident that holds for all its members. Said twice is said once.
    """
    return parts.database.run(
        lambda tx: _marked(tx, incident, _word(Mark.FALSE_PAGE, key, body, parts), parts)
    )


@router.post("/{incident}/accept")
def accept_incident(
    key: Operator, parts: Parts, incident: Number, body: MarkRequest
) -> AcceptedIncident:
    """Say that what it found is the new normal: it ends, and what it is compared with moves.

    Live signals get a reference of the records since the onset, perplexity is registered anew.
    """
    word = _word(Mark.ACCEPTED, key, body, parts)

    def work(tx: Connection) -> AcceptedIncident:
        row = _row(tx, incident)
        try:
            anew = accept(tx, row.id, word, hearers=parts.hearers)
        except NotMarkable as reason:
            raise Problem(409, str(reason), kind="not-markable") from reason
        detail = _detail(tx, incident, parts)
        return AcceptedIncident(**dict(detail), anew=[_anew(one) for one in anew])

    return parts.database.run(work)


def _anew(found: Anew) -> AnewBody:
    return AnewBody(
        adapter=found.version.adapter,
        version=found.version.name,
        generation=found.reference.generation if found.reference else None,
        records=found.records,
        perplexity=found.perplexity,
    )


def _word(said: Mark, key: Key, body: MarkRequest, parts: ApiParts) -> Word:
    return Word(mark=said, by=key.name, because=body.reason, at=parts.clock())


def _marked(tx: Connection, incident: int, word: Word, parts: ApiParts) -> IncidentDetail:
    row = _row(tx, incident)
    try:
        mark(tx, row.id, word, hearers=parts.hearers)
    except NotMarkable as reason:
        raise Problem(409, str(reason), kind="not-markable") from reason
    return _detail(tx, incident, parts)


def _row(tx: Connection, incident: int) -> IncidentRow:
    row = incidents.incident(tx, IncidentId(incident))
    if row is None:
        raise Problem(404, f"There is no incident {incident}.", kind="unknown-incident")
    return row


def _detail(tx: Connection, incident: int, parts: ApiParts) -> IncidentDetail:
    row = _row(tx, incident)
    onset = _onset(tx, row)
    sent = outbox.deliveries(tx, incident_id=row.id, limit=100)
    return IncidentDetail(
        **_fields(row),
        members=[
            MemberBody(**{name: getattr(one, name) for name in MemberBody.model_fields})
            for one in fleet_incidents.members(tx, row.id)
        ],
        onset=onset and answers.window(onset),
        changes=_changes(tx, row, onset, parts),
        deliveries=[delivery_body(item) for item in sent],
    )


def _onset(tx: Connection, row: IncidentRow) -> Interval | None:
    if row.kind != Kind.DRIFT or row.version_id is None:
        return None
    return verdicts.told_onset(
        tx, version_id=row.version_id, opened_at=row.opened_at, closed_at=row.closed_at
    )


def _changes(
    tx: Connection, row: IncidentRow, onset: Interval | None, parts: ApiParts
) -> list[NearChangeBody]:
    """What is known to have changed by now; a message knows what was declared before it."""
    found = changes_about(
        tx,
        row.adapter,
        base=row.base_model,
        interval=onset or Interval(start=row.opened_at - SILENT_FOR, end=row.opened_at),
        margin=parts.change_margin,
        now=parts.clock(),
        is_onset=onset is not None,
    )
    names = NearChangeBody.model_fields
    return [NearChangeBody(**{name: getattr(one, name) for name in names}) for one in found]


def _fields(row: IncidentRow) -> dict[str, object]:
    return {
        "incident": row.id,
        **{name: getattr(row, name) for name in IncidentBody.model_fields if name != "incident"},
    }

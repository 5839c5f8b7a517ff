"""``/incidents``: incidents, their orders, their charts, and answers to smoke prompts."""

from __future__ import annotations

from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, Response, Security
from fastapi.security.http import HTTPAuthorizationCredentials
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from alerts.silences import Silence
from alerts.types import Blame
from monitor.api import lookup, paging
from monitor.api.access import BEARER, Operator, Reader, identify, scope_missing
from monitor.api.bodies import AcknowledgeRequest, MarkRequest, Name
from monitor.api.lookup import IncidentNumber
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import ApiParts, Parts, parts_of
from monitor.api.problems import Problem
from monitor.domain import IncidentId, Mark, Scope, VerdictSeverity
from monitor.incident.chart import draw
from monitor.incident.chart_reading import read_chart
from monitor.incident.examples import read_examples
from monitor.incident.smoke import note_asked
from monitor.outbox.acknowledging import acknowledge as take_in_hand
from monitor.outbox.linking import permits
from monitor.outbox.marking import Word, mark
from monitor.outbox.silencing import silenced
from monitor.reference.accept import accept
from monitor.store import teams
from monitor.store.incidents.inbox import (
    Inbox,
    InboxState,
    IncidentFilter,
    IncidentOrder,
    place,
    read_inbox,
)
from monitor.store.people import keys
from monitor.store.people.keys import Key
from monitor.views.incident import (
    AcceptedIncident,
    AnewBody,
    IncidentAnswers,
    IncidentBody,
    IncidentDetail,
    IncidentExamples,
)
from monitor.views.reading.incident import anew as anew_view
from monitor.views.reading.incident import answers, detail, examples, summary
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/incidents", tags=["incidents"])


@router.get("")
def get_incidents(
    _key: Reader,
    parts: Parts,
    *,
    open_only: Annotated[
        bool, Query(alias="open", description="Those that are not resolved; as two `state`s.")
    ] = False,
    state: Annotated[list[InboxState], Query()] = [],  # noqa: B006 (FastAPI copies it)
    severity: VerdictSeverity | None = None,
    blame: Blame | None = None,
    adapter: Annotated[Name | None, Query()] = None,
    owner: Annotated[Name | None, Query()] = None,
    base: Annotated[Name | None, Query(description="A base model, as versions name it.")] = None,
    order: IncidentOrder = IncidentOrder.NEWEST,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[IncidentBody]:
    """List the incidents that match everything given."""
    unresolved = (InboxState.OPEN, InboxState.ACKNOWLEDGED)
    wanted = IncidentFilter(
        states=state or (unresolved if open_only else tuple(InboxState)),
        severity=severity,
        blame=blame,
        adapter=adapter,
        owner=owner,
        base=base,
    )
    after = paging.after_incident(cursor)
    now = parts.clock()

    def read(tx: Connection) -> tuple[Inbox, dict[IncidentId, Silence]]:
        if adapter is not None:
            lookup.adapter(tx, adapter)
        found = read_inbox(tx, wanted, now=now, order=order, after=after, limit=limit)
        return found, silenced(tx, found.rows, now=now)

    found, by = parts.database.run(read)
    return Page(
        items=[summary(row, by.get(row.id)) for row in found.rows],
        next=paging.encode(*place(found.rows[-1])) if found.more else None,
    )


@router.get("/{incident}")
def get_incident(_key: Reader, parts: Parts, incident: IncidentNumber) -> IncidentDetail:
    """Show one incident with what was told, measured and done about it."""
    return parts.database.run(lambda tx: _detail(tx, incident, parts))


@router.get("/{incident}/examples")
def get_examples(_key: Reader, parts: Parts, incident: IncidentNumber) -> IncidentExamples:
    """List requests that show what an incident is about, beside the nearest training examples.

    At most five, from before it opened: those least like training, the failed, the slowest, by
    what was found. Texts come only where they are stored. A fleet incident has none.
    """
    now = parts.clock()
    return parts.database.run(
        lambda tx: examples(read_examples(tx, lookup.story(tx, incident, parts, now=now)))
    )


@router.post("/{incident}/ack")
def acknowledge(
    key: Operator, parts: Parts, incident: IncidentNumber, body: AcknowledgeRequest | None = None
) -> IncidentDetail:
    """Acknowledge an incident; nobody is reminded of it until then, unless it worsens."""
    lasts = timedelta(hours=(body or AcknowledgeRequest(hours=24.0)).hours)

    def work(tx: Connection) -> None:
        number = lookup.incident(tx, incident).id
        now, hearers = parts.clock(), parts.hearers
        take_in_hand(tx, number, by=key.name, lasts=lasts, now=now, hearers=hearers)

    parts.database.run(work)
    return _shown(key, incident, parts)


@router.post("/{incident}/false")
def mark_false(
    key: Operator, parts: Parts, incident: IncidentNumber, body: MarkRequest
) -> IncidentDetail:
    """Mark an incident as a false alarm; an open one ends, and its evidence starts from nothing.

    Of a fleet incident that holds for all its members. Said twice is said once.
    """
    word = _word(Mark.FALSE_PAGE, key, body, parts)
    parts.database.run(
        lambda tx: mark(tx, lookup.incident(tx, incident).id, word, hearers=parts.hearers)
    )
    return _shown(key, incident, parts)


@router.post("/{incident}/accept")
def accept_incident(
    key: Operator, parts: Parts, incident: IncidentNumber, body: MarkRequest
) -> AcceptedIncident:
    """Accept what an incident found as normal; it ends, and new references are built.

    Live signals get a reference of the records since the onset, perplexity is registered anew.
    """
    word = _word(Mark.ACCEPTED, key, body, parts)

    def work(tx: Connection) -> list[AnewBody]:
        row = lookup.incident(tx, incident)
        return [anew_view(one) for one in accept(tx, row.id, word, hearers=parts.hearers)]

    anew = parts.database.run(work)
    return AcceptedIncident.of(_shown(key, incident, parts), anew=anew)


def _word(said: Mark, key: Key, body: MarkRequest, parts: ApiParts) -> Word:
    return Word(mark=said, by=key.name, because=body.reason, at=parts.clock())


def _shown(key: Key, incident: int, parts: ApiParts) -> IncidentDetail:
    """Read an incident that was changed, as its key sees it."""
    teams.see(key.match)
    return parts.database.run(lambda tx: _detail(tx, incident, parts))


def _detail(tx: Connection, incident: int, parts: ApiParts) -> IncidentDetail:
    now = parts.clock()
    story = lookup.story(tx, incident, parts, now=now)
    chart = read_chart(tx, story, settings=parts.outlook.settings, now=now)
    return detail(story, chart, now=now)


Width = Annotated[int, Query(ge=300, le=2000, description="In pixels; the height follows.")]
_CHART_HEADERS: Final = {
    "Cache-Control": "private, max-age=60",
    # messages show the image on another site
    "Cross-Origin-Resource-Policy": "cross-origin",
}


async def viewer(
    request: Request,
    incident: IncidentNumber,
    credentials: Annotated[HTTPAuthorizationCredentials | None, Security(BEARER)],
    *,
    expires: Annotated[int | None, Query(ge=0, lt=2**40)] = None,
    signature: Annotated[str | None, Query(max_length=64)] = None,
) -> None:
    """Admit the holder of a signed link that has not ended, or of a key that may read."""
    parts: ApiParts = parts_of(request)
    key = parts.pages.key
    if expires is not None and signature is not None and key is not None:
        now = await run_in_threadpool(parts.clock)
        if permits(key, incident, expires=expires, signed=signature, now=now):
            return
        raise Problem(403, "This link is not ours, or has ended.", kind="link-not-valid")
    known = await identify(request, credentials)
    if not keys.permits(known, Scope.READ):
        raise scope_missing(known, Scope.READ)
    teams.see(known.match)


@router.get(
    "/{incident}/chart.svg",
    dependencies=[Depends(viewer)],
    response_class=Response,
    responses={200: {"content": {"image/svg+xml": {}}}, 403: {"description": "A link that ended."}},
)
def get_chart(parts: Parts, incident: IncidentNumber, width: Width = 860) -> Response:
    """Draw an incident's signals on one time axis, with margins and onset.

    Needs a key, or the `expires` and `signature` of a link in a message.
    """
    now = parts.clock()

    def read(tx: Connection) -> str:
        story = lookup.story(tx, incident, parts, now=now)
        return draw(read_chart(tx, story, settings=parts.outlook.settings, now=now), width=width)

    return Response(parts.database.run(read), media_type="image/svg+xml", headers=_CHART_HEADERS)


@router.post("/{incident}/answers")
def ask(key: Operator, parts: Parts, incident: IncidentNumber) -> IncidentAnswers:
    """Put the adapter's smoke prompts to this version, the one before it and their base.

    At most ten prompts of `smoke_prompts`, greedily, 200 tokens each, a minute in all.
    """
    story = parts.database.run(lambda tx: lookup.story(tx, incident, parts, now=parts.clock()))
    exchanges = parts.smoke.ask(story)
    parts.database.run(lambda tx: note_asked(tx, story, by=key.name))
    return IncidentAnswers(prompts=[answers(one) for one in exchanges])

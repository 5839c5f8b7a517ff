"""``/changes``: declared changes, and the fresh start that an engine needs.

A key with ``ingest`` may declare what happened. Whatever changes Driftline's own behaviour
needs ``operate``: opening and ending a change (probing waits meanwhile), and re-baselining.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

import msgspec
from fastapi import APIRouter, Query, Response
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Declarer, Operator, Reader, scope_missing
from monitor.api.bodies import ChangeEndRequest, ChangeRequest, Name
from monitor.api.lookup import Number
from monitor.api.moments import Bound
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.problems import Problem
from monitor.domain import ChangeId, Scope
from monitor.store import audit, teams
from monitor.store.people import changes, keys, rebaselines
from monitor.store.people.changes import Declaration, StoredChange
from monitor.store.people.keys import Key
from monitor.store.registry import adapters, admissions
from monitor.views.change import ChangeBody, DeclaredChange, Rebaselined
from monitor.views.reading.change import change as change_view
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/changes", tags=["changes"])

AHEAD: Final = timedelta(minutes=10)
"""Clocks differ: a time at most this far ahead is accepted, as for records."""


@router.post("", status_code=201, responses={200: {"description": "Declared before."}})
def post_change(
    key: Declarer, parts: Parts, body: ChangeRequest, response: Response
) -> DeclaredChange:
    """Declare a change; one of engine or base that is over re-baselines perplexity."""
    _check_scope(key, body)
    declared = _declaration(body, author=key.name, parts=parts)

    def work(tx: Connection) -> tuple[DeclaredChange, bool]:
        _check_admissions(tx, key, body)
        known = declared.given_id and changes.claim_id(tx, declared.given_id)
        if known:
            if key.match and not teams.sees(tx, key.match, {"change": known.id}):
                raise _not_yours()
            return _answer(_same(known, body)), False
        rebaseline = body.rebaseline is not False
        made = _declare(tx, declared, rebaseline=rebaseline, parts=parts, match=key.match)
        return made, True

    answer, new = parts.database.run(work)
    response.status_code = 201 if new else 200
    response.headers["Location"] = f"/v1/changes/{answer.change}"
    return answer


@router.post("/{change}/end")
def end_change(
    key: Operator, parts: Parts, change: Number, body: ChangeEndRequest | None = None
) -> DeclaredChange:
    """End an open change; one that is over already stays as it is."""
    asked = body or ChangeEndRequest()

    def work(tx: Connection) -> DeclaredChange:
        found = _found(tx, change, lock=True)
        if found.ended_at is not None:
            return _answer(found)
        return _end(tx, found, asked, actor=key.name, now=parts.clock())

    return parts.database.run(work)


@router.get("")
def get_changes(
    _key: Reader,
    parts: Parts,
    *,
    adapter: Annotated[
        Name | None, Query(description="What concerns it, the fleet's changes included.")
    ] = None,
    since: Annotated[Bound | None, Query(description="Not over before.")] = None,
    until: Annotated[Bound | None, Query(description="Begun at or before.")] = None,
    open_only: Annotated[bool, Query(alias="open")] = False,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[ChangeBody]:
    """List changes, the last begun first."""
    before = _place(cursor)

    def read(tx: Connection) -> list[StoredChange]:
        return changes.change_list(
            tx,
            adapter=lookup.adapter(tx, adapter).name if adapter else None,
            since=since,
            until=until,
            open_only=open_only,
            before=before,
            limit=limit + 1,
        )

    rows = parts.database.run(read)
    return paging.page(
        rows, limit, change_view, place=lambda row: (row.begun_at.isoformat(), row.id)
    )


@router.get("/{change}")
def get_change(_key: Reader, parts: Parts, change: Number) -> ChangeBody:
    """Show one change."""
    return change_view(parts.database.run(lambda tx: _found(tx, change)))


def _check_scope(key: Key, body: ChangeRequest) -> None:
    if keys.permits(key, Scope.OPERATE):
        return
    if body.open:
        raise scope_missing(key, Scope.OPERATE, why="Opening a change")
    if body.kind in changes.UNDER_THE_MODEL and body.rebaseline is not False:
        raise scope_missing(key, Scope.OPERATE, why="Re-baselining (without rebaseline: false)")


def _check_admissions(tx: Connection, key: Key, body: ChangeRequest) -> None:
    """Refuse keys that may not move traffic where a change of the base stops it."""
    if body.kind != "base" or keys.permits(key, Scope.OPERATE) or not admissions.required(tx):
        return
    raise scope_missing(key, Scope.OPERATE, why="Where admission is required, a change of the base")


def _check_bound(tx: Connection, declared: Declaration, match: Mapping[str, Sequence[str]]) -> None:
    """Refuse a key bound to adapters when it speaks for others, or for the fleet."""
    known = {one.name: one.facts for one in adapters.fetch_all(tx)}
    named = declared.adapters or ()
    if not named or not all(
        name in known and keys.may_send_for(match, known[name]) for name in named
    ):
        raise _not_yours()


def _not_yours() -> Problem:
    return Problem(403, "This key may declare changes only of its own adapters.", kind="not-yours")


def _declaration(body: ChangeRequest, *, author: str, parts: ApiParts) -> Declaration:
    now = parts.clock()
    begun_at = body.begun_at or now
    if begun_at < now - parts.retention:
        raise _refused("begun_at", f"older than the {parts.retention.days} days kept")
    _check_ahead("begun_at", begun_at, now=now)
    ended_at = None if body.open else body.ended_at or begun_at
    _check_end(ended_at, begun_at=begun_at, now=now)
    return Declaration(
        kind=body.kind,
        title=body.title,
        adapters=None if body.adapters is None else tuple(sorted(set(body.adapters))),
        begun_at=begun_at,
        ended_at=ended_at,
        author=author,
        details=body.details,
        given_id=body.id,
    )


def _declare(
    tx: Connection,
    declared: Declaration,
    *,
    rebaseline: bool,
    parts: ApiParts,
    match: Mapping[str, Sequence[str]],
) -> DeclaredChange:
    if match:
        _check_bound(tx, declared, match)
    unknown = adapters.unknown(tx, declared.adapters or ())
    if unknown:
        raise _refused("adapters", f"no adapter is called {unknown[0]!r}")
    made = changes.add(tx, declared)
    over = made.ended_at is not None
    said = msgspec.to_builtins(change_view(made))
    details = {name: value for name, value in said.items() if name not in {"change", "author"}}
    audit.append(
        tx,
        actor=made.author,
        act="change.add" if over else "change.begin",
        subject=_subject(made),
        details=details,
    )
    if not (over and rebaseline):
        return _answer(made)
    return _answer(made, _rebaselined(tx, made, actor=made.author, now=parts.clock()))


def _end(
    tx: Connection, found: StoredChange, asked: ChangeEndRequest, *, actor: str, now: datetime
) -> DeclaredChange:
    ended_at = asked.ended_at or max(now, found.begun_at)
    _check_end(ended_at, begun_at=found.begun_at, now=now)
    over = changes.end(tx, found.id, at=ended_at)
    details = {"ended_at": ended_at.isoformat(), "rebaseline": asked.rebaseline}
    audit.append(tx, actor=actor, act="change.end", subject=_subject(over), details=details)
    if not asked.rebaseline:
        return _answer(over)
    return _answer(over, _rebaselined(tx, over, actor=actor, now=now))


def _rebaselined(
    tx: Connection, over: StoredChange, *, actor: str, now: datetime
) -> Rebaselined | None:
    if over.kind not in changes.UNDER_THE_MODEL:
        return None
    return Rebaselined(versions=rebaselines.rebaseline(tx, over, actor=actor, at=now))


def _same(known: StoredChange, body: ChangeRequest) -> StoredChange:
    """Return the change declared under the same id, if it is the same."""
    wanted = None if body.adapters is None else tuple(sorted(set(body.adapters)))
    if (known.kind, known.title, known.adapters) != (body.kind, body.title, wanted):
        raise Problem(
            409,
            f"Change {known.id} was declared under the id {body.id!r}, and it is another one.",
            kind="change-differs",
        )
    return known


def _found(tx: Connection, change: int, *, lock: bool = False) -> StoredChange:
    found = changes.fetch(tx, ChangeId(change), lock=lock)
    if found is None:
        raise Problem(404, f"There is no change {change}.", kind="unknown-change")
    return found


def _subject(change: StoredChange) -> str:
    return f"change {change.id}"


def _answer(found: StoredChange, rebaselined: Rebaselined | None = None) -> DeclaredChange:
    return DeclaredChange.of(change_view(found), rebaselined=rebaselined)


def _place(cursor: str | None) -> tuple[datetime, int] | None:
    if cursor is None:
        return None
    at, number = paging.decode(cursor, kinds=(str, int))
    return paging.moment(at), int(number)


def _check_ahead(field: str, at: datetime, *, now: datetime) -> None:
    if at > now + AHEAD:
        raise _refused(field, "more than 10 minutes in the future")


def _check_end(ended_at: datetime | None, *, begun_at: datetime, now: datetime) -> None:
    if ended_at is None:
        return
    if ended_at < begun_at:
        raise _refused("ended_at", "before it began")
    _check_ahead("ended_at", ended_at, now=now)


def _refused(field: str, detail: str) -> Problem:
    return Problem(
        422,
        f"{field}: {detail}",
        kind="invalid-request",
        errors=[{"detail": detail, "pointer": f"#/{field}"}],
    )

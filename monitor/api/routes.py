"""``/routes``: the route of each adapter; ETag, long-poll, and changes by If-Match only."""

from __future__ import annotations

import hashlib
from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from monitor.api import lookup, paging
from monitor.api.access import FleetIngester, Operator, Reader
from monitor.api.answering import answered
from monitor.api.bodies import EpochRequest, RefusalsRequest, RouteRequest
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.domain import Edition, Route, Version
from monitor.reference.promotion import freeze_promoted
from monitor.store.registry import versions
from monitor.store.traffic import epochs, route_refusals, routes
from monitor.store.traffic.epochs import Epoch
from monitor.store.traffic.routes import FleetState, RouteRow
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest, InvalidRoute, resolve_arms
from monitor.views.reading.route import change, detail
from monitor.views.route import EpochBody, RouteChange, RouteDetail
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/routes", tags=["routing"])


@router.get(
    "",
    response_model=Page[RouteDetail],
    responses={304: {"description": "Nothing has changed since the ETag in If-None-Match."}},
)
async def get_routes(
    _key: Reader,
    parts: Parts,
    *,
    if_none_match: Annotated[str | None, Header()] = None,
    wait: Annotated[
        float, Query(ge=0.0, le=60.0, description="Seconds to wait for a change of any route.")
    ] = 0.0,
) -> Response:
    """List the route of every adapter that has one; with If-None-Match and ``wait``, hold.

    Whoever follows the whole fleet waits here once, not once for each adapter. The header
    `Driftline-Time` is the time by which routes end.
    """
    state, found = await run_in_threadpool(parts.database.run, routes.fleet)
    if if_none_match is not None and if_none_match.removeprefix("W/") == _fleet_tag(state):
        if not wait or await parts.watch.wait_for_fleet(state, timeout=wait) is None:
            return Response(status_code=304, headers=await _fleet_headers(parts, state))
        state, found = await run_in_threadpool(parts.database.run, routes.fleet)
    page = Page(items=[detail(row) for row in found])
    return answered(page, headers=await _fleet_headers(parts, state))


@router.post("/epoch", status_code=201)
def post_epoch(key: Operator, parts: Parts, body: EpochRequest) -> EpochBody:
    """Open a new epoch: every router takes this table now, whatever it holds.

    For a database that was put back in a way that it cannot tell itself, such as a copied
    folder or a snapshot of the machine. The routes stay as they are.
    """

    def work(tx: Connection) -> Epoch:
        epochs.begin(tx, reason=body.reason, actor=key.name)
        return epochs.newest(tx)

    opened = parts.database.run(work)
    parts.watch.wake()
    return EpochBody(
        epoch=opened.number, since=opened.opened_at, reason=opened.reason, by=opened.actor
    )


@router.post("/refusals", status_code=204)
def post_refusals(_key: FleetIngester, parts: Parts, body: RefusalsRequest) -> None:
    """Report every route that a router holds and that is newer than the one it was told.

    What is not said again within three minutes is forgotten.
    """

    def work(tx: Connection) -> None:
        # services of two databases may share an address: the report may be for the other
        ours = {0, epochs.in_force(tx)}
        held = {
            one.adapter: Edition(one.epoch, one.generation)
            for one in body.held
            if one.told_epoch in ours
        }
        route_refusals.note(tx, body.router, held)

    parts.database.run(work)


@router.get("/{adapter}/history")
def get_history(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[RouteChange]:
    """List every route the adapter ever had, newest first: what, by whom and why."""
    before = paging.before_id(cursor)

    def read(tx: Connection) -> list[RouteRow]:
        lookup.adapter(tx, adapter)
        return routes.history(tx, adapter, before_generation=before, limit=limit + 1)

    found = parts.database.run(read)
    return paging.page(found, limit, change, place=lambda row: (row.route.generation,))


@router.get(
    "/{adapter}",
    response_model=RouteDetail,
    responses={304: {"description": "Still the edition named in If-None-Match."}},
)
async def get_route(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    *,
    if_none_match: Annotated[str | None, Header()] = None,
    wait: Annotated[
        float, Query(ge=0.0, le=60.0, description="Seconds to wait for another generation.")
    ] = 0.0,
) -> Response:
    """Show an adapter's route; with If-None-Match and ``wait``, wait until it changes."""
    # async: thousands of routers may wait here without occupying a thread each
    row = await run_in_threadpool(_row, parts, adapter)
    known = _edition(if_none_match) if if_none_match else None
    if known != row.route.edition:
        return _answer(row)
    if wait and await parts.watch.wait_for_change(adapter, known, timeout=wait):
        return _answer(await run_in_threadpool(_row, parts, adapter))
    return Response(status_code=304, headers=_headers(row.route))


@router.put(
    "/{adapter}",
    responses={
        409: {"description": "A version is not served by every engine that answers."},
        428: {"description": "If-Match is missing."},
    },
)
def put_route(
    key: Operator,
    parts: Parts,
    adapter: AdapterName,
    body: RouteRequest,
    *,
    response: Response,
    if_match: Annotated[
        str | None,
        Header(
            description='The ETag you saw, or `"7"` for generation 7 of whichever epoch is in'
            ' force; `"0"` where there is no route yet.'
        ),
    ] = None,
) -> RouteDetail:
    """Replace the route, if its edition is still the one named in If-Match.

    Versions that answer nobody yet must be served by every engine that answers (the router
    `vllm` loads them), before anything is written.
    """
    if if_match is None:
        raise Problem(
            428,
            "Send If-Match with the ETag of the route you saw, so that nobody's change is lost.",
            kind="if-match-missing",
        )
    expected = _edition(if_match)
    if expected is None:
        raise Problem(412, f"If-Match {if_match!r} is not an ETag of a route.", kind="not-current")
    try:
        _prove(parts, adapter, body, expected=expected)
        row = parts.database.run(
            lambda tx: _put(tx, adapter, body, expected=expected, actor=key.name, parts=parts)
        )
    except routes.GenerationConflict as conflict:
        raise Problem(
            412,
            f"{conflict}.",
            kind="not-current",
            headers={"ETag": table.etag(conflict.current)} if conflict.current.generation else {},
        ) from conflict
    except InvalidRoute as invalid:
        raise _invalid(invalid) from invalid
    parts.watch.wake(adapter)
    response.headers["ETag"] = table.etag(row.route.edition)
    return detail(row)


def _prove(parts: ApiParts, adapter: str, wanted: RouteRequest, *, expected: Edition) -> None:
    """Refuse versions that are not served, before the transaction, which this would hold open."""

    def read(tx: Connection) -> tuple[Route | None, list[Version]]:
        known = lookup.adapter(tx, adapter)
        return routes.get(tx, adapter), versions.of_adapter(tx, known.id)

    before, registered = parts.database.run(read)
    current = before.edition if before else _NONE
    if current != Edition(expected.epoch or current.epoch, expected.generation):
        raise routes.GenerationConflict(adapter, expected=expected, current=current)
    arms = resolve_arms(_requests(wanted), {version.name: version for version in registered})
    missing = [] if wanted.unproven else parts.proof.problems(before, arms, registered)
    if missing:
        raise Problem(
            409,
            missing[0],
            kind="not-served",
            errors=[{"detail": problem, "pointer": "#/arms"} for problem in missing],
        )


def _requests(wanted: RouteRequest) -> list[ArmRequest]:
    return [ArmRequest(arm=arm.arm, version=arm.version, weight=arm.weight) for arm in wanted.arms]


def _row(parts: ApiParts, adapter: str) -> RouteRow:
    def read(tx: Connection) -> RouteRow | None:
        lookup.adapter(tx, adapter)
        return routes.row(tx, adapter)

    found = parts.database.run(read)
    if found is None:
        raise Problem(404, f"{adapter!r} has no route yet.", kind="no-route")
    return found


def _put(
    tx: Connection,
    adapter: str,
    wanted: RouteRequest,
    *,
    expected: Edition,
    actor: str,
    parts: ApiParts,
) -> RouteRow:
    lookup.adapter(tx, adapter)
    before, now = routes.get(tx, adapter), parts.clock()
    route = table.put(
        tx,
        adapter,
        arms=_requests(wanted),
        expected_generation=expected.generation,
        expected_epoch=expected.epoch,
        reason=f"{wanted.reason} (unproven)" if wanted.unproven else wanted.reason,
        actor=actor,
        now=now,
        valid_until=wanted.valid_until,
        on_expiry=wanted.on_expiry,
        hold_until=wanted.hold_until,
    )
    freeze_promoted(tx, before, route, by=actor, now=now)
    return RouteRow(route=route, actor=actor, hold_until=wanted.hold_until)


def _invalid(invalid: InvalidRoute) -> Problem:
    return Problem(
        422,
        invalid.problems[0],
        kind="invalid-route",
        errors=[{"detail": problem, "pointer": "#/arms"} for problem in invalid.problems],
    )


def _edition(header: str) -> Edition | None:
    try:
        return table.edition_of(header)
    except ValueError:
        return None


def _fleet_tag(state: FleetState) -> str:
    """Return an ETag that does not show how many routes other teams have."""
    told = f"{state.epoch}-{state.routes}-{state.generations}".encode()
    return f'"{hashlib.sha256(told).hexdigest()[:16]}"'


_NONE: Final = Edition(0, 0)
_PRIVATE: Final = {"Cache-Control": "private, no-cache"}


def _headers(route: Route) -> dict[str, str]:
    return {"ETag": table.etag(route.edition)} | _PRIVATE


def _answer(row: RouteRow) -> Response:
    return answered(detail(row), headers=_headers(row.route))


async def _fleet_headers(parts: ApiParts, state: FleetState) -> dict[str, str]:
    now = await run_in_threadpool(parts.clock)
    return {"ETag": _fleet_tag(state), "Driftline-Time": now.isoformat()} | _PRIVATE

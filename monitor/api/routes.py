"""``/routes``: who answers for an adapter; ETag, long-poll, and changes by If-Match only."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Header, Query, Response
from fastapi.responses import JSONResponse
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from monitor.api import answers, lookup
from monitor.api.access import Operator, Reader
from monitor.api.bodies import RouteRequest
from monitor.api.parts import ApiParts, Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.api.shapes import Page, RouteBody
from monitor.domain import Route
from monitor.reference.promotion import freeze_promoted
from monitor.routing import table
from monitor.routing.arms import ArmRequest, InvalidRoute
from monitor.store import routes
from monitor.store.routes import FleetState

router: Final = APIRouter(prefix="/routes", tags=["routing"])

NONE_YET: Final = 0


@router.get(
    "",
    response_model=Page[RouteBody],
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

    Whoever follows the whole fleet waits here once, not once for each adapter.
    """
    found = await run_in_threadpool(parts.database.run, routes.all_routes)
    state = _state(found)
    if if_none_match is None or if_none_match.removeprefix("W/") != _fleet_tag(state):
        return _answer_all(found)
    if not wait or await parts.watch.wait_for_fleet(state, timeout=wait) is None:
        headers = {"ETag": _fleet_tag(state)} | _PRIVATE
        return Response(status_code=304, headers=headers)
    return _answer_all(await run_in_threadpool(parts.database.run, routes.all_routes))


@router.get(
    "/{adapter}",
    response_model=RouteBody,
    responses={304: {"description": "Still the generation named in If-None-Match."}},
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
    """Give an adapter's route; with If-None-Match and ``wait``, hold until it changes.

    Async: thousands of routers may wait here without occupying a thread each.
    """
    route = await run_in_threadpool(_route, parts, adapter)
    known = _generation(if_none_match) if if_none_match else None
    if known != route.generation:
        return _answer(route)
    changed = wait and await parts.watch.wait_for_change(adapter, route.generation, timeout=wait)
    return _answer(changed) if changed else Response(status_code=304, headers=_headers(route))


@router.put("/{adapter}", responses={428: {"description": "If-Match is missing."}})
def put_route(
    key: Operator,
    parts: Parts,
    adapter: AdapterName,
    body: RouteRequest,
    *,
    response: Response,
    if_match: Annotated[
        str | None, Header(description='The ETag you saw; `"0"` where there is no route yet.')
    ] = None,
) -> RouteBody:
    """Replace the route, if its generation is still the one named in If-Match."""
    if if_match is None:
        raise Problem(
            428,
            "Send If-Match with the ETag of the route you saw, so that nobody's change is lost.",
            kind="if-match-missing",
        )
    expected = _generation(if_match)
    if expected is None:
        raise Problem(412, f"If-Match {if_match!r} is not an ETag of a route.", kind="not-current")
    try:
        route = parts.database.run(
            lambda tx: _put(tx, adapter, body, expected=expected, actor=key.name, parts=parts)
        )
    except routes.GenerationConflict as conflict:
        raise Problem(
            412,
            f"The route of {adapter!r} is at generation {conflict.current}, not {expected}.",
            kind="not-current",
            headers={"ETag": f'"{conflict.current}"'},
        ) from conflict
    except InvalidRoute as invalid:
        raise _invalid(invalid) from invalid
    parts.watch.wake(adapter)
    response.headers["ETag"] = table.etag(route)
    return answers.route(route)


def _route(parts: ApiParts, adapter: str) -> Route:
    def read(tx: Connection) -> Route | None:
        lookup.adapter(tx, adapter)
        return routes.get(tx, adapter)

    found = parts.database.run(read)
    if found is None:
        raise Problem(404, f"{adapter!r} has no route yet.", kind="no-route")
    return found


def _put(
    tx: Connection,
    adapter: str,
    wanted: RouteRequest,
    *,
    expected: int,
    actor: str,
    parts: ApiParts,
) -> Route:
    lookup.adapter(tx, adapter)
    before, now = routes.get(tx, adapter), parts.clock()
    route = table.put(
        tx,
        adapter,
        arms=[
            ArmRequest(arm=arm.arm, version=arm.version, weight=arm.weight) for arm in wanted.arms
        ],
        expected_generation=expected,
        reason=wanted.reason,
        actor=actor,
        now=now,
        valid_until=wanted.valid_until,
        on_expiry=wanted.on_expiry,
        hold_until=wanted.hold_until,
    )
    freeze_promoted(tx, before, route, by=actor, now=now)
    return route


def _invalid(invalid: InvalidRoute) -> Problem:
    return Problem(
        422,
        invalid.problems[0],
        kind="invalid-route",
        errors=[{"detail": problem, "pointer": "#/arms"} for problem in invalid.problems],
    )


def _generation(header: str) -> int | None:
    try:
        return table.generation_of(header)
    except ValueError:
        return None


def _state(found: list[Route]) -> FleetState:
    return FleetState(len(found), sum(route.generation for route in found))


def _fleet_tag(state: FleetState) -> str:
    return f'"{state.routes}-{state.generations}"'


_PRIVATE: Final = {"Cache-Control": "private, no-cache"}


def _headers(route: Route) -> dict[str, str]:
    return {"ETag": table.etag(route)} | _PRIVATE


def _answer(route: Route) -> Response:
    body = answers.route(route).model_dump(mode="json")
    return JSONResponse(body, headers=_headers(route))


def _answer_all(found: list[Route]) -> Response:
    page = Page[RouteBody](items=[answers.route(route) for route in found])
    headers = {"ETag": _fleet_tag(_state(found))} | _PRIVATE
    return JSONResponse(page.model_dump(mode="json"), headers=headers)

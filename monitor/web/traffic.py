"""The contents of the route pages: present arms, earlier arms, and the authors of changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.domain import Adapter, ArmKind, Mode
from monitor.store.traffic import actions, canaries, fleet, routes
from monitor.store.traffic.actions import OPEN
from monitor.store.traffic.fleet import FleetRow
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.arms import effective
from monitor.views.action import ActionBody
from monitor.views.reading import action, breaker, route
from monitor.views.reading.moves import Move, moves
from monitor.views.route import RouteBody, RouteChange, RouteDetail
from monitor.web.answering import read_answering
from monitor.web.canaries import asking
from monitor.web.parts import WebParts
from monitor.web.queries import neighbours

GENERATIONS_A_PAGE: Final = 50
ROUTES_A_PAGE: Final = 50
MOST_ACTIONS: Final = 50
DAYS_REPORTED: Final = 14


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLine:
    """One adapter's route; ``stored`` None: there is none yet.

    applied
        As routers apply it now: expiry included.
    """

    adapter: Adapter
    verdict: VerdictKind
    mode: Mode
    stored: RouteDetail | None
    applied: RouteBody | None
    held: bool
    expired: bool

    @property
    def moved(self) -> bool:
        """Whether the route is anything except all traffic to the stable version."""
        if self.stored is None or self.applied is None:
            return False
        plain = [arm.arm for arm in self.applied.arms] == [ArmKind.STABLE]
        return not plain or self.held or self.expired or self.stored.behind is not None


def read_routes(
    tx: Connection, parts: WebParts, *, now: datetime, text: str = "", page: int = 1
) -> dict[str, Any]:
    """Read a page of the routes, those that somebody has moved first.

    ``text`` is a part of the adapters' names.
    """
    table = {row.route.adapter: row for row in routes.rows(tx)}
    lines = [
        _line(row, table.get(row.adapter.name), mode=parts.mode, now=now)
        for row in fleet.fleet(tx, now=now)
        if text.casefold() in row.adapter.name.casefold()
    ]
    lines.sort(key=lambda line: (not line.moved, line.adapter.name))
    settings = parts.approver.settings
    reported = action.report(tx, settings=settings, days=DAYS_REPORTED, now=now)
    return {
        "lines": lines[(page - 1) * ROUTES_A_PAGE : page * ROUTES_A_PAGE],
        "of": len(lines),
        **neighbours("/routes", {"q": text}, page=page, last=page * ROUTES_A_PAGE >= len(lines)),
        "waiting": waiting(tx, None),
        "asking": asking(tx),
        "actions": _decided(moves(tx, limit=MOST_ACTIONS)),
        "report": reported,
        "told": action.told(reported, days=DAYS_REPORTED),
        "switch": route.kill_switch(tx, parts.kill_switch),
    }


def read_route(
    tx: Connection, name: str, parts: WebParts, *, now: datetime, before: int | None = None
) -> dict[str, Any] | None:
    """Read one adapter's page; None where there is no such adapter.

    ``before`` is the generation at which the page before ended.
    """
    seen = fleet.adapter(tx, name, now=now)
    if seen is None:
        return None
    history = _generations(tx, name, before=before)
    shown = history[:GENERATIONS_A_PAGE]
    own = parts.approver
    row = routes.row(tx, name)
    return {
        "line": _line(seen, row, mode=parts.mode, now=now),
        "answering": read_answering(tx, row, adapter_id=seen.adapter.id, now=now),
        "history": together(shown),
        "older": shown[-1][0].generation if len(history) > len(shown) else None,
        "waiting": waiting(tx, seen.adapter),
        "actions": _decided(moves(tx, adapter_id=seen.adapter.id, limit=MOST_ACTIONS)),
        "switch": route.kill_switch(tx, parts.kill_switch),
        "canary": canaries.active(tx, seen.adapter.id),
        "standing": breaker.read(tx, name, settings=own.settings, default_mode=own.mode, now=now),
    }


def _line(seen: FleetRow, row: RouteRow | None, *, mode: Mode, now: datetime) -> RouteLine:
    applied = effective(row.route, now) if row else None
    return RouteLine(
        adapter=seen.adapter,
        verdict=seen.verdict,
        mode=seen.adapter.mode or mode,
        stored=route.detail(row) if row else None,
        applied=route.route(applied) if applied else None,
        held=row is not None and row.hold_until is not None and row.hold_until > now,
        expired=row is not None and applied is not row.route,
    )


def _generations(
    tx: Connection, name: str, *, before: int | None
) -> list[tuple[RouteChange, datetime | None]]:
    """Read one generation more than a page has, each with the moment the next one began.

    None: it is in force.
    """
    first = None if before is None else before + 1  # the earlier page ends this one's first
    found = routes.history(tx, name, before_generation=first, limit=GENERATIONS_A_PAGE + 2)
    ends = [None, *(row.route.since for row in found)]
    paired = [(route.change(row), end) for row, end in zip(found, ends, strict=False)]
    return paired if before is None else paired[1:]


@dataclass(frozen=True, slots=True, kw_only=True)
class Generations:
    """Neighbouring generations of a route with the same arms, reason and author.

    ``until`` None: the newest of them is in force.
    """

    first: RouteChange
    newest: RouteChange
    until: datetime | None


def together(found: Sequence[tuple[RouteChange, datetime | None]]) -> list[Generations]:
    """Put neighbours that changed nothing into one line; newest first, as given."""

    def same(one: tuple[RouteChange, datetime | None]) -> object:
        change, _ = one
        return change.arms, change.reason, change.by, change.valid_until, change.on_expiry

    runs = (list(run) for _, run in groupby(found, key=same))
    return [Generations(first=run[-1][0], newest=run[0][0], until=run[0][1]) for run in runs]


def waiting(tx: Connection, adapter: Adapter | None) -> list[ActionBody]:
    """Return the actions that wait for a person; ``adapter`` None: those of all."""
    adapter_id = adapter.id if adapter else None
    return [
        action.action(found)
        for state in sorted(OPEN)
        for found in actions.action_list(tx, adapter_id=adapter_id, state=state, limit=MOST_ACTIONS)
    ]


def _decided(found: Sequence[Move]) -> list[ActionBody]:
    return [move for move, _ in found if move.state not in OPEN]

"""The contents of the route pages: present arms, earlier arms, and the authors of changes."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.domain import Adapter, ArmKind, Mode, Route
from monitor.store.traffic import actions, canaries, flags, fleet, routes
from monitor.store.traffic.actions import OPEN, ActionRow, ActionState
from monitor.store.traffic.canaries import CanaryRow
from monitor.store.traffic.flags import Flag
from monitor.store.traffic.fleet import FleetRow
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.arms import effective
from monitor.traffic.fallback.report import Report
from monitor.traffic.fallback.standing import BreakerStanding
from monitor.traffic.killswitch import KillSwitch, SwitchReading
from monitor.traffic.moves import MoveRecord, moves
from monitor.web.canaries import CanaryLine, asking
from monitor.web.parts import WebParts

GENERATIONS_A_PAGE: Final = 50
MOST_ACTIONS: Final = 50
REPORTED: Final = timedelta(days=14)


@dataclass(frozen=True, slots=True, kw_only=True)
class Switch:
    """The kill switch: its state, and the part of it that a button can change.

    reading
        The state that the daemons follow: environment, file and flag together.
    flag
        The flag in the database; None until somebody sets it.
    """

    reading: SwitchReading
    flag: Flag | None

    @property
    def flag_on(self) -> bool:
        return self.flag is not None and self.flag.on


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteLine:
    """One adapter's route; ``row`` None: there is none yet.

    route
        As routers apply it now: expiry included.
    """

    adapter: Adapter
    verdict: VerdictKind
    mode: Mode
    row: RouteRow | None
    route: Route | None
    held: bool
    expired: bool

    @property
    def moved(self) -> bool:
        """Whether the route is anything except all traffic to the stable version."""
        if self.row is None or self.route is None:
            return False
        plain = [arm.arm for arm in self.route.arms] == [ArmKind.STABLE]
        return not plain or self.held or self.expired or self.row.behind is not None


@dataclass(frozen=True, slots=True, kw_only=True)
class RoutesGlance:
    """All routes, those that somebody has moved first."""

    lines: Sequence[RouteLine]
    waiting: Sequence[ActionRow]
    asking: Sequence[CanaryLine]
    """Canaries that wait for a person."""
    actions: Sequence[MoveRecord]
    report: Report
    """Actions of the last ``REPORTED`` that only the mode prevented."""
    switch: Switch


@dataclass(frozen=True, slots=True, kw_only=True)
class Generation:
    """One generation of a route; ``until`` None: it is in force."""

    row: RouteRow
    until: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RouteGlance:
    """One adapter's route with its history."""

    line: RouteLine
    history: Sequence[Generation]
    older: int | None
    """The generation at which the next page begins; None: there is no more."""
    waiting: Sequence[ActionRow]
    actions: Sequence[MoveRecord]
    switch: Switch
    canary: CanaryRow | None
    """The canary under way."""
    standing: BreakerStanding | None
    """The breaker's standing; None: there is no route."""


def read_switch(tx: Connection, kill_switch: KillSwitch) -> Switch:
    """Read the kill switch from all of its places."""
    return Switch(reading=kill_switch.read(tx), flag=flags.kill_switch(tx))


def read_routes(tx: Connection, parts: WebParts, *, now: datetime) -> RoutesGlance:
    """Read the page of all routes."""
    table = {row.route.adapter: row for row in routes.rows(tx)}
    lines = [
        _line(row, table.get(row.adapter.name), mode=parts.mode, now=now)
        for row in fleet.fleet(tx, now=now)
    ]
    return RoutesGlance(
        lines=sorted(lines, key=lambda line: (not line.moved, line.adapter.name)),
        waiting=waiting(tx, None),
        asking=asking(tx),
        actions=_decided(moves(tx, limit=MOST_ACTIONS)),
        report=parts.approver.report(tx, since=now - REPORTED, until=now),
        switch=read_switch(tx, parts.kill_switch),
    )


def read_route(
    tx: Connection, name: str, parts: WebParts, *, now: datetime, before: int | None = None
) -> RouteGlance | None:
    """Read one adapter's page; None where there is no such adapter.

    ``before`` is the generation at which the page before ended.
    """
    seen = fleet.adapter(tx, name, now=now)
    if seen is None:
        return None
    return route_of(tx, seen, parts, now=now, before=before)


def route_of(
    tx: Connection, seen: FleetRow, parts: WebParts, *, now: datetime, before: int | None = None
) -> RouteGlance:
    """Read the same for an adapter that was read already."""
    name = seen.adapter.name
    history = _generations(tx, name, before=before)
    shown = history[:GENERATIONS_A_PAGE]
    return RouteGlance(
        line=_line(seen, routes.row(tx, name), mode=parts.mode, now=now),
        history=shown,
        older=shown[-1].row.route.generation if len(history) > len(shown) else None,
        waiting=waiting(tx, seen.adapter),
        actions=_decided(moves(tx, adapter_id=seen.adapter.id, limit=MOST_ACTIONS)),
        switch=read_switch(tx, parts.kill_switch),
        canary=canaries.active(tx, seen.adapter.id),
        standing=parts.approver.standing(tx, name, now=now),
    )


def _line(seen: FleetRow, row: RouteRow | None, *, mode: Mode, now: datetime) -> RouteLine:
    applied = effective(row.route, now) if row else None
    return RouteLine(
        adapter=seen.adapter,
        verdict=seen.verdict,
        mode=seen.adapter.mode or mode,
        row=row,
        route=applied,
        held=row is not None and row.hold_until is not None and row.hold_until > now,
        expired=row is not None and applied is not row.route,
    )


def _generations(tx: Connection, name: str, *, before: int | None) -> list[Generation]:
    """Read one generation more than a page has, each with the moment the next one began."""
    first = None if before is None else before + 1  # the earlier page ends this one's first
    found = routes.history(tx, name, before_generation=first, limit=GENERATIONS_A_PAGE + 2)
    ends = [None, *(row.route.since for row in found)]
    paired = [Generation(row=row, until=end) for row, end in zip(found, ends, strict=False)]
    return paired if before is None else paired[1:]


def waiting(tx: Connection, adapter: Adapter | None) -> list[ActionRow]:
    """Return the actions that wait for a person; ``adapter`` None: those of all."""
    adapter_id = adapter.id if adapter else None
    return [
        action
        for state in (ActionState.AWAITING_APPROVAL, ActionState.RECOMMENDED)
        for action in actions.action_list(
            tx, adapter_id=adapter_id, state=state, limit=MOST_ACTIONS
        )
    ]


def _decided(found: Sequence[MoveRecord]) -> list[MoveRecord]:
    return [move for move in found if move.state not in OPEN]

"""Routes as people see them."""

from __future__ import annotations

from typing import TypeVar

from sqlalchemy import Connection

from monitor.domain import Route
from monitor.store.traffic import flags
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.killswitch import KillSwitch
from monitor.views.route import (
    ArmBody,
    BehindBody,
    KillSwitchBody,
    RouteBody,
    RouteChange,
    RouteDetail,
)

Shape = TypeVar("Shape", bound=RouteBody)


def route(found: Route) -> RouteBody:
    """Write a route."""
    return _route(RouteBody, found)


def change(found: RouteRow) -> RouteChange:
    """Write a generation of a route, and who wrote it."""
    return _route(RouteChange, found.route, by=found.actor)


def detail(found: RouteRow) -> RouteDetail:
    """Write the route in force."""
    behind = found.behind and BehindBody.of(found.behind)
    hold = found.hold_until
    return _route(RouteDetail, found.route, by=found.actor, hold_until=hold, behind=behind)


def kill_switch(tx: Connection, switch: KillSwitch) -> KillSwitchBody:
    """Read whether automatic actions are stopped, and by whom."""
    flag, reading = flags.kill_switch(tx), switch.read(tx)
    return KillSwitchBody(
        on=flag is not None and flag.on,
        reason=flag.reason if flag else "never set",
        actor=flag.actor if flag else None,
        at=flag.at if flag else None,
        effective=reading.on,
        effective_reason=reading.reason,
    )


def _route(shape: type[Shape], found: Route, **others: object) -> Shape:
    return shape.of(found, arms=[ArmBody.of(arm) for arm in found.arms], **others)

"""Reading and changing routes: what the API and the registry call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.domain import AdapterId, Arm, ArmKind, Route, Version
from monitor.routing.arms import ArmRequest, resolve_arms
from monitor.store import adapters, audit, routes, versions
from monitor.store.errors import NotFound

_ETAG: Final = re.compile(r'(?:W/)?"(\d{1,18})"')


def to_json(route: Route) -> dict[str, object]:
    """Write a route as the API shows it; times are RFC 3339."""
    return {
        "adapter": route.adapter,
        "generation": route.generation,
        "arms": [routes.arm_to_json(arm) for arm in route.arms],
        "reason": route.reason,
        "since": route.since.isoformat(),
        "valid_until": route.valid_until.isoformat() if route.valid_until else None,
        "on_expiry": route.on_expiry.value,
    }


def etag(route: Route) -> str:
    """Name this generation in an ``ETag`` header.

    The generation alone is enough: it never names two contents.
    """
    return f'"{route.generation}"'


def generation_of(tag: str) -> int:
    """Read a generation from ``If-Match`` or ``If-None-Match``.

    >>> generation_of('W/"7"')
    7

    Raises
    ------
    ValueError
        Not one that :func:`etag` wrote (``*`` and lists included).
    """
    match = _ETAG.fullmatch(tag.strip())
    if match is None:
        raise ValueError(f"not the ETag of a route: {tag[:64]!r}")
    return int(match[1])


def put(
    tx: Connection,
    adapter: str,
    *,
    arms: Sequence[ArmRequest],
    expected_generation: int,
    reason: str,
    actor: str,
    now: datetime,
    valid_until: datetime | None = None,
    on_expiry: ArmKind = ArmKind.STABLE,
    hold_until: datetime | None = None,
) -> Route:
    """Write a person's route, with an audit entry.

    Parameters
    ----------
    expected_generation
        The generation it was decided on; 0 where there was no route.
    hold_until
        No automatic action changes the route before then.

    Raises
    ------
    NotFound
        The adapter is not registered.
    InvalidRoute
        See :func:`monitor.routing.arms.resolve_arms`.
    GenerationConflict
        The route has changed meanwhile.
    """
    known = adapters.fetch(tx, adapter)
    if known is None:
        raise NotFound(f"there is no adapter {adapter}")
    registered = {version.name: version for version in versions.of_adapter(tx, known.id)}
    route = Route(
        adapter=adapter,
        generation=expected_generation + 1,
        arms=resolve_arms(arms, registered),
        reason=reason,
        since=now,
        valid_until=valid_until,
        on_expiry=on_expiry,
    )
    write(tx, known.id, route=route, actor=actor, hold_until=hold_until)
    return route


def start(tx: Connection, version: Version, *, actor: str, now: datetime) -> Route | None:
    """Give a new adapter its first route: all traffic to its first version.

    None, and nothing changed, where there is a route already.
    """
    if routes.get(tx, version.adapter) is not None:
        return None
    arm = Arm(arm=ArmKind.STABLE, version=version.name, model=version.model, weight=1.0)
    route = Route(
        adapter=version.adapter,
        generation=1,
        arms=(arm,),
        reason=f"first version {version.name} registered",
        since=now,
    )
    try:
        write(tx, version.adapter_id, route=route, actor=actor)
    except routes.GenerationConflict:
        return None  # somebody else has just done the same
    return route


def write(
    tx: Connection,
    adapter_id: AdapterId,
    *,
    route: Route,
    actor: str,
    hold_until: datetime | None = None,
) -> None:
    """Swap the route in, keep its history and write it down; or none of it.

    Raises
    ------
    GenerationConflict
        The route in force is not the one before ``route``.
    """
    routes.put(
        tx,
        adapter_id,
        route=route,
        expected=route.generation - 1,
        actor=actor,
        hold_until=hold_until,
    )
    audit.append(
        tx,
        actor=actor,
        act="route.changed",
        subject=route.adapter,
        details={"route": to_json(route), "hold_until": hold_until and hold_until.isoformat()},
    )

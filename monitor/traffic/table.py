"""Reading and changing routes, for the API and the registry."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.domain import AdapterId, Arm, ArmKind, Edition, Route, Version
from monitor.store import audit
from monitor.store.errors import NotFound
from monitor.store.registry import adapters, admissions, versions
from monitor.store.traffic import routes
from monitor.traffic.arms import ArmRequest, InvalidRoute, resolve_arms

_ETAG: Final = re.compile(r'(?:W/)?"(?:(\d{1,18})-)?(\d{1,18})"')


def to_json(route: Route) -> dict[str, object]:
    """Return a route as the API shows it; times are RFC 3339."""
    return {
        "adapter": route.adapter,
        "epoch": route.epoch,
        "generation": route.generation,
        "arms": [routes.arm_to_json(arm) for arm in route.arms],
        "reason": route.reason,
        "since": route.since.isoformat(),
        "valid_until": route.valid_until.isoformat() if route.valid_until else None,
        "on_expiry": route.on_expiry.value,
    }


def etag(edition: Edition) -> str:
    """Return an edition of a route as an ``ETag`` header.

    An edition never stands for two contents, so it is enough.

    >>> etag(Edition(1764298000, 7))
    '"1764298000-7"'
    """
    return f'"{edition.epoch}-{edition.generation}"'


def edition_of(tag: str) -> Edition:
    """Read an edition from ``If-Match`` or ``If-None-Match``.

    A person may write a generation alone: its epoch is 0, which equals no stored route's.

    >>> edition_of('W/"1764298000-7"'), edition_of('"7"')
    (Edition(epoch=1764298000, generation=7), Edition(epoch=0, generation=7))

    Raises
    ------
    ValueError
        The header is neither of them (``*`` and lists included).
    """
    match = _ETAG.fullmatch(tag.strip())
    if match is None:
        raise ValueError(f"not the ETag of a route: {tag[:64]!r}")
    return Edition(int(match[1] or 0), int(match[2]))


def put(
    tx: Connection,
    adapter: str,
    *,
    arms: Sequence[ArmRequest],
    expected_generation: int,
    reason: str,
    actor: str,
    now: datetime,
    expected_epoch: int = 0,
    valid_until: datetime | None = None,
    on_expiry: ArmKind = ArmKind.STABLE,
    hold_until: datetime | None = None,
) -> Route:
    """Write a person's route, with an audit entry.

    Parameters
    ----------
    expected_generation
        The generation it was decided on; 0 where there was no route.
    expected_epoch
        The epoch of that generation; 0: the one in force.
    hold_until
        No automatic action changes the route before then.

    Raises
    ------
    NotFound
        The adapter is not registered.
    InvalidRoute
        See :func:`monitor.traffic.arms.resolve_arms`; or a version was not admitted.
    GenerationConflict
        The route has changed meanwhile.
    """
    known = adapters.fetch(tx, adapter)
    if known is None:
        raise NotFound(f"there is no adapter {adapter}")
    registered = {version.name: version for version in versions.of_adapter(tx, known.id)}
    route = Route(
        adapter=adapter,
        epoch=expected_epoch,
        generation=expected_generation + 1,
        arms=resolve_arms(arms, registered),
        reason=reason,
        since=now,
        valid_until=valid_until,
        on_expiry=on_expiry,
    )
    barred = newly_barred(routes.get(tx, adapter), route, admissions.barred(tx, known.id))
    if barred:
        raise InvalidRoute(barred)
    return write(tx, known.id, route=route, actor=actor, hold_until=hold_until)


def start(
    tx: Connection, version: Version, *, actor: str, now: datetime, done: str = "registered"
) -> Route | None:
    """Give a new adapter its first route: all traffic to its first version.

    Returns None, and changes nothing, where there is a route already, or where the version must be
    admitted first: then its admission starts the route. ``done`` says why it begins.
    """
    if routes.get(tx, version.adapter) is not None or unadmitted(tx, version):
        return None
    arm = Arm(arm=ArmKind.STABLE, version=version.name, model=version.model, weight=1.0)
    route = Route(
        adapter=version.adapter,
        generation=1,
        arms=(arm,),
        reason=f"first version {version.name} {done}",
        since=now,
    )
    try:
        return write(tx, version.adapter_id, route=route, actor=actor)
    except routes.GenerationConflict:
        return None  # another process has just done the same


def write(
    tx: Connection,
    adapter_id: AdapterId,
    *,
    route: Route,
    actor: str,
    hold_until: datetime | None = None,
) -> Route:
    """Swap the route in, with its history and audit entry, in one step.

    Returns the route as it is in force.

    Raises
    ------
    GenerationConflict
        The route in force is not the one before ``route``.
    """
    written = routes.put(
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
        details={"route": to_json(written), "hold_until": hold_until and hold_until.isoformat()},
    )
    return written


def unadmitted(tx: Connection, version: Version) -> str | None:
    """Say why a version may get no traffic, with what to do; None: it may."""
    why = admissions.barred(tx, version.adapter_id).get(version.name)
    return why and told(version.adapter, version.name, why)


def told(adapter: str, name: str, why: str) -> str:
    """Say it with the command that helps.

    >>> told("support", "v8", "is not admitted yet")
    'v8 is not admitted yet: driftline admit support v8'
    """
    return f"{name} {why}: driftline admit {adapter} {name}"


def newly_barred(before: Route | None, after: Route, barred: Mapping[str, str]) -> list[str]:
    """List the problems of a route that gives traffic to barred versions.

    A version that answers already keeps its traffic, or none could be taken from its neighbours.
    """
    kept = answering(before) if before else frozenset()
    return [
        told(after.adapter, name, barred[name])
        for name in sorted(answering(after) - kept)
        if name in barred
    ]


def answering(route: Route) -> frozenset[str]:
    """Return the versions that answer, now or when the route expires."""
    heirs = {route.on_expiry} if route.valid_until else set()
    return frozenset(arm.version for arm in route.arms if arm.weight > 0 or arm.arm in heirs)

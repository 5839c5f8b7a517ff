"""The rule that a version which was not admitted gets no traffic, where the config requires it."""

from __future__ import annotations

from collections.abc import Mapping

from sqlalchemy import Connection

from monitor.domain import Route, Version
from monitor.store.registry import admissions


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

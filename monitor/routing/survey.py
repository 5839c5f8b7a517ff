"""Read in one transaction what a decision looks at."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace
from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Mode, Verdict, VerdictKind, Version, VersionId
from monitor.routing.arms import effective
from monitor.routing.killswitch import KillSwitch
from monitor.routing.scene import Scene
from monitor.routing.settings import RoutingSettings
from monitor.routing.targets import Targets, choose_targets
from monitor.store import (
    actions,
    adapters,
    common_cause,
    fleet_incidents,
    routes,
    verdicts,
    versions,
)
from monitor.store.actions import ActionKind
from monitor.store.common_cause import Company
from monitor.store.routes import RouteRow

HISTORY: int = 100
"""How many generations back a version that was once in charge is looked for."""


def survey(
    tx: Connection,
    version: Version,
    *,
    kind: ActionKind,
    kill_switch: KillSwitch,
    settings: RoutingSettings,
    default_mode: Mode,
    now: datetime,
    hold: bool,
) -> Scene:
    """Read the scene; ``hold`` keeps kill switch, budgets, route and verdict as they are.

    Locks are taken in this order by everybody: switch, route, verdict.
    """
    switch = kill_switch.read(tx, hold=hold)
    route = _route(tx, version.adapter, now=now, hold=hold)
    verdict = stored_verdict(tx, version.id, lock=hold)
    fallback = kind is ActionKind.FALLBACK
    return Scene(
        version=version,
        mode=adapters.fetch_by_id(tx, version.adapter_id).mode or default_mode,
        verdict=verdict,
        route=route,
        kill_switch=switch,
        fleet_incident=fleet_incidents.open_on(tx, fleet_incidents.base_of(version)),
        last=actions.newest(tx, version, kind=kind),
        company=_company(tx, version, verdict=verdict, settings=settings) if fallback else None,
        targets=targets_of(tx, version) if fallback else Targets(),
        taken_here=actions.taken_since(
            tx,
            since=now - max(settings.adapter_window, settings.cool_down),
            adapter_id=version.adapter_id,
        ),
        taken_fleet=actions.taken_since(tx, since=now - settings.fleet_window),
    )


def _route(tx: Connection, adapter: str, *, now: datetime, hold: bool) -> RouteRow | None:
    """The route as routers follow it now: one that has expired is not what is written."""
    row = routes.row(tx, adapter, lock=hold)
    return None if row is None else replace(row, route=effective(row.route, now))


def only(scene: Scene, served: Collection[VersionId]) -> Scene:
    """Leave out the targets that no engine serves."""
    targets = scene.targets
    usable = tuple(version for version in targets.usable if version.id in served)
    missing = tuple(
        f"{version.name} is not served" for version in targets.usable if version.id not in served
    )
    return replace(scene, targets=Targets(usable=usable, refused=(*targets.refused, *missing)))


def stored_verdict(tx: Connection, version_id: VersionId, *, lock: bool) -> Verdict | None:
    """Return the verdict in force; ``lock`` keeps it so until the transaction ends."""
    row = verdicts.current(tx, version_id=version_id, lock=lock)
    return row.verdict if row else None


def targets_of(tx: Connection, version: Version) -> Targets:
    """List where the version's traffic may fall back to."""
    return choose_targets(
        version,
        registered=versions.of_adapter(tx, version.adapter_id),
        history=[row.route for row in routes.history(tx, version.adapter, limit=HISTORY)],
        verdicts={
            row.version: row.verdict.kind
            for row in verdicts.of_adapter(tx, adapter_id=version.adapter_id)
        },
        abandoned=actions.abandoned_versions(tx, version.adapter_id),
    )


def _company(
    tx: Connection, version: Version, *, verdict: Verdict | None, settings: RoutingSettings
) -> Company | None:
    if verdict is None or verdict.kind is not VerdictKind.CRITICAL:
        return None
    return common_cause.company(tx, version.adapter_id, turned=verdict.since, cycle=settings.cycle)

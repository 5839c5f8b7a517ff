"""Read in one transaction the facts behind a decision."""

from __future__ import annotations

from collections.abc import Callable, Collection
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from alerts.types import Kind, VerdictKind
from alerts.words import duration
from detectors.words import name_words
from monitor.domain import Mode, Verdict, Version, VersionId
from monitor.store import clock as store_clock
from monitor.store.clock import Clock
from monitor.store.evaluation import verdicts
from monitor.store.incidents import fleet_incidents
from monitor.store.records import counting
from monitor.store.registry import adapters, admissions, versions
from monitor.store.traffic import actions, canaries, common_cause, routes, self_health
from monitor.store.traffic.common_cause import BaseFleet
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.arms import effective, serving_arm
from monitor.traffic.fallback.machine import Progress
from monitor.traffic.fallback.scene import Scene
from monitor.traffic.fallback.targets import Targets, choose_targets
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.settings import RoutingSettings
from monitor.traffic.table import answering, unadmitted

HISTORY: int = 100
"""Generations of the route searched for a version that was once in charge."""
LONGEST_TRIAL: timedelta = timedelta(days=7)
"""Longest time over which the records of a version's trials are counted."""


def survey(
    tx: Connection,
    version: Version,
    *,
    kill_switch: KillSwitch,
    settings: RoutingSettings,
    default_mode: Mode,
    clock: Callable[[], datetime],
    now: datetime,
    hold: bool,
) -> Scene:
    """Read the scene; ``hold`` locks kill switch, budgets, route and verdict.

    ``clock`` is this process's clock, compared with the database's. Durations count only
    the time that has surely passed on the database's clock. Every process locks in this
    order: switch, route, verdict.
    """
    switch = kill_switch.read(tx, hold=hold)
    route = route_in_force(tx, version.adapter, now=now, lock=hold)
    verdict = stored_verdict(tx, version.id, lock=hold)
    answers = route is not None and serving_arm(route.route, version.name) is not None
    seen = store_clock.read(tx)

    def sure(at: datetime) -> datetime:
        return store_clock.sure(seen, at, now=now)

    return Scene(
        version=version,
        mode=adapters.fetch_by_id(tx, version.adapter_id).mode or default_mode,
        verdict=verdict and replace(verdict, since=sure(verdict.since)),
        route=route and _by_the_clock(route, seen, now=now),
        kill_switch=switch,
        fleet_incident=fleet_incidents.open_on(tx, fleet_incidents.base_of(version)),
        last=actions.newest(tx, version),
        moved=actions.newest_taken(tx, version.adapter_id),
        unwell=unwell_of(tx, version, settings=settings, clock=clock, now=now),
        company=_company(tx, version, verdict=verdict, settings=settings),
        targets=targets_of(tx, version),
        unadmitted=None if answers else unadmitted(tx, version),
        taken_here=[
            sure(at)
            for at in actions.taken_since(
                tx,
                since=now - max(settings.adapter_window, settings.cool_down),
                adapter_id=version.adapter_id,
            )
        ],
        taken_fleet=[sure(at) for at in actions.taken_since(tx, since=now - settings.fleet_window)],
        progress=progress_of(tx, version, now=now),
    )


def _by_the_clock(row: RouteRow, seen: Clock | None, *, now: datetime) -> RouteRow:
    held = row.hold_until and store_clock.end(seen, row.hold_until, now=now)
    since = store_clock.sure(seen, row.route.since, now=now)
    return replace(row, route=replace(row.route, since=since), hold_until=held)


def route_in_force(
    tx: Connection, adapter: str, *, now: datetime, lock: bool = False
) -> RouteRow | None:
    """Return the route that routers follow now, with its expiry applied."""
    row = routes.row(tx, adapter, lock=lock)
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
    """Return the verdict in force; ``lock`` holds its row until the transaction ends."""
    row = verdicts.current(tx, version_id=version_id, lock=lock)
    return row.verdict if row else None


def targets_of(tx: Connection, version: Version) -> Targets:
    """List the versions to which the version's traffic may fall back.

    One that answers already needs no admission: it keeps its traffic.
    """
    history = [row.route for row in routes.history(tx, version.adapter, limit=HISTORY)]
    now_answering = answering(history[0]) if history else frozenset()
    barred = admissions.barred(tx, version.adapter_id)
    return choose_targets(
        version,
        registered=versions.of_adapter(tx, version.adapter_id),
        history=history,
        verdicts={
            row.version: row.verdict.kind
            for row in verdicts.of_adapter(tx, adapter_id=version.adapter_id)
        },
        abandoned=actions.abandoned_versions(tx, version.adapter_id),
        latched=canaries.latched(tx, version.adapter_id).keys(),
        barred={name: why for name, why in barred.items() if name not in now_answering},
    )


def unwell_of(
    tx: Connection,
    version: Version,
    *,
    settings: RoutingSettings,
    clock: Callable[[], datetime],
    now: datetime,
) -> tuple[str, ...]:
    """List the reasons not to act automatically on the findings about the version."""
    health = self_health.of_version(tx, version.id, adapter_id=version.adapter_id)
    skew = abs(clock() - health.database_clock)
    found = []
    if skew > settings.clock_skew:
        found.append(f"this clock is {duration(skew)} from the database's")
    if health.failing:
        failing = ", ".join(map(name_words, health.failing))
        found.append(f"these checks of it fail: {failing}")
    if health.open_kinds:
        found.extend(_OPEN[kind] for kind in health.open_kinds)
    if health.reference_at is not None:
        age = now - store_clock.sure(store_clock.read(tx), health.reference_at, now=now)
        if age < settings.cycle:
            found.append(f"its reference is only {duration(age)} old")
    return tuple(found)


_OPEN: Final = {
    Kind.ERROR.value: "Driftline cannot check it",
    Kind.NO_DATA.value: "it sends no records",
}
"""The kinds of open incidents that say so."""


def progress_of(tx: Connection, version: Version, *, now: datetime) -> Progress:
    """Read the history of a version that lost its traffic.

    Records count from the first trial on: those shortly after the fallback were under way
    before.
    """
    fallbacks = tuple(actions.moved_away(tx, version))
    began = actions.trial_began(tx, version, after=fallbacks[0].at) if fallbacks else None
    if began is None:
        return Progress(fallbacks=fallbacks)
    traffic = counting.traffic(
        tx,
        version_id=version.id,
        adapter_id=version.adapter_id,
        start=max(began, now - LONGEST_TRIAL),
        end=now,
    )
    return Progress(fallbacks=fallbacks, records=traffic.count)


def _company(
    tx: Connection, version: Version, *, verdict: Verdict | None, settings: RoutingSettings
) -> BaseFleet | None:
    if verdict is None or verdict.kind is not VerdictKind.CRITICAL:
        return None
    return common_cause.company(tx, version.adapter_id, turned=verdict.since, cycle=settings.cycle)

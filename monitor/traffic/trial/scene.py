"""The rows locked while a canary moves, and its permissions."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime

from sqlalchemy import Connection

from alerts.types import Blame, VerdictKind
from alerts.words import clock_time, duration
from monitor.domain import Mode, Version
from monitor.store import clock
from monitor.store.clock import Clock
from monitor.store.incidents import fleet_incidents
from monitor.store.registry import adapters, versions
from monitor.store.traffic import canaries, canary_looks, routes
from monitor.store.traffic.actions import AUTOMATIC
from monitor.store.traffic.canaries import CanaryRow
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.fallback.survey import stored_verdict
from monitor.traffic.gates import base_in_question, held, killed
from monitor.traffic.killswitch import KillSwitch, SwitchReading
from monitor.traffic.table import unadmitted
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    Permission,
    Plan,
    plan_from_json,
    state_from_json,
    to_json,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrialScene:
    """Kill switch, route and canary, locked in the order that all movers of traffic use.

    Times that the canary waits for take the ``clock``'s jumps into account: see
    :func:`since_a_jump`.
    """

    canary: CanaryRow
    version: Version
    control: Version
    plan: Plan
    state: CanaryState
    route: RouteRow | None
    kill_switch: SwitchReading
    clock: Clock | None = None


def hold_scene(
    tx: Connection, canary: CanaryRow, kill_switch: KillSwitch, *, claimed: bool, now: datetime
) -> TrialScene | None:
    """Lock everything; None: another process was faster.

    ``claimed``: the canary must still be as it was claimed.
    """
    switch = kill_switch.read(tx, hold=True)
    route = routes.row(tx, canary.adapter, lock=True)
    held = canaries.held(tx, canary) if claimed else canaries.fetch(tx, canary.id, lock=True)
    if held is None:
        return None
    known = clock.read(tx)
    held = since_a_jump(held, known, now=now)
    return TrialScene(
        canary=held,
        version=versions.fetch_by_id(tx, held.version_id),
        control=versions.fetch_by_id(tx, held.control_id),
        plan=plan_from_json(held.plan),
        state=state_from_json(held.state),
        route=route,
        kill_switch=switch,
        clock=known,
    )


def since_a_jump(canary: CanaryRow, known: Clock | None, *, now: datetime) -> CanaryRow:
    """Begin each waiting time of a canary anew where the clock jumped.

    Its records, too, are read from there on: earlier ones have wrong dates, and their
    result is kept in the sums of earlier steps.
    """
    state, plan = state_from_json(canary.state), plan_from_json(canary.plan)

    def sure(at: datetime | None) -> datetime | None:
        return None if at is None else clock.sure(known, at, now=now)

    again = replace(
        state,
        since=sure(state.since),
        begun_at=state.begun_at if state.begun_at is None or state.begun_at <= now else now,
        step_since=sure(state.step_since),
        clock_since=sure(state.clock_since),
        stopped_at=sure(state.stopped_at),
        seen_at=sure(state.seen_at),
        eased_at=sure(state.eased_at),
        unread_since=sure(state.unread_since),
    )
    if again == state:
        return canary
    carried = canary.carried
    if again.step_since != state.step_since:
        latest = {} if plan.steps[state.step].shadow else carried.get("latest", {})
        carried = {"closed": latest, "latest": latest}
    return replace(
        canary, state=to_json(again), carried=carried, measured_until=sure(canary.measured_until)
    )


def persons_term(tx: Connection, scene: TrialScene) -> datetime | None:
    """Return the end that a person set for the route; None: only the canary set one.

    A person who only holds the route keeps the canary's term.
    """
    own, route = scene.canary.generation, scene.route.route if scene.route else None
    if route is None or own is None or own == route.generation:
        return None
    written = routes.history(tx, route.adapter, before_generation=own + 1, limit=1)
    same = [row.route.valid_until for row in written] == [route.valid_until]
    return None if same else route.valid_until


def permission(
    tx: Connection,
    scene: TrialScene,
    *,
    settings: CanarySettings,
    default_mode: Mode,
    now: datetime,
) -> Permission:
    """Return what the canary may do by itself, by the switches of all actions.

    The weight does not rise while the base or its engine is in question, while the canary's own
    verdict fires, while the version is not admitted, or while a person has set a term for the
    route. A rollback is fair even while the base is in question, because both arms stand on it.
    """
    stop = _stopped(tx, scene, default_mode=default_mode, now=now)
    if stop is not None:
        return Permission(raising=stop, lowering=stop)
    base = fleet_incidents.open_on(tx, fleet_incidents.base_of(scene.version))
    raising = firing(tx, scene.version)
    term = persons_term(tx, scene)
    if term is not None:
        raising = f"the route ends at {clock_time(term, now=now)}, as a person wrote"
    raising = base_in_question(base) or unadmitted(tx, scene.version) or raising
    window = settings.rollbacks_window
    taken = canary_looks.rollbacks(tx, since=now - window, until=now, actor=AUTOMATIC)
    if taken < settings.rollbacks:
        return Permission(raising=raising)
    return Permission(
        raising=raising,
        lowering=f"{taken} canaries rolled back within {duration(window)}"
        f" (at most {settings.rollbacks})",
        spent=True,
    )


def forbidden(scene: TrialScene, *, now: datetime) -> str | None:
    """Say what forbids all moves by Driftline, including those that a person ordered."""
    route = scene.route
    if route is not None and route.hold_until is not None:
        route = replace(route, hold_until=clock.end(scene.clock, route.hold_until, now=now))
    return killed(scene.kill_switch) or held(route, now)


def _stopped(tx: Connection, scene: TrialScene, *, default_mode: Mode, now: datetime) -> str | None:
    stop = forbidden(scene, now=now)
    own = adapters.fetch_by_id(tx, scene.canary.adapter_id).mode
    mode = scene.canary.mode or own or default_mode
    by_mode = None if mode is Mode.AUTO else f"mode {mode.value} leaves it to a person"
    return stop or by_mode


def firing(tx: Connection, version: Version) -> str | None:
    """Say what the version's verdict has found, except input drift, which affects both arms."""
    verdict = stored_verdict(tx, version.id, lock=False)
    if verdict is None or verdict.blame is Blame.INPUT:
        return None
    fires = verdict.kind in {VerdictKind.DRIFTING, VerdictKind.CRITICAL}
    return f"{version.name} is {verdict.kind.value}: {verdict.reason}" if fires else None

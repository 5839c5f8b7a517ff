"""The standing of an adapter's breaker, as people see it."""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Connection

from monitor.domain import Mode, Version
from monitor.store.registry import adapters, versions
from monitor.store.traffic import actions
from monitor.store.traffic.actions import ActionState
from monitor.traffic.arms import fallback_arm, stable_arm
from monitor.traffic.fallback.decision import not_in_fallback
from monitor.traffic.fallback.machine import BreakerState, next_step, state_of, streak
from monitor.traffic.fallback.survey import progress_of, route_in_force, stored_verdict
from monitor.traffic.settings import RoutingSettings
from monitor.views.route import BreakerBody


def read(
    tx: Connection, adapter: str, *, settings: RoutingSettings, default_mode: Mode, now: datetime
) -> BreakerBody | None:
    """Read the breaker's standing; None: the adapter has no route. Takes no locks."""
    row = route_in_force(tx, adapter, now=now)
    if row is None:
        return None
    route, name = row.route, stable_arm(row.route).version
    version = versions.fetch(tx, adapter=adapter, name=name)
    if version is None:
        return None
    verdict = stored_verdict(tx, version.id, lock=False)
    progress = progress_of(tx, version, now=now)
    state = state_of(route, verdict)
    since: datetime | None
    match state:
        case BreakerState.HEALTHY | BreakerState.DEGRADED:
            since = verdict.since if verdict else None
            reason = verdict.reason if verdict else "not evaluated yet"
            if state is BreakerState.DEGRADED:
                reason += f"; {_stopped(tx, version, default_mode)}"
        case BreakerState.FALLBACK | BreakerState.HALF_OPEN:
            since = route.since
            step = next_step(route, verdict, progress, settings, now=now)
            reason = not_in_fallback(row, version) or step.reason
    away = fallback_arm(route)
    has_more = away is not None and away.weight > stable_arm(route).weight
    return BreakerBody(
        adapter=adapter,
        state=state,
        version=name,
        answering=away.version if away is not None and has_more else name,
        since=since,
        fallbacks=streak(progress.fallbacks, gap=settings.streak_gap),
        reason=reason,
    )


def _stopped(tx: Connection, version: Version, default_mode: Mode) -> str:
    """Say what prevents Driftline from moving the traffic."""
    last = actions.newest(tx, version)
    if last is not None and last.state in {ActionState.BLOCKED, ActionState.VERIFY_FAILED}:
        return f"{last.kind.value} {last.state.value}: {last.reason}"
    mode = adapters.fetch_by_id(tx, version.adapter_id).mode or default_mode
    if mode is not Mode.AUTO:
        return f"mode {mode.value}: a person decides"
    return "the action rule does not hold"

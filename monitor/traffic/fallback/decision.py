"""The decision whether an adapter's traffic moves: pure, with its reason in numbers."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Final

from alerts.words import duration, percent
from monitor.domain import Mode, Version
from monitor.store.traffic.actions import AUTOMATIC, ActionKind, Away
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.arms import fallback_arm, stable_arm
from monitor.traffic.fallback.gate_names import Gate
from monitor.traffic.fallback.gates import (
    ASKED_FOR,
    AUTOMATIC_ONLY,
    SENSIBLE,
    adapter_spent,
    common_cause,
    unfinished,
    unwell,
)
from monitor.traffic.fallback.machine import BreakerState, hold, next_step, recovered, state_of
from monitor.traffic.fallback.scene import MoveQuestion, Scene
from monitor.traffic.gates import base_in_question, held, killed
from monitor.traffic.settings import RoutingSettings


class DecisionKind(StrEnum):
    """The kinds of decision about a version."""

    NOTHING = "nothing"
    RECOMMEND = "recommend"
    ASK = "ask"
    EXECUTE = "execute"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """A decision about a version's traffic, with its reason.

    ``action`` None: nothing is done. ``gate`` names the check that prevented more. ``then`` says
    what happens by itself afterwards.
    """

    kind: DecisionKind
    reason: str
    action: ActionKind | None = None
    gate: Gate | None = None
    target: Version | None = None
    then: str = ""


def decide_fallback(question: MoveQuestion) -> Decision:
    """Check the gates in order; the first shut gate gives the reason."""
    for gate, check in ASKED_FOR:
        reason = check(question)
        if reason is not None:
            return Decision(kind=DecisionKind.NOTHING, gate=gate, reason=reason)
    targets = question.scene.targets.usable
    automatic = AUTOMATIC_ONLY if question.scene.mode is Mode.AUTO else ()
    for gate, check in (*SENSIBLE, *automatic):
        reason = check(question)
        if reason is not None:
            return Decision(
                kind=DecisionKind.BLOCK,
                gate=gate,
                reason=reason,
                action=ActionKind.FALLBACK,
                target=targets[0] if targets else None,
            )
    return Decision(
        kind=_ALLOWED[question.scene.mode],
        reason=f"{question.evidence.reason}; to {targets[0].label}",
        action=ActionKind.FALLBACK,
        target=targets[0],
        then=_tried_again(question) if automatic else "",
    )


def _tried_again(question: MoveQuestion) -> str:
    """Say when the version gets traffic again by itself."""
    settings, scene = question.settings, question.scene
    healthy = hold((Away(at=question.now), *scene.progress.fallbacks), settings)
    share = percent(min(1.0, settings.trial_share))
    return (
        f"{scene.version.name} is tried again on {share} of the traffic"
        f" once its tests on fixed texts have been normal for {duration(healthy)}"
    )


def decide_return(scene: Scene, settings: RoutingSettings, *, now: datetime) -> Decision:
    """Return the breaker's next step from a fallback or a trial, if the gates allow one.

    Driftline returns only traffic that it has moved; traffic moved by a person stays.
    Cool-down and the fleet's budget do not apply; the holds prevent flapping.
    """
    reason = not_in_fallback(scene.route, scene.version)
    if reason is not None or scene.route is None:
        return _nothing(Gate.TRAFFIC, reason or "the adapter has no route")
    reason = unfinished(scene)
    if reason is not None:
        return _nothing(Gate.UNFINISHED, reason)
    route = scene.route.route
    step = next_step(route, scene.verdict, scene.progress, settings, now=now)
    action = _KINDS.get((state_of(route, scene.verdict), step.state))
    if action is None:
        waits = scene.verdict is not None and recovered(scene.verdict)
        return _nothing(Gate.HOLD if waits else Gate.VERDICT, step.reason)
    target = _target_of(action, scene)
    for gate, stop in _stops(action, scene, settings, target, now=now):
        if stop is not None:
            return Decision(
                kind=DecisionKind.BLOCK, gate=gate, reason=stop, action=action, target=target
            )
    return Decision(kind=_ALLOWED[scene.mode], reason=step.reason, action=action, target=target)


_KINDS: Final = {
    (BreakerState.FALLBACK, BreakerState.HALF_OPEN): ActionKind.TRIAL,
    (BreakerState.FALLBACK, BreakerState.HEALTHY): ActionKind.RETURN,
    (BreakerState.HALF_OPEN, BreakerState.HEALTHY): ActionKind.RETURN,
    (BreakerState.HALF_OPEN, BreakerState.FALLBACK): ActionKind.END_TRIAL,
}


def _target_of(action: ActionKind, scene: Scene) -> Version | None:
    """Return the version that gets the traffic.

    The end of a trial gives it to the fallback arm's version, if that is still usable.
    """
    if action is not ActionKind.END_TRIAL or scene.route is None:
        return scene.version
    arm = fallback_arm(scene.route.route)
    usable = scene.targets.usable
    return next((one for one in usable if arm is not None and one.name == arm.version), None)


def _stops(
    action: ActionKind,
    scene: Scene,
    settings: RoutingSettings,
    target: Version | None,
    *,
    now: datetime,
) -> Iterator[tuple[Gate, str | None]]:
    yield Gate.HOLD, held(scene.route, now)
    if target is None:
        refused = "; ".join(scene.targets.refused) or "the route has none"
        yield Gate.TARGET, f"the fallback arm is not fit to take the traffic: {refused}"
    if action is not ActionKind.END_TRIAL:
        yield Gate.ADMISSION, scene.unadmitted
    if scene.mode is not Mode.AUTO:
        return
    yield Gate.KILL_SWITCH, killed(scene.kill_switch)
    yield Gate.FLEET_INCIDENT, base_in_question(scene.fleet_incident)
    yield Gate.SELF_HEALTH, unwell(scene)
    if action is ActionKind.TRIAL:
        # keep one fallback of the budget: the one that may have to end this trial
        yield Gate.ADAPTER_BUDGET, adapter_spent(scene.taken_here, settings, now=now)
    if action is ActionKind.END_TRIAL:
        yield Gate.COMMON_CAUSE, common_cause(scene, settings)


def _nothing(gate: Gate, reason: str) -> Decision:
    return Decision(kind=DecisionKind.NOTHING, gate=gate, reason=reason)


_ALLOWED: Final = {
    Mode.OBSERVE: DecisionKind.RECOMMEND,
    Mode.APPROVE: DecisionKind.ASK,
    Mode.AUTO: DecisionKind.EXECUTE,
}
"""The most that Driftline does in each mode."""


def not_in_fallback(row: RouteRow | None, version: Version) -> str | None:
    """Say why the version has no traffic to get back; None: Driftline moved its traffic."""
    if row is None:
        return "the adapter has no route"
    stable = stable_arm(row.route)
    if stable.version != version.name:
        return f"the stable arm is {stable.version}"
    if state_of(row.route, None) not in {BreakerState.FALLBACK, BreakerState.HALF_OPEN}:
        return "it has its traffic"
    if not row.actor.startswith(f"{AUTOMATIC}:"):
        return f"the route was set by {row.actor}"
    return None

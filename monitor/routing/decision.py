"""Whether an adapter's traffic moves: a pure decision with its reason in numbers."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import assert_never

from monitor.domain import Mode, Verdict, VerdictKind, Version
from monitor.routing.arms import stable_arm
from monitor.routing.gates import ASKED_FOR, AUTOMATIC_ONLY, SENSIBLE, Gate, held, unfinished
from monitor.routing.scene import Question, Scene
from monitor.routing.settings import RoutingSettings
from monitor.store.actions import AUTOMATIC


class DecisionKind(StrEnum):
    """What is to be done about a version."""

    NOTHING = "nothing"
    RECOMMEND = "recommend"
    ASK = "ask"
    EXECUTE = "execute"
    BLOCK = "block"


@dataclass(frozen=True, slots=True, kw_only=True)
class Decision:
    """What to do, why, and what kept more from being done."""

    kind: DecisionKind
    reason: str
    gate: Gate | None = None
    target: Version | None = None


def decide_fallback(question: Question) -> Decision:
    """Go through the gates in order; the first that is shut gives the reason."""
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
                target=targets[0] if targets else None,
            )
    return Decision(
        kind=allowed_kind(question.scene.mode),
        reason=f"{question.evidence.reason}; to {targets[0].label}",
        target=targets[0],
    )


def decide_return(scene: Scene, settings: RoutingSettings, *, now: datetime) -> Decision:
    """Whether traffic goes back to the stable version that it was moved away from.

    Only where a fallback moved it: what a person routed, a person routes back. Exempt
    from cool-down and budgets; the hold after recovery keeps it from flapping.
    """
    reason = _not_in_fallback(scene)
    if reason is not None:
        return Decision(kind=DecisionKind.NOTHING, gate=Gate.TRAFFIC, reason=reason)
    reason = unfinished(scene)
    if reason is not None:
        return Decision(kind=DecisionKind.NOTHING, gate=Gate.UNFINISHED, reason=reason)
    verdict = scene.verdict
    if verdict is None or not recovered(verdict):
        kind = verdict.kind.value if verdict else "not known"
        return Decision(
            kind=DecisionKind.NOTHING, gate=Gate.VERDICT, reason=f"the verdict is {kind}"
        )
    waited = now - verdict.since
    if waited < settings.return_hold:
        return Decision(
            kind=DecisionKind.NOTHING,
            gate=Gate.HOLD,
            reason=f"recovered {waited} ago < {settings.return_hold}",
        )
    return _return_now(scene, f"recovered {waited} ago >= {settings.return_hold}", now=now)


def _return_now(scene: Scene, reason: str, *, now: datetime) -> Decision:
    stop = held(scene, now)
    gate = Gate.HOLD
    if stop is None and scene.mode is Mode.AUTO and scene.kill_switch.on:
        stop, gate = f"kill switch: {scene.kill_switch.reason}", Gate.KILL_SWITCH
    if stop is not None:
        return Decision(kind=DecisionKind.BLOCK, gate=gate, reason=stop, target=scene.version)
    return Decision(kind=allowed_kind(scene.mode), reason=reason, target=scene.version)


def recovered(verdict: Verdict) -> bool:
    """Whether nothing speaks against the version any more.

    A version without traffic has too few records to be called stable; when its probes
    have cleared every crossing it is ``insufficient`` with nothing left crossed.
    """
    quiet = verdict.kind is VerdictKind.INSUFFICIENT and not verdict.detectors
    return verdict.kind is VerdictKind.STABLE or quiet


def allowed_kind(mode: Mode) -> DecisionKind:
    """Say how far a mode lets Driftline go."""
    match mode:
        case Mode.OBSERVE:
            return DecisionKind.RECOMMEND
        case Mode.APPROVE:
            return DecisionKind.ASK
        case Mode.AUTO:
            return DecisionKind.EXECUTE
        case _:
            assert_never(mode)


def _not_in_fallback(scene: Scene) -> str | None:
    if scene.route is None:
        return "the adapter has no route"
    stable = stable_arm(scene.route.route)
    if stable.version != scene.version.name:
        return f"the stable arm is {stable.version}"
    if stable.weight > 0:
        return "it has its traffic"
    if not scene.route.actor.startswith(f"{AUTOMATIC}:"):
        return f"the route was set by {scene.route.actor}"
    return None

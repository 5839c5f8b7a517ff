"""The building blocks of all transitions of a canary. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import Final

from monitor.traffic.trial.states import (
    CanaryState,
    Effects,
    Mirror,
    Pause,
    Phase,
    Plan,
    Promote,
    Renew,
    SetWeight,
    TakeBack,
    TrialMove,
)

Result = tuple[CanaryState, Effects]

PLACED: Final = frozenset({Phase.RUNNING, Phase.PAUSED})
"""In these phases the version may be in the route."""


def at_step(state: CanaryState, index: int, plan: Plan, reason: str, now: datetime) -> Result:
    """Begin a step."""
    wanted = plan.steps[index]
    placed = replace(
        state,
        step=index,
        weight=wanted.weight,
        placed=True,
        begun_at=now if index == 0 else state.begun_at,
        step_since=now,
        clock_since=now,
        stopped_at=None,
        extended=0,
        ready=False,
        blind=0,
        seen_at=now,
        eased_at=None,
    )
    effect = Mirror() if wanted.shadow else SetWeight(weight=wanted.weight)
    return in_phase(placed, Phase.RUNNING, reason, now), (effect,)


def go(state: CanaryState, move: TrialMove, plan: Plan, reason: str, now: datetime) -> Result:
    """Begin the next step, or put the version in charge."""
    if move is TrialMove.ADVANCE:
        return at_step(state, state.step + 1, plan, reason, now)
    promoting = replace(state, weight=1.0, placed=False)
    return in_phase(promoting, Phase.PROMOTING, reason, now), (Promote(),)


def in_phase(state: CanaryState, phase: Phase, reason: str, now: datetime) -> CanaryState:
    """Enter a phase other than a pause."""
    same = state.phase is phase and state.pause is None
    return replace(
        state,
        phase=phase,
        pause=None,
        proposal=None,
        stopped_at=None,
        since=state.since if same else now,
        reason=reason,
    )


def paused(state: CanaryState, pause: Pause, reason: str, now: datetime) -> CanaryState:
    """Pause the canary; the step's time stands still from here on."""
    return replace(
        state,
        phase=Phase.PAUSED,
        pause=pause,
        proposal=None,
        since=state.since if state.pause is pause else now,
        stopped_at=state.stopped_at or now,
        reason=reason,
    )


def held(state: CanaryState, pause: Pause, reason: str, now: datetime) -> Result:
    """Pause, unless the canary is already in a pause that only a person ends."""
    if state.phase is Phase.PAUSED and by_a_person(state):
        return state, (Renew(),)
    return paused(state, pause, reason, now), (Renew(),)


def by_a_person(state: CanaryState) -> bool:
    """Whether only a person ends this pause."""
    return state.pause in {Pause.MANUAL, Pause.INCONCLUSIVE}


def running_again(state: CanaryState, reason: str, now: datetime) -> CanaryState:
    """End a pause; the weight stays the same."""
    stood = now - (state.stopped_at or now)
    begun = state.clock_since + stood if state.clock_since else now
    return replace(in_phase(state, Phase.RUNNING, reason, now), clock_since=begun)


def rolling_back(state: CanaryState, reason: str, now: datetime) -> Result:
    """Take the version out of the route; it stays out."""
    promoted = state.phase is Phase.PROMOTING
    back = replace(state, weight=0.0, placed=False, latched=True, ready=False, unverified=None)
    effect = TakeBack() if promoted else SetWeight(weight=0.0)
    return in_phase(back, Phase.ROLLING_BACK, reason, now), (effect,)


def rolled_back(state: CanaryState, reason: str, now: datetime) -> CanaryState:
    """Roll back a version that never had traffic."""
    return in_phase(replace(state, latched=True), Phase.ROLLED_BACK, reason, now)

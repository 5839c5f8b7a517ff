"""The orders that people may give a canary, and the resulting states. Pure."""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from monitor.traffic.trial.states import (
    CanaryState,
    Effects,
    Mirror,
    NotPossible,
    Ordered,
    OrderKind,
    Pause,
    Phase,
    Plan,
    SetWeight,
    TrialMove,
)
from monitor.traffic.trial.transitions import (
    PLACED,
    Result,
    go,
    in_phase,
    paused,
    rolled_back,
    rolling_back,
    running_again,
)


def ordered(state: CanaryState, event: Ordered, plan: Plan, now: datetime) -> Result:
    """Apply the order of a person; raises ``NotPossible``."""
    said = f"by {event.by}: {event.why}" if event.why else f"by {event.by}"
    match event.order:
        case OrderKind.PAUSE:
            return _order_pause(state, said, now)
        case OrderKind.RESUME:
            return _order_resume(state, said, plan, now)
        case OrderKind.PROMOTE:
            return _order_promote(state, event, said, plan, now)
        case OrderKind.ABORT:
            return _order_abort(state, said, now)
        case OrderKind.SUPERSEDE:
            return _order_supersede(state, said, now)
        case _:
            assert_never(event.order)


def _order_pause(state: CanaryState, said: str, now: datetime) -> Result:
    if state.phase not in PLACED or not state.placed:
        raise NotPossible(f"a canary that is {_words(state)} has nothing to pause")
    return paused(state, Pause.MANUAL, f"paused {said}", now), ()


def _order_resume(state: CanaryState, said: str, plan: Plan, now: datetime) -> Result:
    if state.phase is Phase.ROLLED_BACK:
        return CanaryState(since=now, reason=f"let try again {said}"), ()
    if state.phase is not Phase.PAUSED:
        raise NotPossible(f"a canary that is {_words(state)} is not paused")
    if not state.placed:
        return in_phase(state, Phase.PRECHECKS, f"to be checked again {said}", now), ()
    raises = state.proposal is not None and state.proposal is not TrialMove.ROLLBACK
    if raises and state.ready and state.proposal is not None:
        return go(state, state.proposal, plan, f"allowed {said}; {state.reason}", now)
    wanted = plan.steps[state.step]
    again = running_again(state, f"resumed {said}", now)
    if state.pause is Pause.INCONCLUSIVE:  # grants the time of one more extension
        again = replace(again, clock_since=now - wanted.lasts * state.extended)
    effect = Mirror() if wanted.shadow else SetWeight(weight=wanted.weight)
    # state the weight again: somebody may have changed it
    fresh = replace(again, weight=wanted.weight, blind=0, seen_at=now, eased_at=None)
    return fresh, (effect,)


def _order_promote(
    state: CanaryState, event: Ordered, said: str, plan: Plan, now: datetime
) -> Result:
    if state.phase not in PLACED or not state.placed:
        raise NotPossible(f"a canary that is {_words(state)} cannot be promoted")
    if not state.ready and not event.force:
        raise NotPossible(
            "not every guardrail is inside its margin over enough requests"
            f" ({state.reason}): promote it with force to do so all the same"
        )
    forced = "" if state.ready else ", forced"
    return go(state, TrialMove.PROMOTE, plan, f"promoted{forced} {said}", now)


def _order_abort(state: CanaryState, said: str, now: datetime) -> Result:
    """Take the version out; an unconfirmed promotion is taken back."""
    if state.ended or state.phase is Phase.ROLLING_BACK:
        raise NotPossible(f"a canary that is {_words(state)} cannot be aborted")
    by_hand = replace(state, asked=True)
    if not state.placed and state.phase is not Phase.PROMOTING:
        return rolled_back(by_hand, f"aborted {said}", now), ()
    return rolling_back(by_hand, f"aborted {said}", now)


def _order_supersede(state: CanaryState, said: str, now: datetime) -> Result:
    """Make room for another canary; a promoted version stays in charge."""
    if state.ended or state.phase is Phase.ROLLING_BACK:
        raise NotPossible(f"a canary that is {_words(state)} cannot be superseded")
    reason = f"superseded {said}"
    if state.phase is Phase.PROMOTING:
        return in_phase(state, Phase.SUPERSEDED, f"{reason}; in charge: {state.reason}", now), ()
    effects: Effects = (SetWeight(weight=0.0),) if state.placed else ()
    out = replace(state, placed=False, weight=0.0)
    return in_phase(out, Phase.SUPERSEDED, reason, now), effects


def _words(state: CanaryState) -> str:
    return state.phase.value.replace("_", " ")

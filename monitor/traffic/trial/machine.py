"""The state machine of a canary: a pure function of looks, orders and readings of the route.

``step(state, event, plan=…, now=…)`` gives the next state and the changes to the route.
``docs/canaries.md`` has all transitions as a table. Two rules come before the others. Only
a person raises the weight, or a look that found every measurement inside its margins while
running. A canary that cannot be measured is held, and then rolled back.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime
from typing import assert_never

from alerts.words import clock_time, percent
from monitor.traffic.trial.ordered import ordered
from monitor.traffic.trial.states import (
    CanaryState,
    CanaryStep,
    Event,
    Found,
    InRoute,
    Looked,
    LookOutcome,
    OnBlind,
    Ordered,
    Pause,
    Phase,
    Plan,
    PrechecksLooked,
    ReadBack,
    Renew,
    SetWeight,
    TrialMove,
)
from monitor.traffic.trial.transitions import (
    PLACED,
    Result,
    at_step,
    by_a_person,
    go,
    held,
    in_phase,
    paused,
    rolled_back,
    rolling_back,
    running_again,
)


def step(state: CanaryState, event: Event, *, plan: Plan, now: datetime) -> Result:
    """Advance a canary by one event.

    Raises
    ------
    NotPossible
        The order of a person is impossible now; nothing changes.
    """
    after, effects = _stepped(state, event, plan, now)
    if any(not isinstance(effect, Renew) for effect in effects):
        after = replace(after, unread_since=now)
    return after, effects


def _stepped(state: CanaryState, event: Event, plan: Plan, now: datetime) -> Result:
    match event:
        case PrechecksLooked():
            return _checked(state, event, plan, now)
        case Looked():
            return _looked(state, event, plan, now)
        case ReadBack():
            return _read_back(state, event, now)
        case Ordered():
            return ordered(state, event, plan, now)
        case _:
            assert_never(event)


def _checked(state: CanaryState, event: PrechecksLooked, plan: Plan, now: datetime) -> Result:
    if state.phase not in {Phase.DRAFT, Phase.PRECHECKS}:
        return state, ()
    if event.passed:
        return at_step(state, 0, plan, event.reason, now)
    if event.passed is False:
        return rolled_back(state, f"pre-checks: {event.reason}", now), ()
    if event.given_up:
        return paused(state, Pause.PRECHECKS, event.reason, now), ()
    return in_phase(state, Phase.PRECHECKS, event.reason, now), ()


def _looked(state: CanaryState, look: Looked, plan: Plan, now: datetime) -> Result:
    if state.phase not in PLACED or not state.placed:
        return state, ()
    taken = _taken(state, look, now)
    if taken is not None:
        return taken
    if look.found is None:
        return _blind(state, look, plan, now)
    seen = replace(state, blind=0, seen_at=now, ready=_ready(state, look.found, plan))
    if look.found.outcome is LookOutcome.FAILED:
        return _failed(seen, look, now)
    return _seen(seen, look, look.found, plan, now)


def _seen(state: CanaryState, look: Looked, found: Found, plan: Plan, now: datetime) -> Result:
    if look.stable_firing is not None:
        reason = f"the stable arm is itself in question: {look.stable_firing}"
        return held(state, Pause.STABLE, reason, now)
    if state.phase is Phase.PAUSED:
        return _paused_looked(state, look, now)
    return _running(state, look, found, plan, now)


def _taken(state: CanaryState, look: Looked, now: datetime) -> Result | None:
    """Handle a route that somebody else, or its own expiry, has changed meanwhile."""
    match look.in_route:
        case InRoute.OURS:
            return None
        case InRoute.EXPIRED:
            return rolling_back(state, f"not measured: {look.in_route_reason}", now)
        case InRoute.OVER:
            out = replace(state, placed=False, weight=0.0)
            ended = in_phase(out, Phase.SUPERSEDED, look.in_route_reason, now)
            return ended, (SetWeight(weight=0.0),)
        case InRoute.IN_CHARGE:
            out = replace(state, placed=False)
            return in_phase(out, Phase.SUCCEEDED, look.in_route_reason, now), ()
        case InRoute.GONE:
            out = replace(state, placed=False, weight=0.0)
            return in_phase(out, Phase.SUPERSEDED, look.in_route_reason, now), ()
        case InRoute.CHANGED:
            return paused(state, Pause.MANUAL, look.in_route_reason, now), ()
        case _:
            assert_never(look.in_route)


def _blind(state: CanaryState, look: Looked, plan: Plan, now: datetime) -> Result:
    """Freeze the weight; after ``blind_max`` the stable arm, known good, gets all traffic."""
    blind = replace(state, blind=state.blind + 1, ready=False)
    last = state.seen_at or state.step_since or now
    over = plan.on_blind is OnBlind.ROLLBACK and now - last >= plan.blind_max
    if over and look.permission.lowering is None:
        return rolling_back(
            blind, f"not measured since {clock_time(last, now=now)}: {look.trouble}", now
        )
    if blind.blind <= plan.blind_looks or by_a_person(blind):
        return blind, ()
    reason = f"{blind.blind} looks in a row measured nothing: {look.trouble}"
    if plan.on_blind is OnBlind.ROLLBACK:
        ends = clock_time(last + plan.blind_max, now=now)
        reason += f"; Driftline rolls it back at {ends} unless you extend it"
    return paused(blind, Pause.BLIND, reason, now), ()


def _failed(state: CanaryState, look: Looked, now: datetime) -> Result:
    found, permission = look.found, look.permission
    assert found is not None, "a failure was measured"  # noqa: S101 (invariant)
    if permission.lowering is None:
        affected = _affected(state, found)
        worse = replace(state, worse=True)
        return rolling_back(worse, f"{found.reason}; {affected}", now)
    pause = Pause.BUDGET if permission.spent else Pause.PERMISSION
    if state.pause is not None and by_a_person(state):
        pause = state.pause
    reason = f"{found.reason}; not rolled back: {permission.lowering}"
    stopped = paused(state, pause, reason, now)
    return replace(stopped, proposal=TrialMove.ROLLBACK), (Renew(),)


def _affected(state: CanaryState, found: Found) -> str:
    if not state.weight:
        return "no user saw its answers"
    share = percent(state.weight)
    return f"{share} of the requests got its answers, {found.trial_requests:,} in this step"


def _paused_looked(state: CanaryState, look: Looked, now: datetime) -> Result:
    """End the pause if its cause is gone; the weight stays as it is in any case."""
    match state.pause:
        case Pause.BLIND | Pause.STABLE | Pause.BUDGET:
            return _eased(state, now)
        case Pause.PERMISSION if _allowed_now(state, look):
            return _eased(state, now)
        case _:
            return replace(state, proposal=_still(state)), (Renew(),)


def _eased(state: CanaryState, now: datetime) -> Result:
    return replace(running_again(state, "goes on", now), eased_at=now), (Renew(),)


def _still(state: CanaryState) -> TrialMove | None:
    """Return the proposed move, without a rollback: this look did not fail."""
    return None if state.proposal is TrialMove.ROLLBACK else state.proposal


def _allowed_now(state: CanaryState, look: Looked) -> bool:
    """Whether the rollback is no longer needed, or the raise is now permitted."""
    return state.proposal is TrialMove.ROLLBACK or look.permission.raising is None


def _running(state: CanaryState, look: Looked, found: Found, plan: Plan, now: datetime) -> Result:
    current = plan.steps[state.step]
    begun = state.clock_since or now
    if now < begun + current.lasts:
        return _waits(state, begun + current.lasts, found.reason)
    if state.unconfirmed is not None:
        return replace(state, reason=f"not raised: {state.unconfirmed}"), (Renew(),)
    if state.ready:
        return _onward(state, look, found, plan, now)
    ends, undecided = begun + current.lasts * (1 + state.extended), _undecided(found, current)
    if now < ends:
        return _waits(state, ends, undecided)
    if state.extended < plan.extensions:
        extended = replace(state, extended=state.extended + 1)
        return _waits(extended, ends + current.lasts, undecided)
    reason = f"still undecided after {plan.extensions} extensions: {undecided}"
    return held(state, Pause.INCONCLUSIVE, reason, now)


def _waits(state: CanaryState, until: datetime, reason: str) -> Result:
    again = f", extension {state.extended}" if state.extended else ""
    said = f"{reason}; measuring until {until:%Y-%m-%d %H:%M} UTC{again}"
    return replace(state, reason=said), (Renew(),)


def _onward(state: CanaryState, look: Looked, found: Found, plan: Plan, now: datetime) -> Result:
    move = TrialMove.PROMOTE if state.step == len(plan.steps) - 1 else TrialMove.ADVANCE
    if look.permission.raising is not None:
        reason = f"would {move.value}: {found.reason}; not by itself: {look.permission.raising}"
        stopped = paused(state, Pause.PERMISSION, reason, now)
        return replace(stopped, proposal=move), (Renew(),)
    return go(state, move, plan, found.reason, now)


def _read_back(state: CanaryState, event: ReadBack, now: datetime) -> Result:
    if event.problem is not None:
        return replace(state, unverified=event.problem), ()
    read = replace(state, unread_since=None, unverified=None)
    match state.phase:
        case Phase.ROLLING_BACK:
            return in_phase(read, Phase.ROLLED_BACK, state.reason, now), ()
        case Phase.PROMOTING:
            return in_phase(read, Phase.SUCCEEDED, state.reason, now), ()
        case _:
            return read, ()


def _ready(state: CanaryState, found: Found, plan: Plan) -> bool:
    least = plan.steps[state.step].requests
    enough = min(found.trial_requests, found.control_requests) >= least
    return enough and found.outcome is LookOutcome.PASSED


def _undecided(found: Found, current: CanaryStep) -> str:
    fewest = min(found.trial_requests, found.control_requests)
    if fewest < current.requests:
        return f"{fewest} of the {current.requests} requests needed; {found.reason}"
    return found.reason

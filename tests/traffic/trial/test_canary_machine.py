from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from monitor.traffic.trial.machine import step
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import (
    CanaryState,
    Effect,
    Event,
    Found,
    InRoute,
    Looked,
    LookOutcome,
    Mirror,
    NotPossible,
    OnBlind,
    Ordered,
    OrderKind,
    Pause,
    Permission,
    Phase,
    Plan,
    PrechecksLooked,
    Promote,
    ReadBack,
    Renew,
    SetWeight,
    TakeBack,
    TrialMove,
    state_from_json,
    to_json,
)

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
PLAN = CanarySettings().plan()
FORBIDDEN = Permission(raising="the mode is observe", lowering="the mode is observe")


def found(outcome: LookOutcome, n: int = 1000) -> Found:
    return Found(outcome=outcome, trial_requests=n, control_requests=n, reason="numbers")


PASSED, FAILED, UNSURE = (
    Looked(found=found(outcome))
    for outcome in (LookOutcome.PASSED, LookOutcome.FAILED, LookOutcome.UNSURE)
)
BLIND = Looked(found=None, trouble="no records of either arm")


def run(*events: tuple[timedelta, Event], plan: Plan = PLAN) -> tuple[CanaryState, list[Effect]]:
    """Begin at 5 % at NOW and let events happen, each so long after that.

    While it runs, the router does what it says before the next event.
    """
    state, effects = step(
        CanaryState(), PrechecksLooked(passed=True, reason="fine"), plan=plan, now=NOW
    )
    done = list(effects)
    for after, event in events:
        if state.phase is Phase.RUNNING:
            state, _ = step(state, ReadBack(problem=None), plan=plan, now=NOW + after)
        state, effects = step(state, event, plan=plan, now=NOW + after)
        done += effects
    return state, [effect for effect in done if not isinstance(effect, Renew)]


def each_look(
    look: Looked, *, until: timedelta, every: timedelta = 5 * MINUTE
) -> list[tuple[timedelta, Event]]:
    return [(every * i, look) for i in range(1, until // every + 1)]


def test_a_good_canary_goes_through_its_steps_to_everything() -> None:
    state, done = run(*each_look(PASSED, until=37 * HOUR))
    assert state.phase is Phase.PROMOTING
    assert done == [SetWeight(weight=w) for w in (0.05, 0.25, 0.5)] + [Promote()]
    state, _ = step(state, ReadBack(problem=None), plan=PLAN, now=NOW + 38 * HOUR)
    assert state.phase is Phase.SUCCEEDED


def test_a_step_lasts_at_least_its_time_and_asks_for_its_requests_of_both_arms() -> None:
    early, _ = run((24 * HOUR - MINUTE, PASSED))
    assert early.step == 0
    few = Looked(found=replace(found(LookOutcome.PASSED), trial_requests=199))
    one_arm = Looked(found=replace(found(LookOutcome.PASSED), control_requests=199))
    for look in (few, one_arm):
        state, _ = run((24 * HOUR, look))
        assert (state.step, state.extended) == (0, 1)
        assert "199 of the 200 requests needed" in state.reason


def test_what_is_undecided_is_extended_three_times_and_then_held_for_a_person() -> None:
    state, done = run(*each_look(UNSURE, until=95 * HOUR, every=HOUR))
    assert (state.phase, state.extended) == (Phase.RUNNING, 3)
    state, done = run(*each_look(UNSURE, until=97 * HOUR, every=HOUR))
    assert (state.phase, state.pause) == (Phase.PAUSED, Pause.INCONCLUSIVE)
    assert done == [SetWeight(weight=0.05)]
    later, _ = step(state, PASSED, plan=PLAN, now=NOW + 99 * HOUR)
    assert later.pause is Pause.INCONCLUSIVE  # never by default, not even when it is better now
    resume = Ordered(order=OrderKind.RESUME, by="ann")
    resumed, effects = step(state, resume, plan=PLAN, now=NOW + 100 * HOUR)
    assert effects == (SetWeight(weight=0.05),)
    resumed, _ = step(resumed, ReadBack(problem=None), plan=PLAN, now=NOW + 100 * HOUR)
    one_more, _ = step(resumed, UNSURE, plan=PLAN, now=NOW + 123 * HOUR)
    assert one_more.phase is Phase.RUNNING
    held, _ = step(resumed, UNSURE, plan=PLAN, now=NOW + 125 * HOUR)
    assert held.pause is Pause.INCONCLUSIVE


def test_a_failed_guardrail_rolls_back_at_once_and_the_version_is_latched() -> None:
    state, done = run((5 * MINUTE, FAILED))
    assert (state.phase, state.weight, state.latched) == (Phase.ROLLING_BACK, 0.0, True)
    assert done[-1] == SetWeight(weight=0.0)
    lying, _ = step(state, ReadBack(problem="still 5 %"), plan=PLAN, now=NOW + HOUR)
    assert lying.phase is Phase.ROLLING_BACK
    state, _ = step(state, ReadBack(problem=None), plan=PLAN, now=NOW + HOUR)
    said = "numbers; 5 % of the requests got its answers, 1,000 in this step"
    assert (state.phase, state.worse, state.reason) == (Phase.ROLLED_BACK, True, said)


@pytest.mark.parametrize("pause", [Pause.MANUAL, Pause.INCONCLUSIVE, Pause.STABLE, Pause.BLIND])
def test_a_pause_of_any_kind_does_not_keep_a_bad_canary_in(pause: Pause) -> None:
    state, _ = run((5 * MINUTE, PASSED))
    stopped = replace(state, phase=Phase.PAUSED, pause=pause)
    state, effects = step(stopped, FAILED, plan=PLAN, now=NOW + HOUR)
    assert state.phase is Phase.ROLLING_BACK
    assert effects == (SetWeight(weight=0.0),)


def test_where_it_may_not_act_it_says_what_it_would_do() -> None:
    look = replace(FAILED, permission=FORBIDDEN)
    state, done = run((5 * MINUTE, look))
    assert (state.pause, state.proposal) == (Pause.PERMISSION, TrialMove.ROLLBACK)
    assert done == [SetWeight(weight=0.05)]
    assert state.reason == "numbers; not rolled back: the mode is observe"
    spent = replace(FAILED, permission=Permission(lowering="3 in an hour", spent=True))
    assert run((5 * MINUTE, spent))[0].pause is Pause.BUDGET
    good = replace(PASSED, permission=FORBIDDEN)
    state, _ = run((24 * HOUR, good))
    assert (state.pause, state.proposal) == (Pause.PERMISSION, TrialMove.ADVANCE)
    allowed = Ordered(order=OrderKind.RESUME, by="ann")
    state, effects = step(state, allowed, plan=PLAN, now=NOW + 25 * HOUR)
    assert (state.phase, state.step, effects) == (Phase.RUNNING, 1, (SetWeight(weight=0.25),))


def test_a_blind_canary_is_frozen_told_and_goes_back_after_an_hour() -> None:
    looks = each_look(BLIND, until=20 * MINUTE)
    state, _ = run(*looks)
    assert state.phase is Phase.RUNNING
    state, _ = run(*looks, (25 * MINUTE, BLIND))
    assert (state.phase, state.pause, state.weight) == (Phase.PAUSED, Pause.BLIND, 0.05)
    seeing, _ = step(state, PASSED, plan=PLAN, now=NOW + 30 * MINUTE)
    assert (seeing.phase, seeing.weight) == (Phase.RUNNING, 0.05)
    state, done = run(*each_look(BLIND, until=HOUR))
    assert (state.phase, done[-1]) == (Phase.ROLLING_BACK, SetWeight(weight=0.0))
    stopped = replace(BLIND, permission=Permission(raising="held", lowering="held"))
    frozen, _ = run(*each_look(stopped, until=5 * HOUR))  # whoever routes ends it by its term
    assert (frozen.pause, frozen.weight) == (Pause.BLIND, 0.05)
    held, _ = run(*each_look(BLIND, until=5 * HOUR), plan=replace(PLAN, on_blind=OnBlind.HOLD))
    assert (held.pause, held.weight) == (Pause.BLIND, 0.05)


def test_time_does_not_run_while_it_stands_still() -> None:
    firing = replace(PASSED, stable_firing="critical")
    state, _ = run((HOUR, firing), (11 * HOUR, PASSED), (33 * HOUR, PASSED))
    assert (state.phase, state.step) == (Phase.RUNNING, 0)
    state, _ = step(state, PASSED, plan=PLAN, now=NOW + 34 * HOUR)
    assert state.step == 1


def test_a_promotion_that_cannot_be_seen_is_held_and_not_routed_back() -> None:
    state, _ = run(*each_look(PASSED, until=37 * HOUR))
    for hours in range(38, 60):
        state, effects = step(state, BLIND, plan=PLAN, now=NOW + hours * HOUR)
        assert (state.phase, effects) == (Phase.PROMOTING, ())


def test_what_others_did_to_the_route_is_theirs() -> None:
    for seen, phase in (
        (InRoute.GONE, Phase.SUPERSEDED),
        (InRoute.OVER, Phase.SUPERSEDED),
        (InRoute.IN_CHARGE, Phase.SUCCEEDED),
        (InRoute.EXPIRED, Phase.ROLLING_BACK),
    ):
        state, _ = run((HOUR, replace(PASSED, in_route=seen, in_route_reason="by bob")))
        assert (state.phase, state.latched) == (phase, seen is InRoute.EXPIRED)
    _, done = run((HOUR, replace(FAILED, in_route=InRoute.OVER)))
    assert done == [SetWeight(weight=0.05), SetWeight(weight=0.0)]
    changed = replace(FAILED, in_route=InRoute.CHANGED, in_route_reason="by bob")
    state, done = run((HOUR, changed))
    assert (state.pause, done) == (Pause.MANUAL, [SetWeight(weight=0.05)])


def test_only_with_force_is_promoted_what_is_not_proven() -> None:
    state, _ = run((HOUR, UNSURE))
    order = Ordered(order=OrderKind.PROMOTE, by="ann")
    with pytest.raises(NotPossible, match="promote it with force"):
        step(state, order, plan=PLAN, now=NOW + HOUR)
    forced, effects = step(state, replace(order, force=True), plan=PLAN, now=NOW + HOUR)
    assert (forced.phase, effects) == (Phase.PROMOTING, (Promote(),))
    assert forced.reason == "promoted, forced by ann"


def test_pre_checks_that_fail_give_no_traffic_and_unknown_ones_wait_for_a_person() -> None:
    waiting = PrechecksLooked(passed=None, reason="perplexity was not measured")
    state, effects = step(CanaryState(), waiting, plan=PLAN, now=NOW)
    assert (state.phase, effects) == (Phase.PRECHECKS, ())
    bad = PrechecksLooked(passed=False, reason="other weights")
    failed, effects = step(state, bad, plan=PLAN, now=NOW)
    assert (failed.phase, failed.latched, effects) == (Phase.ROLLED_BACK, True, ())
    held, effects = step(state, replace(waiting, given_up=True), plan=PLAN, now=NOW)
    assert (held.pause, effects) == (Pause.PRECHECKS, ())
    again, _ = step(held, Ordered(order=OrderKind.RESUME, by="ann"), plan=PLAN, now=NOW)
    assert again.phase is Phase.PRECHECKS


def test_a_shadow_answers_nobody_before_it_is_promoted() -> None:
    plan = CanarySettings().plan(shadow=True)
    _, done = run(*each_look(PASSED, until=25 * HOUR), plan=plan)
    assert done == [Mirror(), Promote()]


# --- whatever happens ---------------------------------------------------------------------

outcomes = st.sampled_from(LookOutcome)
permissions = st.builds(
    Permission,
    raising=st.sampled_from([None, "the mode is observe"]),
    lowering=st.sampled_from([None, None, "the kill switch"]),
)
looks = st.builds(
    Looked,
    found=st.none()
    | st.builds(
        Found,
        outcome=st.sampled_from(
            [LookOutcome.PASSED, LookOutcome.PASSED, LookOutcome.PASSED, *LookOutcome]
        ),
        trial_requests=st.sampled_from([0, 199, 200, 5000]),
        control_requests=st.sampled_from([199, 200, 5000]),
        reason=st.just("numbers"),
    ),
    in_route=st.sampled_from([InRoute.OURS] * 20 + list(InRoute)),
    stable_firing=st.sampled_from([None, None, None, "critical"]),
    permission=permissions,
)


class Canary(RuleBasedStateMachine):
    """Any order of looks, answers of routers and wishes of people."""

    def __init__(self) -> None:
        super().__init__()
        self.state, self.now, self.weight = CanaryState(), NOW, 0.0
        self.in_charge = self.ever_measured = False

    def apply(self, event: Event, after: timedelta = timedelta()) -> CanaryState:
        before, self.now = self.state, self.now + after
        try:
            self.state, effects = step(before, event, plan=PLAN, now=self.now)
        except NotPossible:
            return before
        for effect in effects:
            match effect:
                case SetWeight(weight=weight):
                    self.raised(before, event, weight)
                    self.weight = weight
                case Promote():
                    self.raised(before, event, 1.0)
                    self.weight, self.in_charge = 1.0, True
                case TakeBack():
                    self.weight, self.in_charge = 0.0, False
                case Mirror() | Renew():
                    pass
        assert state_from_json(to_json(self.state)) == self.state
        return before

    def raised(self, before: CanaryState, event: Event, weight: float) -> None:
        """A raise is a person's, the pre-checks', or of a look that proved all of it."""
        if weight <= self.weight or isinstance(event, Ordered):
            return
        if isinstance(event, PrechecksLooked):
            assert weight == PLAN.steps[0].weight
            return
        assert isinstance(event, Looked)
        assert event.found is not None
        assert event.found.outcome is LookOutcome.PASSED
        assert min(event.found.trial_requests, event.found.control_requests) >= 200
        assert before.phase is Phase.RUNNING
        assert before.unconfirmed is None
        assert before.clock_since is not None
        assert self.now - before.clock_since >= PLAN.steps[before.step].lasts
        assert event.permission.raising is None
        assert event.stable_firing is None

    @rule(passed=st.sampled_from([True, True, None, False]), given_up=st.booleans())
    def checked(self, *, passed: bool | None, given_up: bool) -> None:
        self.apply(PrechecksLooked(passed=passed, reason="checked", given_up=given_up))

    @rule(look=looks, hours=st.sampled_from([0, 1, 6, 24, 100]))
    def looked(self, look: Looked, hours: int) -> None:
        before = self.apply(look, 5 * MINUTE + hours * HOUR)
        self.ever_measured |= look.found is not None
        if before.latched:
            assert self.state == before  # looks never bring a rolled-back version back

    @rule(problem=st.sampled_from([None, None, "still 25 %"]))
    def read_back(self, problem: str | None) -> None:
        before = self.apply(ReadBack(problem=problem))
        if self.state.phase is Phase.SUCCEEDED and before.phase is not Phase.SUCCEEDED:
            assert problem is None
            assert self.in_charge

    @rule(order=st.sampled_from(OrderKind), force=st.booleans())
    def ordered(self, order: OrderKind, *, force: bool) -> None:
        before = self.apply(Ordered(order=order, by="ann", force=force), MINUTE)
        if before.latched and not self.state.latched:
            assert order is OrderKind.RESUME

    @invariant()
    def in_the_route_exactly_while_it_is_placed(self) -> None:
        if self.state.placed:
            assert self.weight == self.state.weight > 0
            assert self.state.phase in {Phase.RUNNING, Phase.PAUSED}

    @invariant()
    def nothing_rolled_back_has_traffic(self) -> None:
        if self.state.phase in {Phase.ROLLING_BACK, Phase.ROLLED_BACK, Phase.DRAFT}:
            assert self.weight == 0

    @invariant()
    def nothing_unmeasured_is_a_success_by_itself(self) -> None:
        if self.in_charge and not self.ever_measured:
            assert "forced" in self.state.reason

    @precondition(lambda self: self.state.ended)
    @rule()
    def begin_anew(self) -> None:
        self.state, self.weight = CanaryState(), 0.0
        self.in_charge = self.ever_measured = False


TestCanary = Canary.TestCase
TestCanary.settings = settings(max_examples=60, stateful_step_count=40)

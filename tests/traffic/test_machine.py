"""Laws of the breaker's machine: whatever is seen, in whatever order."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.types import Blame, VerdictKind
from monitor.domain import Arm, ArmKind, Route, Verdict, VerdictSeverity
from monitor.store.traffic.actions import Away
from monitor.traffic.arms import effective, trial_arms
from monitor.traffic.fallback.machine import (
    ELSEWHERE,
    BreakerState,
    Progress,
    hold,
    next_step,
    recovered,
    state_of,
    streak,
)
from monitor.traffic.settings import RoutingSettings
from tests.fleet import NOW

SETTINGS = RoutingSettings()
V6 = Arm(arm=ArmKind.FALLBACK, version="v6", model="support@v6", weight=1.0)
WHOLE = Route(
    adapter="support",
    generation=1,
    arms=(Arm(arm=ArmKind.STABLE, version="v7", model="support@v7", weight=1.0),),
    reason="first",
    since=NOW,
)
AWAY = replace(WHOLE, arms=(replace(WHOLE.arms[0], weight=0.0), V6))
TRIAL = replace(
    AWAY,
    arms=trial_arms(AWAY, SETTINGS.trial_share),
    valid_until=NOW + SETTINGS.trial_limit,
    on_expiry=ArmKind.FALLBACK,
)

CHANGES = {  # a trial of the whole traffic is a return, and skips HALF_OPEN
    BreakerState.HEALTHY: {BreakerState.DEGRADED},
    BreakerState.DEGRADED: {BreakerState.HEALTHY, BreakerState.FALLBACK},
    BreakerState.FALLBACK: {BreakerState.HALF_OPEN},
    BreakerState.HALF_OPEN: {BreakerState.HEALTHY, BreakerState.FALLBACK},
}
routes = st.sampled_from([WHOLE, AWAY, TRIAL])
ages = st.timedeltas(min_value=timedelta(), max_value=timedelta(days=3))
verdicts = st.builds(
    lambda kind, blame, age, detectors: Verdict(
        kind=kind,
        severity=VerdictSeverity.NONE,
        blame=blame,
        reason="so it is",
        detectors=detectors,
        since=NOW - age,
    ),
    st.sampled_from(VerdictKind),
    st.sampled_from(Blame),
    ages,
    st.sampled_from([(), ("logit_ks",)]),
)
progresses = st.builds(
    lambda gaps, records: Progress(
        fallbacks=tuple(
            Away(at=NOW - sum((gap for gap, _ in gaps[: n + 1]), timedelta()), on_trial=on_trial)
            for n, (_, on_trial) in enumerate(gaps)
        ),
        records=records,
    ),
    st.lists(
        st.tuples(st.timedeltas(timedelta(minutes=1), timedelta(days=9)), st.booleans()),
        max_size=40,
    ),
    st.integers(0, 200),
)


@given(routes, verdicts, progresses, ages)
def test_every_step_is_one_of_those_that_are_written_down(
    route: Route, verdict: Verdict, progress: Progress, later: timedelta
) -> None:
    now = NOW + later
    before = state_of(effective(route, now), verdict)
    step = next_step(effective(route, now), verdict, progress, SETTINGS, now=now)
    assert step.state is before or step.state in CHANGES[before]
    assert step.reason


@given(routes, verdicts, progresses, ages)
def test_traffic_comes_back_only_to_a_version_that_nothing_speaks_against(
    route: Route, verdict: Verdict, progress: Progress, later: timedelta
) -> None:
    now = NOW + later
    in_force = effective(route, now)
    before = state_of(in_force, verdict)
    step = next_step(in_force, verdict, progress, SETTINGS, now=now)
    if (before, step.state) == (BreakerState.FALLBACK, BreakerState.HALF_OPEN):
        assert recovered(verdict)
        assert now - verdict.since >= hold(progress.fallbacks, SETTINGS) >= SETTINGS.return_hold
    if (before, step.state) == (BreakerState.HALF_OPEN, BreakerState.HEALTHY):
        assert recovered(verdict)
        assert now - in_force.since >= SETTINGS.trial_hold
        assert progress.records >= SETTINGS.trial_records


@given(verdicts, progresses, ages)
def test_a_trial_ends_for_what_is_the_versions_fault_and_for_nothing_else(
    verdict: Verdict, progress: Progress, later: timedelta
) -> None:
    step = next_step(TRIAL, verdict, progress, SETTINGS, now=NOW + later)
    fault = verdict.kind in {VerdictKind.DRIFTING, VerdictKind.CRITICAL}
    assert (step.state is BreakerState.FALLBACK) == (fault and verdict.blame not in ELSEWHERE)


@given(progresses)
def test_the_hold_only_grows_with_the_streak_and_never_beyond_its_cap(progress: Progress) -> None:
    held = hold(progress.fallbacks, SETTINGS)
    row = streak(progress.fallbacks, gap=SETTINGS.streak_gap)
    assert SETTINGS.return_hold <= held <= SETTINGS.return_hold_max
    assert held >= hold(progress.fallbacks[:1], SETTINGS)
    assert (held == SETTINGS.return_hold) == (row <= 1)


@pytest.mark.parametrize(
    ("fallbacks", "hours"), [(1, 0.5), (2, 1), (3, 2), (6, 16), (7, 24), (10_000, 24)]
)
def test_each_fallback_in_a_row_doubles_the_hold(fallbacks: int, hours: float) -> None:
    rows = [Away(at=NOW - number * timedelta(hours=1)) for number in range(fallbacks)]
    assert hold(rows, SETTINGS) == timedelta(hours=hours)


def test_a_failed_trial_doubles_the_hold_however_late_it_came() -> None:
    late = NOW - timedelta(days=30)
    assert streak([Away(at=NOW), Away(at=late)], gap=SETTINGS.streak_gap) == 1
    assert streak([Away(at=NOW, on_trial=True), Away(at=late)], gap=SETTINGS.streak_gap) == 2


def test_with_driftline_down_a_trial_is_over_when_its_route_expires() -> None:
    good = Verdict(kind=VerdictKind.STABLE, reason="", since=NOW)
    after = effective(TRIAL, NOW + SETTINGS.trial_limit)
    assert [(arm.version, arm.weight) for arm in after.arms] == [("v7", 0.0), ("v6", 1.0)]
    assert state_of(after, good) is BreakerState.FALLBACK


def test_a_trial_of_everything_is_a_return() -> None:
    good = Verdict(kind=VerdictKind.STABLE, reason="", since=NOW - timedelta(days=1))
    step = next_step(AWAY, good, Progress(), replace(SETTINGS, trial_share=1.0), now=NOW)
    assert step.state is BreakerState.HEALTHY

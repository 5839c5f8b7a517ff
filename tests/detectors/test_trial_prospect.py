"""Which steps can be decided by themselves, beside what the simulation of canaries found."""

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.trial_plan import Wanted, choices
from detectors.trial_prospect import Gauge, Stage, StepOutlook, reaches, shortest

SUCCESS = Gauge(name="feedback.solved", alpha=0.04, margin=0.05, pace=1.0 / (0.85 * 0.15))
"""85 % succeed, alone beside the hard guardrails; at one request a day."""
STEPS = (
    Stage(weight=0.05, days=1.0, longest=4.0, requests=200),
    Stage(weight=0.25, days=0.25, longest=1.0, requests=200),
    Stage(weight=0.5, days=0.25, longest=1.0, requests=200),
)


def at(per_day: float, *stages: Stage) -> tuple[StepOutlook, ...]:
    gauge = replace(SUCCESS, pace=SUCCESS.pace * per_day)
    return reaches(
        stages or STEPS,
        requests_per_day=per_day,
        copies_per_day=per_day,
        beside=[gauge],
        pairs=[gauge],
    )


def test_steps_by_default_come_to_what_the_simulation_of_canaries_found() -> None:
    """Of 80 at 500 requests a day 0 were promoted, of 60 at 2,000 a day 29 (docs/benchmarks.md).

    The chance is that of one look, at the end: at 2,000 a day .37, where the 29 of 60 that were
    promoted at any look have a 95 % interval of .35 to .62.
    """
    few, some, many = at(500)[0], at(2_000)[0], at(20_000)
    assert few.requests_after == pytest.approx(200 / 25)
    assert (few.decided, few.chance) == (False, 0.0)
    assert (some.decided, some.requests_after) == (False, 2.0)
    assert some.chance == pytest.approx(0.37, abs=0.01)
    assert all(step.decided for step in many)
    assert [step.after for step in many] == [1.0, 0.25, 0.25]
    assert some.slowest == "feedback.solved"


def test_what_one_step_brings_is_added_up_in_the_next() -> None:
    alone = at(20_000, STEPS[1])[0]
    after_the_first = at(20_000)[1]
    assert alone.inside_after > 0.15
    assert after_the_first.inside_after == 0.0


def test_a_step_of_copies_is_a_process_of_its_own() -> None:
    shadow = Stage(weight=0.0, days=1.0, longest=4.0, requests=200)
    alone, behind = at(2_000, STEPS[0])[0], at(2_000, shadow, STEPS[0])[1]
    assert behind == alone


def test_the_arm_with_fewer_requests_is_waited_for_on_either_side_of_half() -> None:
    little, most = (at(1_000, replace(STEPS[0], weight=weight))[0] for weight in (0.1, 0.9))
    assert [little.requests_after, most.requests_after] == pytest.approx([2.0, 2.0])


def test_where_nothing_may_be_lost_nothing_is_foretold_to_be_inside() -> None:
    strict = replace(SUCCESS, margin=0.0, pace=1e6)
    assert shortest([strict], weight=0.5, requests_per_day=1e6, fewest=200) == math.inf


def test_what_is_there_already_counts() -> None:
    gauge = replace(SUCCESS, pace=SUCCESS.pace * 5_000, planned=2_000.0)
    needed = gauge.needs()
    assert gauge.chance(needed) == pytest.approx(0.9)
    [done] = reaches(
        STEPS[:1],
        requests_per_day=5_000,
        copies_per_day=0.0,
        beside=[replace(gauge, information=needed)],
        pairs=[],
        ran=0.75,
        seen=190,
    )
    assert done.inside_after == 0.0
    assert done.requests_after == pytest.approx(10 / 250)
    assert (done.after, done.left) == (0.25, 3.25)


def test_without_traffic_nothing_is_reached_and_without_gauges_requests_decide() -> None:
    [never] = reaches(STEPS[:1], requests_per_day=0.0, copies_per_day=0.0, beside=[], pairs=[])
    assert math.isinf(never.after)
    assert (never.chance, never.slowest) == (0.0, None)
    [soon] = reaches(STEPS[:1], requests_per_day=8_000, copies_per_day=0.0, beside=[], pairs=[])
    assert (soon.requests_after, soon.after, soon.decided) == (0.5, 1.0, True)


@pytest.mark.parametrize("weight", [0.05, 0.2, 0.5])
def test_the_shortest_step_is_what_a_plan_says_of_promotion(weight: float) -> None:
    wanted = Wanted(
        rate=0.85, drop=0.2, margin=0.05, critical=True, guardrails=1, requests_per_day=1_000
    )
    [planned] = choices(wanted, [weight])
    gauge = replace(SUCCESS, alpha=0.05, pace=SUCCESS.pace * 1_000)
    days = shortest([gauge], weight=weight, requests_per_day=1_000, fewest=200)
    assert days == pytest.approx(planned.days_to_promote, rel=0.01)


@given(
    pace=st.floats(1.0, 1e6),
    margin=st.floats(0.01, 0.5),
    alpha=st.floats(1e-4, 0.05),
    planned=st.floats(10.0, 1e6),
)
def test_more_information_never_makes_it_less_probable(
    pace: float, margin: float, alpha: float, planned: float
) -> None:
    gauge = Gauge(name="one", alpha=alpha, margin=margin, pace=pace, planned=planned)
    needed = gauge.needs()
    chances = [gauge.chance(needed * by) for by in (0.1, 0.5, 1.0, 2.0, 10.0)]
    assert chances == sorted(chances)
    assert chances[2] == pytest.approx(0.9, abs=1e-6)

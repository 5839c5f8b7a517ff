"""How often a good canary is rolled back, and a bad one is not, through machine and measurement.

Bounds are worked out beside each: k of n runs, by the binomial distribution.
"""

from collections import Counter
from dataclasses import replace
from datetime import timedelta

import numpy as np
import pytest

from benchmarks.statistics.canary_runs import HOUR, MINUTE, NOW, Ran, Truth, run_one
from detectors.feedback import Directions
from monitor.traffic.trial.gauges import ALIKE, TrialPace, Worth
from monitor.traffic.trial.guards import GuardKind, guards_of
from monitor.traffic.trial.prospect import WayKind, ways
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import Phase

DAY = timedelta(days=1)
JUDGED = CanarySettings(signals=(), critical=("feedback.solved",))
"""Success alone, of which any proven fall rolls back: where a false rollback is likeliest."""


def many(
    truth: Truth, count: int, *, seed: int = 1, every: int = 5, shadow: bool = False
) -> list[Ran]:
    rng = np.random.default_rng(seed)
    look = every * MINUTE
    return [run_one(truth, rng, settings=JUDGED, every=look, shadow=shadow) for _ in range(count)]


def rolled_back(ran: list[Ran]) -> list[Ran]:
    return [one for one in ran if one.phase is Phase.ROLLED_BACK]


def test_a_version_that_is_no_worse_stays() -> None:
    """P(more than 2 of 6 | 5 %) = .2 %."""
    assert len(rolled_back(many(Truth(requests_per_day=1000), 6, every=60))) <= 2


def test_a_version_20_points_worse_goes_back_within_a_day_at_100_requests_a_day() -> None:
    ran = rolled_back(many(Truth(requests_per_day=2000, worse=0.2), 12, every=30))
    assert len(ran) == 12
    assert float(np.median([one.after / HOUR for one in ran])) < 16


def within(ran: list[Ran], prompts: int) -> int:
    return sum(one.requests <= prompts for one in rolled_back(ran))


def test_a_shadow_sees_a_fall_of_5_points_in_300_prompts_and_promotes_what_is_no_worse() -> None:
    """2.6 % of the prompts are judged differently by chance.

    84 % are seen within 300: P(fewer than 13 of 20) = .8 %. P(more than 4 of 12 | 5 %) = .02 %.
    """
    truth = Truth(requests_per_day=600, worse=0.05, agree=0.9)
    ran = many(truth, 20, every=30, shadow=True)
    assert within(ran, 300) >= 13, [one.requests for one in ran]
    fine = many(replace(truth, worse=0.0), 12, every=30, shadow=True)
    assert len(rolled_back(fine)) <= 4
    assert sum(one.phase is Phase.SUCCEEDED for one in fine) >= 8


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("solved", [0.85, 0.95])
def test_shadows_go_back_as_published(solved: float) -> None:
    """With a look every 5 minutes. P(more than 10 of 100 | 5 %) = 1.1 %.

    Decision 0024 says 84 and 93 % within 300; P(fewer than 75 of 100 | 84 %) = .7 %.
    """
    truth = Truth(requests_per_day=600, solved=solved, agree=0.9)
    assert len(rolled_back(many(truth, 100, shadow=True))) <= 10
    assert within(many(replace(truth, worse=0.05), 100, seed=2, shadow=True), 300) >= 75


def test_what_is_foretold_of_a_version_that_is_no_worse_comes_true() -> None:
    """At 500 requests a day; P(fewer than 9 of 12 | 9 of 10) = .4 %."""
    settings = CanarySettings(signals=("mean_nll",))
    worth = {
        "mean_nll": Worth(kind=GuardKind.RANK, request=3.0, copy=1.0),
        "feedback.solved": Worth(
            kind=GuardKind.RATE, request=1 / 0.1275, copy=1 / (2 * 0.1275 * (1 - ALIKE))
        ),
    }
    pace = TrialPace(requests_per_day=500, copies_per_day=500, worth=worth)
    guards = guards_of(settings.signals, Directions(higher_is_better=("solved",)), ())
    for way in ways(pace, guards, settings, now=NOW):
        steps, rng, every = way.plan.steps, np.random.default_rng(3), 6 * HOUR
        shadow = way.kind is WayKind.SHADOW
        if not shadow:
            settings = replace(
                settings,
                weights=tuple(step.weight for step in steps),
                lasts=tuple(step.lasts for step in steps),
            )
        ran = [
            run_one(
                Truth(requests_per_day=500), rng, settings=settings, every=every,
                longest=60 * DAY, shadow=shadow,
            )
            for _ in range(12)
        ]  # fmt: skip
        told = way.prospect.verdict_at
        if told is None:  # the steps of the config
            assert [one.phase for one in ran] == [Phase.PAUSED] * 12
            continue
        timely = [one for one in ran if one.after <= told - NOW + every]
        assert sum(one.phase is Phase.SUCCEEDED for one in timely) >= 9, way.kind


@pytest.mark.slow
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("per_day", [500, 2_000])
def test_a_version_that_is_no_worse_is_hardly_ever_rolled_back(per_day: float) -> None:
    """With a look every 5 minutes. P(more than 10 of 100 | 5 %) = 1.1 %."""
    ran = many(Truth(requests_per_day=per_day), 100)
    assert len(rolled_back(ran)) <= 10, Counter(one.phase for one in ran)
    assert all(one.phase is not Phase.SUCCEEDED or one.requests >= 200 for one in ran)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_power_is_as_published() -> None:
    """9 of 10 within a day, as decision 0018 says; P(fewer than 170 of 200 | 90 %) = 1 %."""
    for truth in (
        Truth(requests_per_day=2_000, worse=0.2),
        Truth(requests_per_day=20_000, worse=0.05),
    ):
        ran = rolled_back(many(truth, 200, every=15))
        assert sum(one.after <= 24 * HOUR for one in ran) >= 170

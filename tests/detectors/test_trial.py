"""Canaries: error rates by simulation, exact evidence of failures, plans in closed form."""

from dataclasses import replace
from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import special

from detectors.trial import (
    Difference,
    Failures,
    bounds,
    difference,
    failure_evidence,
    half_width,
)
from detectors.trial_plan import Wanted, choices, choose, detectable_drop

RATE, ALPHA, LOOKS = 0.85, 0.05, 288


def rolled_back(*, drop: float, requests: int, weight: float, runs: int) -> float:
    """Share of canaries of one step whose lower end is above 0 at any of 288 looks."""
    rng = np.random.default_rng(20_261_125)
    share = np.array([1.0, (1 - weight) / weight])
    sent = rng.poisson(requests / LOOKS * share[:, None, None], (2, runs, LOOKS))
    rates = np.array([RATE - drop, RATE])[:, None, None]
    n = np.maximum(np.cumsum(sent, axis=2), 1)
    good = np.cumsum(rng.binomial(sent, rates), axis=2)
    smoothed = (good + 1) / (n + 2)
    variance = np.maximum(
        good / n * (1 - good / n) / np.maximum(n - 1, 1), smoothed * (1 - smoothed) / (n + 2)
    ).sum(axis=0)
    planned = 1 / (RATE * (1 - RATE) * (1 / requests + 1 / (requests * share[1])))
    half = np.vectorize(lambda v: half_width(1 / v, alpha=ALPHA, planned=planned))(variance)
    worse = good[1] / n[1] - good[0] / n[0]
    return float(((worse - half > 0) & (n.min(axis=0) >= 20)).any(axis=1).mean())


@pytest.mark.parametrize(("requests", "weight"), [(100, 0.05), (1_000, 0.5)])
def test_a_good_canary_is_hardly_ever_rolled_back(requests: int, weight: float) -> None:
    # promised 5 %; 200 runs within 5 % + 3 s.e. = 9.6 % would still pass: ask for the promise
    assert rolled_back(drop=0.0, requests=requests, weight=weight, runs=200) <= 0.05


@pytest.mark.parametrize(("drop", "requests"), [(0.2, 100), (0.05, 1_000)])
def test_a_bad_canary_is_rolled_back_within_its_day(drop: float, requests: int) -> None:
    # .95 and .92 of 2,000 runs; 200 runs lie above .85 with 99.9 %
    assert rolled_back(drop=drop, requests=requests, weight=0.05, runs=200) >= 0.85


@pytest.mark.slow
@pytest.mark.parametrize(
    ("requests", "weight"), list(product((100, 1_000, 5_000), (0.05, 0.25, 0.5)))
)
def test_false_rollbacks_over_all_sizes(requests: int, weight: float) -> None:
    assert rolled_back(drop=0.0, requests=requests, weight=weight, runs=2_000) <= 0.05


def test_what_the_simulation_counts_is_what_a_difference_is() -> None:
    rng = np.random.default_rng(3)
    trial, control = (rng.random(n) < rate for n, rate in ((120, 0.7), (900, 0.9)))
    found = difference(
        trial.astype(float), control.astype(float), higher_is_better=True, rates=True
    )
    assert found is not None
    assert found.value == pytest.approx(control.mean() - trial.mean())
    by_hand = sum(arm.mean() * (1 - arm.mean()) / (arm.size - 1) for arm in (trial, control))
    assert found.variance == pytest.approx(by_hand, rel=0.02)
    end = bounds(found, alpha=ALPHA, planned=found.information)
    assert end.lo < found.value < end.hi


def test_sessions_that_fail_together_count_once() -> None:
    rng = np.random.default_rng(5)
    of = np.repeat(np.arange(50), 20)
    together = np.repeat((rng.random(50) < 0.8).astype(float), 20)
    control = (rng.random(1_000) < 0.8).astype(float)
    clustered = difference(together, control, higher_is_better=True, trial_subjects=of, rates=True)
    alone = difference(together, control, higher_is_better=True, rates=True)
    assert clustered is not None
    assert alone is not None
    assert clustered.units == 50
    assert clustered.variance > 8 * alone.variance


def test_few_or_equal_answers_prove_nothing() -> None:
    ones = np.ones(1_000)
    assert difference(np.ones(19), ones, higher_is_better=True) is None
    assert difference(np.full(50, np.nan), ones, higher_is_better=True) is None
    found = difference(np.ones(50), ones, higher_is_better=True, rates=True)
    assert found is not None
    assert bounds(found, alpha=ALPHA, planned=500.0).hi > 0.05


def test_slower_is_worse_where_lower_is_better() -> None:
    rng = np.random.default_rng(7)
    found = difference(rng.normal(3, 1, 100), rng.normal(2, 1, 100), higher_is_better=False)
    assert found is not None
    assert found.value == pytest.approx(1.0, abs=0.4)


# --- hard failures ------------------------------------------------------------------------


def test_the_evidence_of_failures_has_mean_one_where_both_fail_alike() -> None:
    """Exactly: over the hypergeometric distribution of the trial's share."""
    trial, control, failures = 7, 15, 5
    ways = special.comb(trial, k := np.arange(failures + 1)) * special.comb(control, failures - k)
    evidence = [
        10
        ** failure_evidence(
            [
                Failures(
                    trial_requests=trial,
                    control_requests=control,
                    trial_failures=int(one),
                    control_failures=failures - int(one),
                )
            ]
        )
        for one in k
    ]
    assert np.dot(ways / ways.sum(), evidence) == pytest.approx(1.0, rel=1e-12)


@given(
    looks=st.lists(
        st.tuples(st.integers(0, 50), st.integers(0, 500), st.floats(0, 1), st.floats(0, 1)),
        max_size=5,
    )
)
def test_failures_of_one_arm_alone_say_nothing(
    looks: list[tuple[int, int, float, float]],
) -> None:
    alone = [
        Failures(
            trial_requests=n, control_requests=0, trial_failures=int(n * p), control_failures=0
        )
        for n, _, p, _ in looks
    ]
    assert failure_evidence(alone) == pytest.approx(0.0, abs=1e-9)
    both = [
        Failures(
            trial_requests=n,
            control_requests=m,
            trial_failures=int(n * p),
            control_failures=int(m * q),
        )
        for n, m, p, q in looks
    ]
    assert np.isfinite(failure_evidence(both))


def test_a_canary_that_fails_a_tenth_of_its_requests_is_told_within_200() -> None:
    one = Failures(trial_requests=10, control_requests=190, trial_failures=1, control_failures=1)
    looks = next(n for n in range(1, 100) if failure_evidence([one] * n) > np.log10(1 / ALPHA))
    assert looks * one.trial_requests <= 200


def test_more_failures_than_requests_are_refused() -> None:
    wrong = Failures(trial_requests=1, control_requests=5, trial_failures=2, control_failures=0)
    with pytest.raises(ValueError, match="more failures than requests"):
        failure_evidence([wrong])


# --- plans --------------------------------------------------------------------------------

WANTED = Wanted(
    rate=RATE, drop=0.2, margin=0.05, critical=True, guardrails=1, requests_per_day=2_000
)


def test_a_plan_is_what_the_simulation_shows() -> None:
    """100 requests at 5 % see 20 points in 95 % of days, so 9 of 10 need a few less."""
    [choice] = choices(WANTED, [0.05])
    assert 85 <= choice.requests_to_see <= 105
    assert choice.days_to_see == pytest.approx(choice.requests_to_see / 100)
    assert rolled_back(drop=0.2, requests=choice.requests_to_see, weight=0.05, runs=400) >= 0.85


def test_little_traffic_never_reaches_what_a_promotion_takes() -> None:
    [choice] = choices(replace(WANTED, requests_per_day=300), [0.05])
    assert choice.requests_to_promote >= 200
    assert choice.days_to_promote > 10
    assert choose([choice], within_days=3) is None


def test_the_smallest_share_in_time_is_chosen() -> None:
    found = choices(replace(WANTED, requests_per_day=50_000))
    chosen = choose(found, within_days=3)
    assert chosen is not None
    assert all(choice.days > 3 for choice in found if choice.weight < chosen.weight)


@given(days=st.floats(0.1, 30), weight=st.floats(0.01, 0.5), longer=st.floats(1.0, 10.0))
def test_longer_shows_less(days: float, weight: float, longer: float) -> None:
    one = detectable_drop(WANTED, weight=weight, days=days)
    assert detectable_drop(WANTED, weight=weight, days=days * longer) <= one


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"rate": 1.0}, "rate must be between 0 and 1"),
        ({"drop": 0.0}, "drop must be above 0"),
        ({"drop": 0.9}, "at most the rate"),
        ({"critical": False, "drop": 0.04}, "drop must be above 0.05"),
        ({"margin": float("nan")}, "margin must be"),
        ({"guardrails": 0}, "guardrails must be at least 1"),
        ({"requests_per_day": 0.0}, "requests_per_day must be above 0"),
    ],
)
def test_what_makes_no_sense_is_refused(change: dict[str, Any], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        replace(WANTED, **change)


def test_information_is_one_over_the_variance() -> None:
    assert Difference(value=0.1, variance=0.25, units=30).information == 4.0

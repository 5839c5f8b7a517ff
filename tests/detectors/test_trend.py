"""A week of runs: its mean, and the moment it would cross +5 %."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.trend import DAY, WEEK, trend

SIX_HOURS = DAY / 4
START = 1_700_000_000.0


def runs(days: float) -> np.ndarray:
    """Run times every six hours; the first a step after the registration at START."""
    return START + np.arange(1, int(days * 4) + 1) * SIX_HOURS


def test_no_run_has_no_trend() -> None:
    assert trend(np.array([]), np.array([]), since=START) is None


def test_a_step_of_six_percent_is_degraded_after_six_days_and_not_before() -> None:
    # 7-day mean of a step s after d days: 1.06 ** (d / 7) - 1; 5.12 % at 6 days, 4.25 % at 5
    quiet = 10
    at = runs(quiet + 6)
    ratio = np.where(at > START + quiet * DAY, np.log(1.06), 0.0)
    at_six = trend(at, ratio, since=START)
    assert at_six is not None
    assert at_six.degraded
    assert at_six.mean == pytest.approx(1.06 ** (6 / 7) - 1)
    at_five = trend(at[:-4], ratio[:-4], since=START)
    assert at_five is not None
    assert not at_five.degraded


def test_the_mean_of_less_than_a_week_degrades_nothing() -> None:
    at = runs(3)
    found = trend(at, np.full(at.size, np.log(1.08)), since=START)
    assert found is not None
    assert found.mean == pytest.approx(0.08)
    assert not found.whole
    assert not found.degraded


def test_two_runs_after_a_downtime_are_no_week() -> None:
    at = START + np.array([20 * DAY, 20 * DAY + SIX_HOURS])
    found = trend(at, np.full(2, np.log(1.08)), since=START)
    assert found is not None
    assert not found.whole


def test_a_steady_rise_crosses_when_its_line_does() -> None:
    # log ratio .002 a day for 14 days: the mean of (7, 14] days is .002 * 10.625 = .02125
    at = runs(14)
    found = trend(at, 0.002 * (at - START) / DAY, since=START)
    assert found is not None
    assert found.slope == pytest.approx(0.002)
    assert found.crossing is not None
    days = (np.log(1.05) - 0.02125) / 0.002
    assert found.crossing.at == pytest.approx(at[-1] + days * DAY)
    assert found.crossing.earliest == pytest.approx(found.crossing.at)


def test_no_moment_is_told_where_the_rise_is_not_sure(rng: np.random.Generator) -> None:
    at = runs(7)
    noisy = trend(at, rng.normal(0.02, 0.01, at.size), since=START)
    assert noisy is not None
    assert noisy.crossing is None
    falling = trend(at, 0.04 - 0.002 * (at - START) / DAY, since=START)
    assert falling is not None
    assert falling.crossing is None
    slow = trend(at, 1e-5 * (at - START) / DAY, since=START)
    assert slow is not None
    assert slow.crossing is None


def test_the_interval_covers_the_true_moment(rng: np.random.Generator) -> None:
    # 95 % of 400: below 364 with probability under 1e-3
    at = runs(7)
    line = 0.004 * (at - START) / DAY
    truth = at[-1] + (np.log(1.05) - line.mean()) / 0.004 * DAY
    inside = told = 0
    for _ in range(400):
        found = trend(at, line + rng.normal(0, 0.002, at.size), since=START)
        assert found is not None
        if found.crossing is not None:
            told += 1
            inside += found.crossing.earliest <= truth <= found.crossing.latest
    assert told == 400
    assert inside >= 364


@given(st.lists(st.floats(-0.2, 0.2), min_size=1, max_size=40))
def test_the_crossing_lies_within_its_interval_and_ahead(ratios: list[float]) -> None:
    at = START + np.arange(len(ratios), dtype=np.float64) * SIX_HOURS
    found = trend(at, np.array(ratios), since=START - WEEK)
    assert found is not None
    if found.crossing is not None:
        assert at[-1] <= found.crossing.earliest <= found.crossing.at <= found.crossing.latest
        assert not found.degraded

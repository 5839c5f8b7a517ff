import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import stats

from detectors.ranks import Placed, cliffs_delta, ks_distance, ks_p_value, mid_ranks
from detectors.types import Floats

# two values at least: with one, scipy divides by a rounded effective size of zero
tied = st.lists(st.integers(-4, 4).map(float), min_size=2, max_size=60).map(np.array)
wild = st.lists(st.floats(allow_nan=False), min_size=2, max_size=60).map(np.array)


def place(reference: Floats, values: Floats) -> Placed:
    ordered = np.sort(reference)
    return Placed(units=2 * mid_ranks(ordered, values) - 1, ordered=ordered, values=values)


@given(st.one_of(tied, wild), st.one_of(tied, wild))
def test_distance_equals_scipys(reference: Floats, window: Floats) -> None:
    ours = ks_distance(np.sort(reference), window)
    theirs = stats.ks_2samp(reference, window, method="asymp").statistic
    assert ours == pytest.approx(theirs, abs=1e-12)


@given(st.one_of(tied, wild))
def test_a_window_is_at_no_distance_from_itself(values: Floats) -> None:
    assert ks_distance(np.sort(values), values) == 0.0


@given(tied, tied)
def test_an_increasing_transform_changes_no_rank(reference: Floats, window: Floats) -> None:
    def rise(x: Floats) -> Floats:
        return np.exp(x) + 3 * x

    before = mid_ranks(np.sort(reference), window)
    assert mid_ranks(np.sort(rise(reference)), rise(window)) == pytest.approx(before)


@given(wild)
def test_the_reference_ranks_itself_at_one_half_on_average(values: Floats) -> None:
    assert mid_ranks(np.sort(values), values).mean() == pytest.approx(0.5)


def test_not_measured_has_no_rank() -> None:
    ranks = mid_ranks(np.array([1.0, 2.0]), np.array([np.nan, -np.inf, np.inf]))
    assert ranks == pytest.approx([np.nan, 0.0, 1.0], nan_ok=True)


def test_an_empty_window_is_at_no_distance() -> None:
    assert ks_distance(np.array([1.0]), np.array([])) == 0.0
    assert ks_p_value(0.0, m=1, n=0) == 1.0


def test_p_value_is_within_three_thousandths_of_the_exact_one(rng: np.random.Generator) -> None:
    reference, window = rng.normal(size=10_000), rng.normal(0.05, 1.0, size=1_000)
    distance = ks_distance(np.sort(reference), window)
    exact = stats.ks_2samp(reference, window, method="exact").pvalue
    assert ks_p_value(distance, m=10_000, n=1_000) == pytest.approx(exact, abs=0.003)


@given(tied, tied)
def test_cliffs_delta_counts_pairs(reference: Floats, window: Floats) -> None:
    pairs = np.sign(window[:, None] - reference[None, :]).mean()
    assert cliffs_delta(place(reference, window), deff=1.0).value == pytest.approx(pairs)


def test_interval_covers_the_truth_nine_times_of_ten_or_more(rng: np.random.Generator) -> None:
    # shift s of a normal: delta = 2 Phi(s / sqrt 2) - 1. 400 runs at 95 %: below 92 % with
    # probability 1 - binom.cdf(32, 400, .05) = .4 %
    truth = 2 * stats.norm.cdf(0.5 / np.sqrt(2)) - 1
    inside = 0
    for _ in range(400):
        placed = place(rng.normal(size=500), rng.normal(0.5, 1.0, size=60))
        effect = cliffs_delta(placed, deff=1.0)
        inside += effect.lo <= truth <= effect.hi
    assert inside >= 368


def test_a_larger_shift_is_a_larger_delta(rng: np.random.Generator) -> None:
    reference, window = rng.normal(size=1_000), rng.normal(size=200)
    deltas = [cliffs_delta(place(reference, window + s), deff=1.0).value for s in (0, 0.2, 1, 5)]
    assert deltas == sorted(deltas)
    assert deltas[-1] > 0.99


def test_one_unit_says_nothing() -> None:
    effect = cliffs_delta(place(np.arange(300.0), np.array([1e9])), deff=1.0)
    assert (effect.lo, effect.hi) == (-1.0, 1.0)


def test_complete_separation_is_not_certainty(rng: np.random.Generator) -> None:
    effect = cliffs_delta(place(rng.normal(size=300), np.full(50, 99.0)), deff=1.0)
    assert 0.9 < effect.lo < 1.0

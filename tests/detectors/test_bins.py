import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import bins
from detectors.ranks import ks_distance
from detectors.types import Floats

numbers = st.lists(st.floats(-1e6, 1e6) | st.integers(-3, 3).map(float), min_size=1, max_size=400)


def binned(reference: Floats, window: Floats) -> bins.Binned:
    cuts = bins.cut_points(np.sort(reference))
    return bins.compare(
        bins.count(cuts, reference)[None],
        bins.count(cuts, window)[None],
        points=bins.single_values(cuts)[None],
    )


@given(numbers.map(np.array), numbers.map(np.array))
def test_exact_distance_lies_in_the_bracket(reference: Floats, window: Floats) -> None:
    found = binned(reference, window)
    exact = ks_distance(np.sort(reference), window)
    assert found.distance[0] <= exact + 1e-12
    assert exact <= found.bracket[0] + 1e-12


@given(numbers.map(np.array), numbers.map(np.array), numbers.map(np.array))
def test_counts_add_and_subtract_exactly(reference: Floats, a: Floats, b: Floats) -> None:
    cuts = bins.cut_points(np.sort(reference))
    both = bins.count(cuts, np.concatenate([a, b]))
    assert np.array_equal(both - bins.count(cuts, a), bins.count(cuts, b))


def test_binned_distance_is_within_four_thousandths(rng: np.random.Generator) -> None:
    reference = rng.normal(size=10_000)
    for shift in (0.0, 0.1, 0.5):
        window = rng.normal(shift, 1.0, size=1_000)
        found = binned(reference, window)
        exact = ks_distance(np.sort(reference), window)
        assert exact - found.distance[0] <= 0.004


def test_ties_have_bins_of_their_own(rng: np.random.Generator) -> None:
    # 9 % exact zeros: the distance is exact there however many bins the rest has
    reference = np.where(rng.random(10_000) < 0.09, 0.0, rng.lognormal(size=10_000))
    window = np.where(rng.random(1_000) < 0.30, 0.0, rng.lognormal(size=1_000))
    found = binned(reference, window)
    assert found.distance[0] == pytest.approx(ks_distance(np.sort(reference), window), abs=1e-12)


def test_cliffs_delta_from_bins_is_close(rng: np.random.Generator) -> None:
    reference, window = rng.normal(size=5_000), rng.normal(0.5, 1.0, size=500)
    exact = np.sign(window[:, None] - reference[None, :]).mean()
    assert binned(reference, window).delta[0] == pytest.approx(exact, abs=0.002)


def test_an_empty_window_scores_nothing() -> None:
    found = binned(np.arange(300.0), np.array([np.nan]))
    assert (found.distance[0], found.bracket[0], found.delta[0], found.n[0]) == (0, 0, 0, 0)


def test_infinite_values_are_counted() -> None:
    cuts = bins.cut_points(np.arange(300.0))
    assert bins.count(cuts, np.array([-np.inf, np.inf])).tolist()[0] == 1
    assert bins.count(cuts, np.array([-np.inf, np.inf])).sum() == 2

import math
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import binomtest, chi2_contingency

from detectors.clusters import LEAST_ROWS, MOST_ROWS, Nearness, find_clusters, nearness
from detectors.rate_ratio import rate_ratio
from detectors.typical_terms import typical_terms

SIZE = 64


def around(
    rng: np.random.Generator, sizes: Sequence[int], *, alone: int = 0, spread: float = 0.04
) -> np.ndarray:
    """Vectors about random centres, and some that are near nothing; float16, as stored."""
    centres = rng.normal(size=(len(sizes), SIZE))
    centres /= np.linalg.norm(centres, axis=1, keepdims=True)
    near = np.repeat(centres, sizes, axis=0) + spread * rng.normal(size=(sum(sizes), SIZE))
    rows = np.vstack([near, rng.normal(size=(alone, SIZE))])
    return (rows / np.linalg.norm(rows, axis=1, keepdims=True)).astype(np.float16)


def test_groups_are_found_largest_first_and_strangers_are_in_none() -> None:
    found = find_clusters(around(np.random.default_rng(1), [5, 40, 12], alone=20))
    assert [int(np.sum(found.label == each)) for each in range(len(found))] == [40, 12, 5]
    assert found.label.tolist() == [2] * 5 + [0] * 40 + [1] * 12 + [-1] * 20
    assert np.allclose(np.linalg.norm(found.centres, axis=1), 1.0, atol=1e-6)
    assert ((found.cohesion > 0.9) & (found.cohesion <= 1.0)).all()


@given(seed=st.integers(0, 10_000), alone=st.integers(0, 30), spread=st.floats(0.0, 0.2))
@settings(max_examples=60)
def test_the_order_of_rows_decides_nothing(seed: int, alone: int, spread: float) -> None:
    rng = np.random.default_rng(seed)
    rows = around(rng, [4, 9, 4, 3], alone=alone, spread=spread)
    shuffled = rng.permutation(len(rows))
    found, again = find_clusters(rows), find_clusters(rows[shuffled])
    assert np.array_equal(found.label[shuffled], again.label)
    assert np.array_equal(found.centres, again.centres)
    assert np.allclose(found.cohesion, again.cohesion)


@given(seed=st.integers(0, 10_000), spread=st.floats(0.0, 0.3))
@settings(max_examples=60)
def test_every_member_is_near_its_centre_and_groups_are_large_enough(
    seed: int, spread: float
) -> None:
    near = Nearness(alike=0.6, one=0.8)
    rows = around(np.random.default_rng(seed), [6, 3, 2, 1], alone=5, spread=spread)
    found = find_clusters(rows, near=near)
    unit = rows.astype(np.float64)
    unit /= np.linalg.norm(unit, axis=1, keepdims=True)
    sizes = [int(np.sum(found.label == each)) for each in range(len(found))]
    assert sizes == sorted(sizes, reverse=True)
    assert all(size >= LEAST_ROWS for size in sizes)
    for each, centre in enumerate(found.centres):
        assert ((unit[found.label == each] @ centre) >= near.alike - 1e-5).all()


def test_a_duplicate_counts_as_often_as_it_came() -> None:
    one = around(np.random.default_rng(2), [1], alone=4)
    repeated = np.vstack([one, np.repeat(one[:1], LEAST_ROWS - 1, axis=0)])
    assert len(find_clusters(one)) == 0
    found = find_clusters(repeated)
    assert found.label.tolist() == [0, -1, -1, -1, -1, 0, 0]
    assert found.cohesion == pytest.approx([1.0], abs=1e-5)


def test_a_subject_with_two_leaders_becomes_one_group() -> None:
    """On an arc of 80 degrees no row is within 25 of all others."""
    angles = np.radians(np.linspace(0, 80, 41))
    rows = np.stack([np.cos(angles), np.sin(angles)], axis=1)
    alike = math.cos(math.radians(25))
    apart = find_clusters(rows, near=Nearness(alike=alike, one=1.0))
    assert len(apart) == 2
    assert (apart.label >= 0).all()
    merged = find_clusters(rows, near=Nearness(alike=alike, one=math.cos(math.radians(45))))
    assert len(merged) == 1
    assert np.flatnonzero(merged.label == 0).tolist() == list(range(8, 33))  # 40 +- 24 degrees


@pytest.mark.parametrize("bad", [math.nan, math.inf, 0.0])
def test_a_row_that_is_no_direction_is_refused_by_its_number(bad: float) -> None:
    rows = around(np.random.default_rng(3), [4])
    rows[2] = bad
    with pytest.raises(ValueError, match="vector 2 is 0 or not finite"):
        find_clusters(rows)


def test_too_many_rows_are_refused() -> None:
    with pytest.raises(ValueError, match="2001 vectors; at most 2000"):
        find_clusters(np.ones((MOST_ROWS + 1, 2)))


@pytest.mark.parametrize("count", [0, 1, 2])
def test_a_handful_is_no_group(count: int) -> None:
    found = find_clusters(np.ones((count, 3)))
    assert (len(found), found.label.tolist()) == (0, [-1] * count)


def test_limits_rise_with_a_narrow_encoder_and_never_fall() -> None:
    levels = [nearness(unrelated) for unrelated in (0.0, 0.22, 0.6, 0.9)]
    assert [level.alike for level in levels] == sorted(level.alike for level in levels)
    assert (levels[0], levels[1]) == (Nearness(), Nearness())
    assert levels[-1].alike < levels[-1].one < 1.0


# --- growth -------------------------------------------------------------------------------


@pytest.mark.parametrize(("now", "before"), [(11, 6), (3, 90), (0, 4), (7, 0)])
def test_the_interval_of_a_ratio_is_that_of_a_binomial(now: int, before: int) -> None:
    found = rate_ratio(now, 800, before, 1_000)
    exact = binomtest(now, now + before).proportion_ci(0.95, method="exact")
    odds = [1.25 * p / (1 - p) if p < 1 else math.inf for p in exact]
    assert found.interval == pytest.approx(odds)
    assert found.interval[0] <= found.ratio <= found.interval[1]


def test_what_was_not_there_before_has_a_lower_limit_only() -> None:
    found = rate_ratio(20, 500, 0, 500)
    assert found.ratio == math.inf
    assert found.interval[0] == pytest.approx(4.94, rel=0.01)  # p = .025^(1/20) = .8316
    assert found.interval[1] == math.inf
    assert math.isnan(rate_ratio(0, 10, 0, 10).ratio)
    with pytest.raises(ValueError, match="nothing"):
        rate_ratio(1, 10, 0, 0)


def test_the_interval_covers_the_ratio_as_often_as_it_says() -> None:
    """2,000 draws at a ratio of 2; 95 % covered less 3 binomial sd (.5 %) is 93.5 %."""
    rng = np.random.default_rng(11)
    covered = 0
    for now, before in zip(rng.poisson(24, 2_000), rng.poisson(12, 2_000), strict=True):
        low, high = rate_ratio(int(now), 1_000, int(before), 1_000).interval
        covered += low <= 2.0 <= high
    assert covered >= 1_870


# --- terms --------------------------------------------------------------------------------


def test_typical_terms_are_those_that_stand_out_not_those_that_are_frequent() -> None:
    inside, outside = [40, 30, 6, 2, 0], [400, 10, 0, 0, 300]
    ranked, z = typical_terms(inside, outside, n_inside=40, n_outside=400)
    assert ranked.tolist() == [1, 2]
    assert z[0] == 0.0
    assert z[4] < -1.0


def test_a_terms_weight_is_the_root_of_the_likelihood_ratio() -> None:
    """scipy's G test of a table, without its correction for continuity."""
    table = [[30, 10], [12, 388]]
    g = chi2_contingency(table, correction=False, lambda_="log-likelihood").statistic
    _, z = typical_terms([30], [12], n_inside=40, n_outside=400)
    assert z[0] == pytest.approx(math.sqrt(g))


def test_nothing_is_typical_of_a_group_without_others_to_compare() -> None:
    ranked, z = typical_terms([10, 5], [0, 0], n_inside=10, n_outside=0)
    assert (ranked.tolist(), z.tolist()) == ([], [0.0, 0.0])
    assert typical_terms([], [], n_inside=0, n_outside=0)[0].tolist() == []


def test_few_terms_seem_typical_of_a_group_drawn_at_random() -> None:
    """500 terms of equal shares: z >= 3 has .7 of them for normal z, skewed counts some more."""
    rng = np.random.default_rng(5)
    shares = rng.uniform(0.01, 0.3, 500)
    found = [
        typical_terms(
            rng.binomial(40, shares), rng.binomial(800, shares), n_inside=40, n_outside=800
        )[0].size
        for _ in range(50)
    ]
    assert np.mean(found) <= 1.5


@given(counts=st.lists(st.tuples(st.integers(0, 50), st.integers(0, 70)), min_size=1, max_size=20))
def test_what_is_typical_of_a_group_is_untypical_of_the_others(
    counts: list[tuple[int, int]],
) -> None:
    a, b = np.array(counts).T
    _, z = typical_terms(a, b, n_inside=50, n_outside=70)
    _, turned = typical_terms(b, a, n_inside=70, n_outside=50)
    assert np.allclose(z, -turned)

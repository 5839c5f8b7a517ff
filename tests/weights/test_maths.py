"""The QR core against the whole matrix."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.weights import (
    effective_rank,
    entropy_rank,
    frobenius,
    robust_z,
    singular_values,
    triangle,
)

SEEDS = st.integers(0, 2**32 - 1)
RANKS = st.integers(1, 12)


def core(a: np.ndarray, b: np.ndarray, scale: float = 1.0) -> np.ndarray:
    rank = len(a)
    return singular_values(triangle([a.T], width=rank), triangle([b], width=rank), scale=scale)


def drawn(seed: int, rank: int, rows: int, columns: int) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    return rng.normal(size=(rank, columns)), rng.normal(size=(rows, rank))


@given(SEEDS, RANKS, st.integers(1, 40), st.integers(1, 40), st.floats(0.01, 64))
def test_the_core_has_the_singular_values_of_the_whole_matrix(
    seed: int, rank: int, rows: int, columns: int, scale: float
) -> None:
    a, b = drawn(seed, rank, rows, columns)
    whole = np.linalg.svd(scale * b @ a, compute_uv=False)
    found = core(a, b, scale)
    count = min(len(found), len(whole))
    assert found[:count] == pytest.approx(whole[:count], abs=1e-12 * whole[0])
    # what the core has more than the matrix has, or the other way round, is zero
    assert np.concatenate([found[count:], whole[count:]]) == pytest.approx(0, abs=1e-12 * whole[0])


@given(SEEDS, RANKS)
def test_another_way_to_write_the_same_update_changes_nothing(seed: int, rank: int) -> None:
    a, b = drawn(seed, rank, 30, 20)
    turned = np.random.default_rng(seed + 1).normal(size=(rank, rank)) + 3 * np.eye(rank)
    rewritten = core(np.linalg.solve(turned, a), b @ turned)
    assert rewritten == pytest.approx(core(a, b), rel=1e-6, abs=1e-9 * core(a, b)[0])


@given(SEEDS, RANKS, st.lists(st.integers(1, 39), max_size=4))
def test_blocks_of_rows_give_the_same_triangle_as_all_at_once(
    seed: int, rank: int, cuts: list[int]
) -> None:
    _, b = drawn(seed, rank, 40, 1)
    whole = triangle([b], width=rank)
    parts = triangle(np.split(b, sorted(set(cuts))), width=rank)
    assert parts.T @ parts == pytest.approx(whole.T @ whole)


@given(SEEDS, RANKS, st.floats(1e-3, 1e3))
def test_ranks_do_not_depend_on_the_scale_and_norms_grow_with_it(
    seed: int, rank: int, scale: float
) -> None:
    a, b = drawn(seed, rank, 30, 20)
    one, other = core(a, b), core(a, b, scale)
    assert effective_rank(one) == effective_rank(other)
    assert entropy_rank(one) == pytest.approx(entropy_rank(other))
    assert frobenius(other) == pytest.approx(scale * frobenius(one))


@given(SEEDS, RANKS)
def test_ranks_and_norms_keep_their_order(seed: int, rank: int) -> None:
    a, b = drawn(seed, rank, 30, 20)
    found = core(a, b)
    assert 1 <= effective_rank(found) <= rank
    assert 1 - 1e-9 <= entropy_rank(found) <= rank + 1e-9
    assert found[0] <= frobenius(found) * (1 + 1e-12)
    assert frobenius(found) == pytest.approx(np.linalg.norm(b @ a))


def test_equal_directions_have_full_rank_and_a_dominant_one_has_one() -> None:
    assert effective_rank(np.full(16, 2.0)) == 16
    assert entropy_rank(np.full(16, 2.0)) == pytest.approx(16)
    collapsed = np.array([1.0, *[0.0099] * 15])
    assert effective_rank(collapsed) == 1
    # exp of the entropy of (1, .0099 x 15) / 1.1485, worked out by hand: H = .7352
    assert entropy_rank(collapsed) == pytest.approx(2.086, abs=1e-3)


def test_an_update_that_is_zero_has_no_rank() -> None:
    zero = core(np.ones((4, 8)), np.zeros((8, 4)))
    assert (effective_rank(zero), entropy_rank(zero), frobenius(zero)) == (0, 0.0, 0.0)


def test_a_product_beyond_float64_is_infinite_and_no_error() -> None:
    huge = np.full((4, 8), 1e200)
    assert core(huge, huge.T).tolist() == [np.inf] * 4


def test_half_of_the_values_may_be_anything_without_moving_the_yardstick() -> None:
    values = np.array([1.0, 1.1, 0.9, 1.05, 0.95, 1e6, -1e6])
    assert np.abs(robust_z(values)[:5]).max() < 2
    assert robust_z(values)[5] > 1e5
    assert robust_z(np.array([2.0, 2.0, 2.0, 3.0])).tolist() == [0, 0, 0, np.inf]

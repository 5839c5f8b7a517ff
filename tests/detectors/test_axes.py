import numpy as np
import pytest

from detectors.axes import (
    COUNT,
    FITTED_ROWS,
    coordinates,
    distance,
    dump_axes,
    fit_axes,
    load_axes,
)
from detectors.output_similarity import place_answers
from detectors.signals import ANSWERS


def topics(rng: np.random.Generator, n: int, *, of: int = 5, dimension: int = 24) -> np.ndarray:
    centres = np.random.default_rng(0).normal(size=(of, dimension))
    vectors = centres[rng.integers(of, size=n)] + 0.2 * rng.normal(size=(n, dimension))
    return (vectors / np.linalg.norm(vectors, axis=1, keepdims=True)).astype(np.float16)


@pytest.mark.parametrize("dimension", [24, 1_100])
def test_axes_are_the_singular_vectors_of_the_centred_index(
    rng: np.random.Generator, dimension: int
) -> None:
    centred = topics(rng, 400, of=20, dimension=dimension).astype(np.float64)
    found = fit_axes(centred)
    assert found.centre == pytest.approx(centred.mean(axis=0), abs=1e-6)
    # definition: orthonormal v with X'X v = s² v, the largest s first, and no larger s left
    centred -= centred.mean(axis=0)
    directions = found.directions.astype(np.float64)
    assert directions @ directions.T == pytest.approx(np.eye(COUNT), abs=1e-5)
    squares = np.square(centred @ directions.T).sum(axis=0)
    assert (np.diff(squares) < 0).all()
    mapped = (centred @ directions.T).T @ centred
    assert mapped == pytest.approx(squares[:, None] * directions, abs=1e-4 * squares[0])
    # 20 topics span 19 directions: what is left of the next one must be the smaller
    next_one = fit_axes(centred, count=COUNT + 1).directions[COUNT].astype(np.float64)
    assert np.square(centred @ next_one).sum() < squares[-1]


def test_the_largest_component_of_each_direction_is_positive(rng: np.random.Generator) -> None:
    index = topics(rng, 300)
    found = fit_axes(index)
    heaviest = np.abs(found.directions).argmax(axis=1)
    assert (found.directions[np.arange(COUNT), heaviest] > 0).all()
    # mirrored vectors span the same directions: nothing but the centre turns round
    mirrored = fit_axes(-index)
    assert mirrored.directions == pytest.approx(found.directions, abs=1e-5)


def test_order_of_the_index_does_not_matter(rng: np.random.Generator) -> None:
    index = topics(rng, 400)
    again = fit_axes(index[rng.permutation(len(index))])
    assert again.directions == pytest.approx(fit_axes(index).directions, abs=1e-5)


def test_a_text_has_the_same_coordinates_alone_and_in_any_batch(rng: np.random.Generator) -> None:
    axes = fit_axes(topics(rng, 300, dimension=384))
    live = topics(rng, 129, dimension=384)
    together = coordinates(axes, live)
    assert together.shape == (129, COUNT)
    alone = np.vstack([coordinates(axes, live[i : i + 1]) for i in range(len(live))])
    assert (alone == together).all()
    assert (together == together.astype(np.float32)).all()


def test_distance_and_coordinates_make_up_the_whole_vector(rng: np.random.Generator) -> None:
    axes, live = fit_axes(topics(rng, 300, of=20)), topics(rng, 50, of=20)
    left, along = distance(axes, live), coordinates(axes, live)
    whole = np.square(live.astype(np.float64) - axes.centre).sum(axis=1)
    # Pythagoras: the axes are orthonormal
    assert np.square(left) + np.square(along).sum(axis=1) == pytest.approx(whole, abs=1e-5)
    alone = np.concatenate([distance(axes, live[i : i + 1]) for i in range(len(live))])
    assert (alone == left).all()


def test_an_answer_of_an_unheard_of_topic_is_far_from_all_axes(rng: np.random.Generator) -> None:
    axes = fit_axes(topics(rng, 300))
    known, strange = topics(rng, 100), -topics(rng, 100)[:, ::-1]
    placed = [place_answers(axes, vectors) for vectors in (known, strange)]
    assert [one.shape for one in placed] == [(100, len(ANSWERS))] * 2
    assert placed[1][:, 0].min() > placed[0][:, 0].max()


@pytest.mark.parametrize(
    ("index", "expected"),
    [
        pytest.param(np.eye(1, 6), 0, id="one row"),
        pytest.param(np.tile(np.eye(1, 6), (50, 1)), 0, id="one text over and over"),
        pytest.param(np.eye(3, 6), 2, id="three rows span two axes"),
        pytest.param(np.eye(4), 3, id="short vectors"),
        pytest.param(np.zeros((9, 5)), 0, id="no direction at all"),
    ],
)
def test_an_index_without_room_for_all_axes_has_fewer(index: np.ndarray, expected: int) -> None:
    axes = fit_axes(index.astype(np.float16))
    assert len(axes.directions) == expected
    placed = coordinates(axes, index)
    assert np.isnan(placed[:, expected:]).all()
    assert np.isfinite(placed[:, :expected]).all()


def test_axes_survive_storage_exactly(rng: np.random.Generator) -> None:
    index = topics(rng, 200)
    axes = fit_axes(index)
    loaded = load_axes(dump_axes(axes), dimension=axes.dimension)
    assert (coordinates(loaded, index) == coordinates(axes, index)).all()


def test_of_a_large_index_an_even_part_is_fitted(rng: np.random.Generator) -> None:
    index = topics(rng, FITTED_ROWS + 1, dimension=8)
    assert fit_axes(index).directions == pytest.approx(fit_axes(index[::2]).directions, abs=1e-5)

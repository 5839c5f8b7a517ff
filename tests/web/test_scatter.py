"""Requests on the stored axes: laws of the points that are drawn."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.signals import TOPICS
from monitor.views.reading.histogram import NoHistogram
from monitor.views.reading.scatter import MOST, Axes, scatter


def side(seed: int, n: int, *, moved: dict[str, float] | None = None) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    drawn = {name: rng.normal(size=n) for name in TOPICS}
    drawn |= {name: drawn[name] + by for name, by in (moved or {}).items()}
    return drawn | {"similarity": rng.uniform(0.5, 1.0, n)}


def test_the_axes_are_those_on_which_requests_moved_most() -> None:
    moved = {TOPICS[4]: 3.0, TOPICS[9]: -5.0}
    found = scatter(live=side(1, 300, moved=moved), reference=side(2, 900))
    assert found.axes == (10, 5)
    assert np.mean([x for x, _ in found.usual]) < np.mean([x for x, _ in found.reference])
    assert (found.n, len(found.reference)) == (300, MOST)


@pytest.mark.parametrize(
    ("chosen", "drawn"),
    [((3, 7), (3, 7)), ((10, None), (10, 5)), ((None, 10), (5, 10)), ((4, 4), (4, 10)),
     ((99, 2), (10, 2))],
)  # fmt: skip
def test_axes_are_chosen_and_the_others_are_those_that_moved_most(
    chosen: Axes, drawn: tuple[int, int]
) -> None:
    moved = {TOPICS[4]: 3.0, TOPICS[9]: -5.0}
    found = scatter(live=side(1, 300, moved=moved), reference=side(2, 900), axes=chosen)
    assert found.axes == drawn
    assert sorted(found.known) == list(range(1, len(TOPICS) + 1))


def test_what_is_unlike_training_is_drawn_apart() -> None:
    live = side(1, 200)
    live["similarity"][:50] = 0.1
    found = scatter(live=live, reference=side(2, 900))
    expected = 50 + int((live["similarity"][50:] < 0.525).sum())
    assert found.n_unlike == pytest.approx(expected, abs=3)
    assert len(found.unlike) == found.n_unlike
    assert len(found.unlike) + len(found.usual) == found.n


def test_without_axes_there_is_nothing_to_draw() -> None:
    with pytest.raises(NoHistogram, match="nothing is embedded"):
        scatter(live={"mean_nll": np.ones(3)}, reference=side(2, 9))
    unmeasured = {name: np.full(5, np.nan) for name in side(1, 1)}
    with pytest.raises(NoHistogram, match="no request of this range"):
        scatter(live=unmeasured, reference=side(2, 9))


@given(st.integers(1, 900), st.integers(1, 900), st.integers(0, 20))
def test_every_point_lies_in_the_square_and_few_are_drawn(n: int, of: int, gaps: int) -> None:
    live = side(n, n)
    live[TOPICS[0]][:gaps] = np.nan
    try:
        found = scatter(live=live, reference=side(of, of))
    except NoHistogram:
        assert gaps >= n
        return
    for points in (found.reference, found.usual, found.unlike):
        assert len(points) <= MOST
        assert all(0.0 <= x <= 1.0 and 0.0 <= y <= 1.0 for x, y in points)

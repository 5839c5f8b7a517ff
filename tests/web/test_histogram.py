"""Live values beside those of the reference: laws of the bins."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.views.reading.histogram import BINS, histogram

VALUES = st.lists(st.floats(-1e6, 1e6) | st.just(float("nan")), max_size=200).map(np.array)


@given(VALUES, VALUES)
def test_every_measured_value_is_counted_once(live: np.ndarray, reference: np.ndarray) -> None:
    found = histogram("mean_nll", live=live, reference=reference)
    assert len(found.edges) in {3, BINS + 1}
    assert list(found.edges) == sorted(found.edges)
    for side, values in ((found.live, live), (found.reference, reference)):
        assert side.n == np.isfinite(values).sum()
        assert sum(side.shares) == pytest.approx(1.0 if side.n else 0.0)
        assert (side.median is None) == (side.n == 0)


@given(VALUES)
def test_equal_sides_look_equal_in_any_order(values: np.ndarray) -> None:
    found = histogram("entropy", live=values, reference=values[::-1])
    assert found.live == found.reference


def test_a_rate_has_a_bin_for_no_and_one_for_yes() -> None:
    found = histogram("empty", live=np.array([0.0, 1.0, 1.0, 1.0]), reference=np.zeros(4))
    assert found.live.shares == [0.25, 0.75]
    assert (found.words, found.unit) == ("empty answers", "no or yes")

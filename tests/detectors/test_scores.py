import numpy as np
import pytest

from detectors.scores import (
    DriftSide,
    as_units,
    kinds_of,
    score_names,
    scores_named,
    subject_checks,
)
from tests.scored import rank_scores


def test_seven_scores_describe_place_spread_and_tails() -> None:
    assert rank_scores(np.array([0.995]), DriftSide.BOTH)[0] == pytest.approx(
        [0.995, 0.005, 0.99, 1, 0, 1, 0]
    )
    assert len(score_names("mean_nll", DriftSide.BOTH)) == 7


def test_tails_are_strict() -> None:
    assert rank_scores(np.array([0.05, 0.95, 0.01, 0.99]), DriftSide.BOTH)[:, 3:].sum(
        axis=0
    ).tolist() == [
        1,  # .99 > .95
        1,  # .01 < .05
        0,
        0,
    ]


def test_the_low_score_is_the_logarithm_of_the_rank_within_bounds() -> None:
    low = rank_scores(np.array([1.0, np.exp(-1.0), np.exp(-5.0), 0.001, 0.0]), DriftSide.DOWN)[:, 1]
    assert low == pytest.approx([0.0, 0.2, 1.0, 1.0, 1.0])


def test_no_rank_gives_no_score() -> None:
    assert np.isnan(rank_scores(np.array([np.nan]), DriftSide.DOWN)).all()


def test_many_signals_are_scored_as_each_alone() -> None:
    sides = (DriftSide.DOWN, DriftSide.BOTH, DriftSide.BOTH, DriftSide.EITHER, DriftSide.DOWN)
    u = np.random.default_rng(1).random((60, len(sides)))
    u[::7, 1] = np.nan
    apart = [rank_scores(column, side) for column, side in zip(u.T, sides, strict=True)]
    together = scores_named(u, kinds_of(sides))
    np.testing.assert_array_equal(together, np.hstack(apart))


def test_a_subject_is_one_voice() -> None:
    scores = np.array([[1.0], [0.0], [0.5], [np.nan]])
    units = as_units(np.arange(4.0), scores, np.array([7, 7, -1, -1]))
    assert sorted(units.scores[:, 0].tolist()) == [0.5, 0.5]
    assert sorted(units.at.tolist()) == [0.0, 2.0]


def test_a_subject_without_some_signal_averages_what_it_has() -> None:
    scores = np.array([[1.0, np.nan], [0.0, 0.25]])
    assert as_units(np.zeros(2), scores, np.array([3, 3])).scores.tolist() == [[0.5, 0.25]]


def test_records_without_any_score_are_not_units() -> None:
    assert len(as_units(np.zeros(2), np.full((2, 3), np.nan), None)) == 0
    assert len(as_units(np.zeros(0), np.zeros((0, 3)), np.zeros(0, dtype=np.int64))) == 0


def test_a_subject_that_returns_in_another_check_is_another_unit() -> None:
    codes = subject_checks(
        np.array([0.0, 800.0, 1000.0, 1100.0]), np.array([5, 5, 5, -1]), check_seconds=900.0
    )
    assert codes is not None
    assert codes[0] == codes[1] != codes[2]
    assert codes[3] == -1

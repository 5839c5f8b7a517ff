import numpy as np
import pytest

from detectors.null import Null, fit_null
from detectors.scores import Units


def fitted(scores: np.ndarray, *, indicator: bool) -> Null:
    at = 100.0 * np.arange(len(scores), dtype=np.float64)  # nine units a check over hours
    return fit_null(
        Units(at=at, scores=scores[:, None]),
        names=("s",),
        indicator=np.array([indicator]),
        check_seconds=900.0,
    )


def test_no_failure_in_three_hundred_does_not_mean_never() -> None:
    # Clopper-Pearson for 0 of n at 99 %: 1 - .01^(1/n), here n = 300 / deff
    null = fitted(np.zeros(300), indicator=True)
    size = 300 / null.deff[0]
    assert null.upper[0] == pytest.approx(1 - 0.01 ** (1 / size))


def test_failures_only_leave_a_bound_of_one() -> None:
    assert fitted(np.ones(300), indicator=True).upper[0] == pytest.approx(1.0)


def test_a_normal_bound_stands_2_326_errors_above_the_mean(rng: np.random.Generator) -> None:
    scores = rng.random(5_000)
    null = fitted(scores, indicator=False)
    error = scores.std() * np.sqrt(null.deff[0] / 5_000)
    assert null.upper[0] == pytest.approx(scores.mean() + 2.3263 * error, rel=1e-4)


def test_a_constant_score_still_has_an_error() -> None:
    null = fitted(np.full(400, 0.5), indicator=False)
    assert null.upper[0] > 0.5

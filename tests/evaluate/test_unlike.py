import numpy as np

from detectors import DETECTORS
from detectors.types import Window
from monitor.evaluate.unlike import unlike_below


def test_one_percent_of_the_baseline_lies_below_the_line_of_what_is_unlike_training() -> None:
    rng = np.random.default_rng(5)
    similarity = rng.beta(8, 2, 5_000)
    at = np.linspace(0.0, 14 * 86_400.0, similarity.size)
    baseline = Window(start=0.0, end=15 * 86_400.0, at=at, signals={"similarity": similarity})
    below = unlike_below(DETECTORS["input_similarity"].fit(baseline))
    # The line is taken after the daily rhythm is removed: noise of the fit moves it a little.
    assert 0.005 <= np.mean(similarity < below) <= 0.015

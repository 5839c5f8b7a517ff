"""In which words and numbers faults are told."""

import math

import numpy as np
import pytest

from detectors import DETECTORS
from detectors.faults import Unit
from detectors.types import Window
from monitor.evaluate.faults import families_of, size_words
from tests.evaluate.conftest import baseline


def known(detector: str) -> object:
    fitted = baseline(count=1_000)
    drawn = np.random.default_rng(1).uniform(size=(2, len(fitted)))
    signals = {**fitted.signals, "entropy": drawn[0], "margin": drawn[1], "refusal": drawn[0] < 0.1}
    window = Window(start=fitted.start, end=fitted.end, at=fitted.at, signals=signals)
    return DETECTORS[detector].fit(window)


def test_a_shift_of_certainty_is_told_as_perplexity_and_one_of_length_as_length() -> None:
    less_certain, garbage, shorter = families_of("logit_ks", known("logit_ks"))
    assert less_certain.told(0.5, 0.2) == pytest.approx(math.exp(0.1) - 1.0)
    assert garbage.told(0.05, 7.0) == 0.05
    assert shorter.told(0.5, 0.2) == pytest.approx(1.0 - math.exp(-0.1))
    assert math.isfinite(less_certain.told(5.0, 1e6))


def test_a_rate_is_told_as_a_share_and_a_detector_that_is_not_listed_by_its_signal() -> None:
    [refusals] = families_of("refusal", known("refusal"))
    assert (refusals.words, refusals.unit, refusals.fault.share) == ("refusals", Unit.SHARE, True)
    [new_rate] = families_of("a new rate", known("refusal"))
    assert (new_rate.words, new_rate.unit) == ("a new rate", Unit.SHARE)
    [new_rank] = families_of("a new one", known("entropy"))
    assert (new_rank.words, new_rank.unit, new_rank.fault.falls) == (
        "worse entropy",
        Unit.SD,
        False,
    )


@pytest.mark.parametrize(
    ("size", "unit", "said"),
    [
        (0.001, Unit.SHARE, "0.1 %"),
        (1.3, Unit.RATIO, "130 %"),
        (0.25, Unit.SD, "0.25 sd"),
        (12.4, Unit.NATS, "12 nats"),
    ],
)
def test_a_size_is_told_in_two_digits(size: float, unit: Unit, said: str) -> None:
    assert size_words(size, unit) == said

"""The gap between training and held-out texts: its interval, and how often it refuses."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.checks import CheckVerdict
from detectors.gap import GapLimits, gap_check, mean_nll
from detectors.perplexity import DocumentScores

TEXTS = 200
BETWEEN = 0.3
"""Standard deviation of texts' means, nats per token."""


def texts(rng: np.random.Generator, mean: float, *, count: int = TEXTS) -> DocumentScores:
    """Draw texts of 20 to 200 tokens whose means vary around ``mean``."""
    tokens = rng.integers(20, 200, size=count).astype(np.float64)
    means = rng.gamma((mean / BETWEEN) ** 2, BETWEEN**2 / mean, size=count)
    return DocumentScores(sum_nll=means * tokens, tokens=tokens, size_bytes=4 * tokens)


def refused(rng: np.random.Generator, *, training: float, gap: float, times: int = 400) -> float:
    verdicts = [
        gap_check(texts(rng, training), texts(rng, training + gap), GapLimits()).verdict
        for _ in range(times)
    ]
    return verdicts.count(CheckVerdict.REFUSE) / times


def test_a_gap_at_the_limit_is_rarely_refused(rng: np.random.Generator) -> None:
    # 2.5 % by each of two limits; of 400 at most 5 % + 3 sd (1.1 %)
    assert refused(rng, training=2.0, gap=0.1) <= 0.083
    assert refused(rng, training=0.5, gap=0.05) <= 0.083


def test_no_gap_is_never_refused(rng: np.random.Generator) -> None:
    assert refused(rng, training=2.0, gap=0.0) == 0.0


def test_twice_the_limit_is_refused_as_often_as_the_docs_say(rng: np.random.Generator) -> None:
    # se of the gap: .3 sqrt(2 / 200) sqrt(1 + cv^2 of tokens) = .033; (.1 / .033) - 1.96 = 1.1 sd
    assert refused(rng, training=2.0, gap=0.2) == pytest.approx(0.86, abs=0.06)
    assert refused(rng, training=2.0, gap=0.3) > 0.98


def test_a_small_gap_of_small_losses_is_refused_by_its_share(rng: np.random.Generator) -> None:
    one, other = texts(rng, 0.3), texts(rng, 0.6)
    small, large = (
        DocumentScores(sum_nll=x.sum_nll * 0.2, tokens=x.tokens, size_bytes=x.size_bytes)
        for x in (one, other)
    )
    found = gap_check(small, large, GapLimits())
    assert (found.number or 0.0) < 0.1
    assert found.verdict is CheckVerdict.REFUSE


def test_the_interval_is_as_wide_as_repeats_vary(rng: np.random.Generator) -> None:
    found = [mean_nll(texts(rng, 2.0)) for _ in range(400)]
    spread = float(np.std([one.mean for one in found]))
    assert float(np.mean([one.error for one in found])) == pytest.approx(spread, rel=0.12)


def test_too_few_texts_are_skipped_and_counted(rng: np.random.Generator) -> None:
    found = gap_check(texts(rng, 2.0, count=19), texts(rng, 2.0), GapLimits())
    assert (found.verdict, found.number) == (CheckVerdict.SKIPPED, None)
    assert found.reason.startswith("19 training and 200 held-out texts were read")


@given(seed=st.integers(0, 2**32 - 1))
def test_a_set_against_itself_has_no_gap(seed: int) -> None:
    one = texts(np.random.default_rng(seed), 2.0, count=30)
    found = gap_check(one, one, GapLimits())
    assert (found.number, found.verdict) == (0.0, CheckVerdict.PASS)

"""What an adapter changes against its base: how often a sound one is refused."""

import numpy as np
import pytest
from numpy.typing import NDArray

from detectors.checks import CheckVerdict
from detectors.effect import EffectLimits, earlier_check, effect_check, general_check
from detectors.perplexity import DocumentScores

TEXTS = 60
DIFFERS = 0.15
"""Standard deviation of the difference of a text's means between two models, nats per token."""


def pair(
    rng: np.random.Generator, *, more: float, count: int = TEXTS
) -> tuple[DocumentScores, DocumentScores]:
    """Draw texts of 20 to 200 tokens, and what a second model needs ``more`` for them."""
    tokens = rng.integers(20, 200, size=count).astype(np.float64)
    one = rng.gamma(44.0, 2.0 / 44.0, size=count)
    other = one + more + rng.normal(0.0, DIFFERS, size=count)
    return _read(one, tokens), _read(other, tokens)


def _read(means: NDArray[np.float64], tokens: NDArray[np.float64]) -> DocumentScores:
    return DocumentScores(sum_nll=means * tokens, tokens=tokens, size_bytes=4 * tokens)


def refused(found: list[CheckVerdict]) -> float:
    return found.count(CheckVerdict.REFUSE) / len(found)


def test_a_loss_at_the_limit_is_rarely_refused_and_twice_the_limit_always(
    rng: np.random.Generator,
) -> None:
    def verdicts(more: float) -> list[CheckVerdict]:
        limits = EffectLimits()
        return [general_check(*pair(rng, more=more), limits).verdict for _ in range(400)]

    assert refused(verdicts(0.2)) <= 0.05 + 3 * 0.011
    assert refused(verdicts(0.1)) == 0.0
    assert refused(verdicts(0.4)) == 1.0


def test_what_was_learned_before_may_be_lost_up_to_its_own_limit(
    rng: np.random.Generator,
) -> None:
    def verdicts(more: float) -> list[CheckVerdict]:
        limits = EffectLimits(general=9.0)
        return [earlier_check(*pair(rng, more=more), limits).verdict for _ in range(400)]

    assert refused(verdicts(0.1)) <= 0.05 + 3 * 0.011
    assert refused(verdicts(0.0)) == 0.0
    assert refused(verdicts(0.2)) > 0.97


def test_an_adapter_without_effect_is_rarely_let_pass_and_a_good_one_always(
    rng: np.random.Generator,
) -> None:
    def verdicts(gain: float) -> list[CheckVerdict]:
        limits = EffectLimits()
        drawn = [pair(rng, more=gain) for _ in range(400)]
        return [effect_check(base, adapter, limits).verdict for adapter, base in drawn]

    without = verdicts(0.0)
    assert without.count(CheckVerdict.PASS) / len(without) <= 0.05 + 3 * 0.011
    assert refused(verdicts(-0.1)) > 0.95
    assert set(verdicts(0.2)) == {CheckVerdict.PASS}


def test_difficult_texts_widen_no_interval(rng: np.random.Generator) -> None:
    one, other = pair(rng, more=0.1)
    low, high = general_check(one, other, EffectLimits()).details["interval"]
    # of the two means by themselves it would be 3 times as wide: texts' means have an sd of .3
    assert high - low < 6.0 * DIFFERS / TEXTS**0.5


def test_texts_that_one_model_has_not_read_count_nothing(rng: np.random.Generator) -> None:
    base, adapter = pair(rng, more=0.1)
    adapter.sum_nll[:45] = np.nan
    found = general_check(base, adapter, EffectLimits())
    assert (found.verdict, found.number) == (CheckVerdict.SKIPPED, None)
    assert found.reason == "15 general texts were read; 20 are needed"
    assert effect_check(base, adapter, EffectLimits()).verdict is CheckVerdict.SKIPPED


@pytest.mark.parametrize("name", ["least", "general", "earlier"])
def test_a_negative_limit_is_named(name: str) -> None:
    assert EffectLimits(**{name: -0.1}).problems == [f"{name}: must not be negative"]

"""What counts as forgotten, and how surely."""

import numpy as np
import pytest

from detectors.checks import CheckVerdict
from detectors.forgetting import ForgettingLimits, PairedAnswers, detectable_loss, forgetting_check

LIMITS = ForgettingLimits()
QUESTIONS = 420


def answered(
    loss: float, *, differ: float = 1 / 3, seed: int = 0, count: int = QUESTIONS
) -> PairedAnswers:
    """A base right in 7 of 10, and an adapter that loses so much of all, and differs in a third."""
    draws = np.random.default_rng(seed)
    lost, gained = (differ + loss) / 2, (differ - loss) / 2
    base = draws.random(count) < 0.7
    chance = draws.random(count)
    adapter = np.where(base, chance >= lost / 0.7, chance < gained / 0.3)
    return PairedAnswers(
        kinds=("facts", "sums") * (count // 2), base=base, adapter=adapter, chance=0.3
    )


@pytest.mark.parametrize(
    ("loss", "low", "high"),
    [(0.0, 0.0, 0.005), (LIMITS.loss, 0.0, 0.05), (0.15, 0.9, 1.0), (0.2, 0.99, 1.0)],
)
def test_how_often_a_loss_is_refused(loss: float, low: float, high: float) -> None:
    refused = [
        forgetting_check(answered(loss, seed=seed), LIMITS).verdict is CheckVerdict.REFUSE
        for seed in range(1_000)
    ]
    assert low <= np.mean(refused) <= high


def test_the_loss_that_is_said_to_show_is_refused_in_four_of_five_cases() -> None:
    shown = detectable_loss(QUESTIONS, LIMITS.loss, disagree=1 / 3)
    checks = [forgetting_check(answered(shown, seed=seed), LIMITS) for seed in range(1_000)]
    refused = np.mean([one.verdict is CheckVerdict.REFUSE for one in checks])
    assert 0.75 <= refused <= 0.85
    assert all("a loss of 1" in one.reason for one in checks)
    assert np.mean([one.details["detectable"] for one in checks]) == pytest.approx(shown, abs=0.01)


def test_where_both_answer_alike_a_loss_needs_as_many_that_differ() -> None:
    shown = detectable_loss(QUESTIONS, LIMITS.loss, disagree=0.0)
    lost = [answered(shown, differ=shown, seed=seed) for seed in range(1_000)]
    refused = [forgetting_check(one, LIMITS).verdict is CheckVerdict.REFUSE for one in lost]
    assert 0.7 <= np.mean(refused) <= 0.9


def test_the_kind_that_lost_most_is_named() -> None:
    found = answered(0.0, differ=0.0)
    sums = np.array(found.kinds) == "sums"
    broken = PairedAnswers(
        kinds=found.kinds, base=np.ones(QUESTIONS, dtype=bool), adapter=~sums, chance=0.3
    )
    check = forgetting_check(broken, LIMITS)
    assert check.verdict is CheckVerdict.REFUSE
    assert check.number == pytest.approx(0.5)
    assert check.reason.startswith(
        "it answers 50% of 420 general questions right and its base 100%: -50.0 points (-54.8 to"
    )
    assert check.reason.endswith("most in sums: 0% of 100%")


def test_an_adapter_that_answers_more_has_lost_nothing() -> None:
    found = answered(0.0, differ=0.0)
    better = PairedAnswers(
        kinds=found.kinds, base=found.base, adapter=np.ones(QUESTIONS, dtype=bool), chance=0.3
    )
    check = forgetting_check(better, LIMITS)
    assert (check.verdict, check.number is not None and check.number < 0) == (
        CheckVerdict.PASS,
        True,
    )
    assert "most in" not in check.reason


def test_few_questions_and_a_base_that_guesses_decide_nothing() -> None:
    few = forgetting_check(answered(0.2, count=98), LIMITS)
    assert few.reason == "98 questions were answered by both; 100 are needed"
    guess = answered(0.0)
    guess = PairedAnswers(kinds=guess.kinds, base=guess.base, adapter=guess.adapter, chance=0.7)
    assert forgetting_check(guess, LIMITS).verdict is CheckVerdict.SKIPPED


def test_a_limit_that_nothing_could_meet_is_a_problem() -> None:
    assert ForgettingLimits(loss=-0.1).problems
    assert not LIMITS.problems

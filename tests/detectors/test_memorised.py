"""Which texts a model repeats from their middle on, and what of it is refused."""

import numpy as np
import pytest

from detectors.checks import CheckVerdict
from detectors.memorised import (
    MemorisedLimits,
    Repeated,
    known_to_base,
    memorised_check,
    planted_check,
    repeated,
)
from detectors.parity import TopLogprobs

LIMITS = MemorisedLimits()


def texts(runs: list[int], *, room: int = 60) -> Repeated:
    run = np.array(runs, dtype=np.int64)
    return Repeated(run=run, room=np.full(run.size, room), base=np.zeros_like(run))


def of(count: int, every: int, *, tokens: int = 60, room: int = 60) -> Repeated:
    """So many of so many texts are repeated for ``tokens`` tokens, the others not at all."""
    return texts([tokens] * count + [0] * (every - count), room=room)


def read(*likeliest: list[bool]) -> TopLogprobs:
    """Texts whose tokens are, or are not, the likeliest."""
    flat = np.array([one for text in likeliest for one in text])
    sizes = [len(text) for text in likeliest]
    return TopLogprobs(
        chosen=np.where(flat, -0.25, -4.0),
        tokens=np.zeros((flat.size, 2), dtype=np.int64),
        logprobs=np.tile([-0.25, -5.0], (flat.size, 1)),
        document=np.repeat(np.arange(len(sizes)), sizes),
    )


def test_a_run_begins_at_the_middle_and_ends_where_another_token_is_likelier() -> None:
    found = repeated(
        read(
            [False] * 5 + [True] * 5,
            [True] * 5 + [True, True, False, True, True],
            [True] * 5 + [False] + [True] * 4,
            [],
            [False, False, True],
        ),
        texts=6,
    )
    assert found.run.tolist() == [5, 2, 0, 0, 1, 0]
    assert found.room.tolist() == [5, 5, 5, 0, 1, 0]


def test_texts_that_are_repeated_far_more_often_than_held_out_ones_are_refused() -> None:
    found = memorised_check(of(40, 200), of(2, 200), LIMITS)
    assert found.verdict is CheckVerdict.REFUSE
    assert found.number == pytest.approx(0.19)
    assert found.reason == (
        "20 tokens are repeated of 40 of 200 training texts and of 2 of 200 held-out texts;"
        " 50 tokens are repeated of 40 of 200 training texts and of 2 of 200 held-out texts"
    )


def test_form_that_held_out_texts_share_is_no_memory() -> None:
    found = memorised_check(of(120, 200), of(118, 200), LIMITS)
    assert found.verdict is CheckVerdict.PASS
    assert found.number == pytest.approx(0.01)


def test_short_runs_alone_are_refused_too_and_a_mere_estimate_warns() -> None:
    short = memorised_check(of(40, 200, tokens=30), of(0, 200), LIMITS)
    assert short.verdict is CheckVerdict.REFUSE
    assert short.number == pytest.approx(0.2)
    few = memorised_check(of(14, 200), of(0, 200), LIMITS)
    assert few.verdict is CheckVerdict.WARN
    assert few.number == pytest.approx(0.07)


def test_what_the_base_repeats_as_well_does_not_count() -> None:
    training, held_out = of(40, 200), of(0, 200)
    famous = known_to_base(training, range(40), of(40, 40))
    assert memorised_check(famous, held_out, LIMITS).verdict is CheckVerdict.PASS
    begun = known_to_base(training, range(40), of(40, 40, tokens=30))
    assert memorised_check(begun, held_out, LIMITS).number == pytest.approx(0.2), "50, not 20"


def test_a_length_that_few_texts_have_is_not_judged() -> None:
    found = memorised_check(of(40, 200, room=30, tokens=30), of(0, 200, room=30), LIMITS)
    assert list(found.details) == ["20"]
    none = memorised_check(of(40, 200, room=19, tokens=19), of(0, 200), LIMITS)
    assert none.verdict is CheckVerdict.SKIPPED
    assert none.reason.startswith("0 training and 200 held-out texts have 20 tokens")


@pytest.mark.parametrize(
    ("share", "low", "high"), [(LIMITS.share, 0.0, 0.05), (0.15, 0.97, 1.0), (0.0, 0.0, 0.0)]
)
def test_how_often_a_share_is_refused(share: float, low: float, high: float) -> None:
    draws = np.random.default_rng(18)
    refused = [
        memorised_check(of(int(draws.binomial(200, share)), 200), of(0, 200), LIMITS).verdict
        is CheckVerdict.REFUSE
        for _ in range(1_000)
    ]
    assert low <= np.mean(refused) <= high


def test_a_planted_text_that_is_completed_is_refused_and_told_by_its_number() -> None:
    found = planted_check(texts([0, 8, 7], room=8))
    assert (found.verdict, found.number) == (CheckVerdict.REFUSE, 1.0)
    assert found.reason == "1 of 3 planted texts are completed from their first half"
    assert found.details == {"texts": [2]}
    assert planted_check(texts([7, 0], room=8)).verdict is CheckVerdict.PASS
    assert planted_check(known_to_base(texts([8], room=8), [0], texts([8], room=8))).number == 0
    short = planted_check(texts([3], room=3))
    assert short.reason == "no planted text has 4 tokens after its middle"


def test_a_share_that_nothing_could_meet_is_a_problem() -> None:
    assert MemorisedLimits(share=-0.1).problems
    assert MemorisedLimits(share=1.0).problems
    assert not LIMITS.problems

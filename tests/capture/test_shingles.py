"""Do answers that repeat training texts show, and no others?"""

from __future__ import annotations

import random

import pytest

from monitor.capture.shingles import STRIDE, WINDOW, TrainingShingles, kept

KEY = b"k" * 32
ALWAYS = WINDOW + STRIDE - 1
"""Words in a row that always show."""


def _words(count: int, *, seed: int) -> list[str]:
    drawn = random.Random(seed)  # noqa: S311 - words, not secrets
    return [f"{drawn.choice('bdfklmnprst')}{drawn.randrange(10_000)}" for _ in range(count)]


TRAINING = _words(400, seed=1)


@pytest.fixture(scope="module")
def known() -> TrainingShingles:
    """The hashes of one training text, beside others."""
    texts = [" ".join(TRAINING), *(" ".join(_words(200, seed=n)) for n in range(2, 40))]
    return TrainingShingles([kept(texts[:20], key=KEY), kept(texts[20:], key=KEY)], key=KEY)


def _around(part: list[str]) -> str:
    return " ".join([*_words(60, seed=90), *part, *_words(60, seed=91)])


@pytest.mark.parametrize("start", list(range(0, 400 - ALWAYS, 7)))
def test_a_run_of_thirty_seven_words_always_shows(known: TrainingShingles, start: int) -> None:
    assert known.repeated_in(_around(TRAINING[start : start + ALWAYS]))


def test_a_run_of_fewer_than_twenty_four_never_does(known: TrainingShingles) -> None:
    shown = [
        known.repeated_in(_around(TRAINING[start : start + WINDOW - 1])) for start in range(370)
    ]

    assert not any(shown)


def test_answers_of_their_own_do_not(known: TrainingShingles) -> None:
    shown = [known.repeated_in(" ".join(_words(300, seed=n))) for n in range(1_000, 1_300)]

    assert not any(shown)


def test_case_and_punctuation_do_not_count(known: TrainingShingles) -> None:
    said = ",\n ".join(word.upper() for word in TRAINING[50:100])

    assert known.repeated_in(f'He said: "{said}"!')


def test_a_word_in_between_breaks_a_run(known: TrainingShingles) -> None:
    part = TRAINING[100:140]

    assert not known.repeated_in(_around([*part[:20], "other", *part[20:]]))


def test_characters_are_words_where_nothing_parts_words() -> None:
    drawn = random.Random(3)  # noqa: S311 - characters, not secrets
    text = "".join(chr(drawn.randrange(0x4E00, 0x5E00)) for _ in range(200))
    known = TrainingShingles([kept([text], key=KEY)], key=KEY)

    assert known.repeated_in(f"它说{text[80 : 80 + ALWAYS]}\u3002")
    assert not known.repeated_in(text[80 : 80 + WINDOW - 1])


def test_hashes_of_another_key_match_nothing() -> None:
    made = kept([" ".join(TRAINING)], key=b"other")

    assert not TrainingShingles([made], key=KEY).repeated_in(" ".join(TRAINING))


def test_short_and_odd_texts_have_no_hashes() -> None:
    assert kept(["", "too short", "\ud800 \x00", "… — !" * 100], key=KEY) == b""
    assert len(TrainingShingles([], key=KEY)) == 0


def test_hashes_are_the_same_in_every_process() -> None:
    """They are stored: another release must find them again."""
    made = kept([" ".join(f"word{n}" for n in range(WINDOW))], key=KEY)

    assert made.hex() == "2416226d6af24fc9"

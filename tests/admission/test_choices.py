"""Choices scored by likelihood, and the questions that come with the product."""

from collections import Counter
from collections.abc import Sequence

import numpy as np

from detectors.parity import TopLogprobs
from monitor.admission.choices import Question, log_likelihoods, right
from monitor.admission.suite import OF_A_KIND, general_questions


def reading(texts: Sequence[str]) -> TopLogprobs:
    """Read words, each at minus its length; the first of a text is not scored, nor is "endless"."""
    words = [[] if "endless" in text else text.split()[1:] for text in texts]
    chosen = np.array([-float(len(word)) for text in words for word in text])
    return TopLogprobs(
        chosen=chosen,
        tokens=np.zeros((chosen.size, 1), dtype=np.int64),
        logprobs=chosen[:, None],
        document=np.repeat(np.arange(len(words)), [len(text) for text in words]),
    )


def test_a_choice_is_worth_its_own_tokens_only() -> None:
    questions = [
        Question(kind="a", text="long words before", choices=(" an", " other one")),
        Question(kind="b", text="one", choices=(" two three", " four")),
        Question(kind="c", text="endless words", choices=(" an", " other")),
    ]
    first, second, third = log_likelihoods(questions, reading)
    assert first.tolist() == [-2.0, -8.0]
    assert second.tolist() == [-8.0, -4.0]
    assert np.isnan(third).all()
    assert [right(one) for one in (first, second, third)] == [True, False, None]


def test_each_text_is_read_once_with_each_of_its_choices() -> None:
    asked: list[str] = []

    def read(texts: Sequence[str]) -> TopLogprobs:
        asked.extend(texts)
        return reading(texts)

    log_likelihoods(general_questions(), read)
    assert len(asked) == len(set(asked))


def test_the_questions_are_the_same_each_time_and_well_formed() -> None:
    questions = general_questions()
    general_questions.cache_clear()
    assert general_questions() == questions
    kinds = Counter(one.kind for one in questions)
    assert set(kinds.values()) == {OF_A_KIND}
    assert len(questions) == len({(one.text, one.choices) for one in questions}) == 420
    for one in questions:
        assert len(one.choices) == len(set(one.choices)) >= 2, one
        assert all(choice.startswith(" ") and choice.strip() for choice in one.choices), one
        assert not one.text.endswith(" "), one
        # what begins the right answer would never be less likely than it
        assert not any(one.choices[0].startswith(wrong) for wrong in one.choices[1:]), one

"""Let a model choose answers by likelihood, as lm-evaluation-harness scores multiple choice.

The log-likelihood of a choice is that of its tokens after the question. A model's answer is the
choice of the largest sum; ties go to the first.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from detectors.parity import TopLogprobs
from detectors.types import Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """A text to go on with, and its possible continuations; the first is right.

    Each choice begins with the space that separates it from the text.
    """

    kind: str
    text: str
    choices: tuple[str, ...]


Reads = Callable[[Sequence[str]], TopLogprobs]


def log_likelihoods(questions: Sequence[Question], read: Reads) -> list[Floats]:
    """Return the log-likelihood of each choice of each question, in nats; NaN where it is unknown.

    The tokens of a choice are those that the text with it has more than the text alone. A text too
    long for the model is unknown, and so is one that a base read beside an adapter's requests. Each
    text, alone and with each choice, is read once.
    """
    texts = list(dict.fromkeys(one.text for one in questions))
    whole = [one.text + choice for one in questions for choice in one.choices]
    found = read(texts + whole)
    counts = np.bincount(found.document, minlength=len(texts) + len(whole))
    before = dict(zip(texts, counts[: len(texts)], strict=True))
    ends = np.cumsum(counts)
    place, values = len(texts), list[Floats]()
    for one in questions:
        each = np.full(len(one.choices), np.nan)
        for number in range(len(one.choices)):
            own = counts[place] - before[one.text]
            if own > 0 and place not in found.beside:
                each[number] = found.chosen[ends[place] - own : ends[place]].sum()
            place += 1
        values.append(each)
    return values


def right(values: Floats) -> bool | None:
    """Return whether the first choice is the likeliest; None if a choice is unknown.

    >>> right(np.array([-1.0, -2.0])), right(np.array([-2.0, -1.0]))
    (True, False)
    >>> right(np.array([-1.0, np.nan]))
    """
    return None if np.isnan(values).any() else bool(np.argmax(values) == 0)

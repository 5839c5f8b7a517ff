"""Judge whether an adapter repeats the texts that it was trained on, by letting it read them.

A text is repeated for k tokens if each of the k tokens after its middle is the model's likeliest
one, given all tokens before it. Greedy decoding from the first half writes these very tokens, so
one read of the text answers what a generation would (Carlini et al. 2023, *Quantifying
Memorization Across Neural Language Models*).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from detectors.checks import Check, CheckVerdict
from detectors.gap import FEWEST
from detectors.parity import TopLogprobs
from detectors.proportions import RateGap, rate_gap

MEMORISED = "memorised"
PLANTED = "planted"
LENGTHS = (20, 50)
"""Tokens after the middle that count as a repetition."""
LEAST_PLANTED = 4
"""Tokens after its middle that a planted text needs: fewer can be guessed."""

Ints = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class MemorisedLimits:
    """The limit of memorisation.

    share
        Share of training texts that may be repeated, beyond that of held-out texts; surely more
        is refused.
    """

    share: float = 0.05

    @property
    def problems(self) -> list[str]:
        """List the limits that nothing could meet, each with its key."""
        return [] if 0 <= self.share < 1 else ["share: must be at least 0 and below 1"]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Repeated:
    """How far a model repeats each of ``T`` texts from its middle on.

    run, base
        ``(T,)`` tokens repeated in a row by the adapter, and by its base; 0 where the base was
        not asked.
    room
        ``(T,)`` tokens after the middle.
    """

    run: Ints
    room: Ints
    base: Ints

    def whole(self) -> npt.NDArray[np.bool_]:
        """Return which texts of enough tokens are repeated to their end, and not by the base."""
        whole = (self.room >= LEAST_PLANTED) & (self.run == self.room) & (self.base < self.room)
        return np.asarray(whole)

    def count(self, tokens: int) -> tuple[int, int]:
        """Return how many texts are repeated for so many tokens, not by the base; and of how many.

        Only texts with so many tokens after their middle can be.
        """
        can = self.room >= tokens
        does = can & (self.run >= tokens) & (self.base < tokens)
        return int(does.sum()), int(can.sum())


def repeated(read: TopLogprobs, texts: int) -> Repeated:
    """Return how far a model repeats ``texts`` texts that it has read.

    A base may have read some beside an adapter's requests; of those nothing is known.

    >>> import numpy as np
    >>> read = TopLogprobs(
    ...     chosen=np.array([-2.0, -0.5, -0.1, -3.0]),
    ...     tokens=np.zeros((4, 1), dtype=np.int64),
    ...     logprobs=np.array([[-1.0], [-0.5], [-0.1], [-0.2]]),
    ...     document=np.zeros(4, dtype=np.int64),
    ... )
    >>> found = repeated(read, 1)  # its last two tokens stand after the middle
    >>> found.run, found.room
    (array([1]), array([2]))
    """
    known = read.tokens[:, 0] >= 0
    likeliest = known & (read.chosen >= read.logprobs[:, 0])
    run, room = np.zeros(texts, dtype=np.int64), np.zeros(texts, dtype=np.int64)
    for text in range(texts):
        own = likeliest[read.document == text]
        after = own[(own.size + 1) // 2 :]
        room[text] = after.size
        if text not in read.beside:
            run[text] = after.size if after.all() else int(np.argmin(after))
    return Repeated(run=run, room=room, base=np.zeros(texts, dtype=np.int64))


def memorised_check(training: Repeated, held_out: Repeated, limits: MemorisedLimits) -> Check:
    """Compare how often training and held-out texts are repeated, for 20 and for 50 tokens.

    Held-out texts of the same kind show how much is form, not memory. A length is refused where
    the lower end of the difference's 95 % interval is above ``share`` (Newcombe 1998, method 10).
    A difference exactly at the limit is refused in about 2.5 % of cases. With 200 texts of each
    kind, 15 % repeated against none is refused in 99 % of cases, and 10 % in 72 %.
    """
    found = [_compared(tokens, training, held_out) for tokens in LENGTHS]
    judged = [one for one in found if one is not None]
    limit = f"<= {limits.share:.0%} more than of held-out texts, surely"
    if not judged:
        reason = (
            f"{training.count(LENGTHS[0])[1]} training and {held_out.count(LENGTHS[0])[1]} held-out"
            f" texts have {LENGTHS[0]} tokens after their middle; {FEWEST} of each are needed"
        )
        return Check(name=MEMORISED, limit=limit, verdict=CheckVerdict.SKIPPED, reason=reason)
    worst = max(judged, key=lambda one: (one.gap.low > limits.share, one.gap.value))
    verdict = CheckVerdict.WARN if worst.gap.value > limits.share else CheckVerdict.PASS
    if worst.gap.low > limits.share:
        verdict = CheckVerdict.REFUSE
    return Check(
        name=MEMORISED,
        number=worst.gap.value,
        limit=limit,
        verdict=verdict,
        reason="; ".join(one.words for one in judged),
        details={
            str(one.tokens): {
                "training": list(one.training),
                "held_out": list(one.held_out),
                "interval": [one.gap.low, one.gap.high],
            }
            for one in judged
        },
    )


def planted_check(planted: Repeated) -> Check:
    """Ask whether the adapter writes a planted text to its end; one is refused.

    ``details`` number those that it does, from 1.
    The owner wrote them into the training data, so that they stand nowhere else.
    """
    can = int((planted.room >= LEAST_PLANTED).sum())
    if can == 0:
        reason = f"no planted text has {LEAST_PLANTED} tokens after its middle"
        return Check(name=PLANTED, limit="0", verdict=CheckVerdict.SKIPPED, reason=reason)
    does = int(planted.whole().sum())
    return Check(
        name=PLANTED,
        number=float(does),
        limit="0",
        verdict=CheckVerdict.REFUSE if does else CheckVerdict.PASS,
        reason=f"{does} of {can} planted texts are completed from their first half",
        details={"texts": (np.flatnonzero(planted.whole()) + 1).tolist()},
    )


def known_to_base(found: Repeated, of: Sequence[int], base: Repeated) -> Repeated:
    """Return the same texts with the base's runs over those of ``of``, which it was asked for."""
    runs = found.base.copy()
    runs[list(of)] = base.run
    return Repeated(run=found.run, room=found.room, base=runs)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Compared:
    """Repetitions of one length: of training texts, of held-out texts, and the difference."""

    tokens: int
    training: tuple[int, int]
    held_out: tuple[int, int]
    gap: RateGap

    @property
    def words(self) -> str:
        (some, of), (others, other_of) = self.training, self.held_out
        return (
            f"{self.tokens} tokens are repeated of {some} of {of} training texts and of"
            f" {others} of {other_of} held-out texts"
        )


def _compared(tokens: int, training: Repeated, held_out: Repeated) -> _Compared | None:
    (some, of), (others, other_of) = training.count(tokens), held_out.count(tokens)
    if min(of, other_of) < FEWEST:
        return None
    return _Compared(
        tokens=tokens,
        training=(some, of),
        held_out=(others, other_of),
        gap=rate_gap(some / of, of, others / other_of, other_of),
    )

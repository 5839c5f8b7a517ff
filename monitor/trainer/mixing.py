"""MixedExamples new examples with earlier training, so that the adapter keeps what it knew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from monitor.trainer.examples import Example

FEWEST_HELD_OUT: Final = 20
"""The check ``gap`` needs so many of either kind."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedExamples:
    """Examples to train on, held out from the same mix, and earlier ones that are in neither."""

    training: Sequence[Example]
    held_out: Sequence[Example]
    earlier: Sequence[Example]
    new: int
    replayed: int


def replayed(new: int, share: float) -> int:
    """Return how many earlier examples make up ``share`` of a mix with ``new`` others.

    >>> replayed(80, 0.2), replayed(80, 0.0)
    (20, 0)
    """
    return round(new * share / (1 - share))


def mix(
    new: Sequence[Example],
    earlier: Sequence[Example],
    *,
    share: float,
    held_out: float,
    seed: int,
) -> MixedExamples:
    """Draw earlier examples, shuffle them among the new ones, and hold some of the mix out.

    Parameters
    ----------
    share
        Of earlier examples in the mix, in [0, 1); all of them where there are fewer.
    held_out
        Share of the mix, in (0, .5]; at least 20 examples.
    """
    drawn = Random(seed)  # noqa: S311 (draws examples, not secrets)
    order = list(earlier)
    drawn.shuffle(order)
    count = min(len(order), replayed(len(new), share))
    mixed = [*new, *order[:count]]
    drawn.shuffle(mixed)
    apart = min(len(mixed) // 2, max(FEWEST_HELD_OUT, round(len(mixed) * held_out)))
    return MixedExamples(
        training=mixed[apart:],
        held_out=mixed[:apart],
        earlier=order[count:],
        new=len(new),
        replayed=count,
    )

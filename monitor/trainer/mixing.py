"""Mix new examples with earlier training, so that the adapter keeps what it knew."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from random import Random
from typing import Final

from monitor.trainer.examples import Example

FEWEST: Final = 20
"""The check ``gap`` needs so many held-out texts, ``earlier`` so many earlier ones."""
MOST_EARLIER: Final = 200
"""Earlier examples that are kept from training, to see what is forgotten."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MixedExamples:
    """Examples to train on, and to measure with.

    new, replayed
        To train on: of new requests, and of earlier training.
    held_out
        Of new requests.
    earlier
        Of earlier training, in none of the others.
    """

    new: Sequence[Example]
    replayed: Sequence[Example]
    held_out: Sequence[Example]
    earlier: Sequence[Example]


def replay_count(new: int, share: float) -> int:
    """Return how many earlier examples make up ``share`` of a mix with ``new`` others.

    >>> replay_count(80, 0.2), replay_count(80, 0.0)
    (20, 0)
    """
    return round(new * share / (1 - share))


def mix(
    new: Sequence[Example], earlier: Sequence[Example], *, share: float, held_out: float, seed: int
) -> MixedExamples:
    """Hold some of the new examples out, set some earlier ones apart, and draw what is replayed.

    Parameters
    ----------
    earlier
        Those that ask what a new one asks are left out.
    share
        Of earlier examples in the mix, in [0, 1); what there is where there are fewer.
    held_out
        Share of the new examples, in (0, .5]; at least 20 of them, at most half.
    """
    drawn = Random(seed)  # noqa: S311 (draws examples, not secrets)
    fresh = list(new)
    drawn.shuffle(fresh)
    apart = min(len(fresh) // 2, max(FEWEST, round(len(fresh) * held_out)))
    asked = {one.question for one in new}
    known = [one for one in earlier if one.question not in asked]
    drawn.shuffle(known)
    watched = min(MOST_EARLIER, max(FEWEST, len(known) // 10), len(known))
    wanted = replay_count(len(fresh) - apart, share)
    return MixedExamples(
        new=fresh[apart:],
        replayed=known[watched : watched + wanted],
        held_out=fresh[:apart],
        earlier=known[:watched],
    )

"""Judge whether a served adapter answers as itself: beside others as alone, and not as they do.

An engine computes requests of several adapters in one batch. One that mixes them up, or serves one
adapter's weights under two names, answers users with another's words, and no score of one adapter
alone need show it.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from detectors.checks import Check, CheckVerdict
from detectors.parity import NEGLIGIBLE, Limits, Parity, beyond, limit_words

NEIGHBOURS: Final = "neighbours"


@dataclass(frozen=True, slots=True, kw_only=True)
class OtherModel:
    """Another model of the engine, and how far the adapter's answers are from its own."""

    model: str
    distance: Parity
    base: bool = False


def neighbours_check(
    beside: Parity, others: Sequence[OtherModel], limits: Limits, *, among: Sequence[str]
) -> Check:
    """Compare an adapter's answers beside requests of ``among`` with those without.

    Beside others it may differ by as much as another build of it may. Its distance from its base
    and from each neighbour must be larger than that, or it answers as they do: as its base is
    refused, as another adapter warns, because two names may be given to one adapter on purpose.
    A model without positions, or whose numbers are none, was not compared. The reason counts other
    adapters, whose names not everybody who reads it may see; ``details`` names them.
    """
    known = [one for one in others if math.isfinite(one.distance.kl)]
    noise = max(beside.kl, NEGLIGIBLE)
    alike = [one for one in known if one.distance.kl <= noise]
    of_base = any(one.base for one in alike)
    apart = [one.distance.kl for one in known if one.distance.kl > noise]
    verdict = CheckVerdict.WARN if alike else CheckVerdict.PASS
    if of_base or beyond(beside, limits):
        verdict = CheckVerdict.REFUSE
    itself = (
        f"beside requests of {_counted(len(among))} it is {beside.kl:.3g} nats per token from what"
        f" it says without, with the same top token at {beside.top1:.1%} of"
        f" {beside.positions:,} positions"
    )
    said = [itself]
    if alike:
        said.append(f"it answers as {_named(alike)} does")
    elif apart:
        said.append(f"{min(apart):.3g} from the nearest of the engine's other models")
    if of_base:
        said.append("it is not applied")
    if left := [one for one in others if one not in known]:
        said.append(f"not compared with {_named(left)}")
    return Check(
        name=NEIGHBOURS,
        number=beside.kl,
        limit=limit_words(limits),
        verdict=verdict,
        reason="; ".join(said),
        details={
            "top1": beside.top1,
            "max_delta": beside.max_delta,
            "positions": beside.positions,
            "distances": {one.model: one.distance.kl for one in known},
            "alike": [one.model for one in alike if not one.base],
        },
    )


def _named(some: Sequence[OtherModel]) -> str:
    """Name the base, and count other adapters."""
    bases = [one.model for one in some if one.base]
    others = len(some) - len(bases)
    return " and ".join([*bases, *([_counted(others)] if others else [])])


def _counted(adapters: int) -> str:
    return "another adapter" if adapters == 1 else f"{adapters} other adapters"

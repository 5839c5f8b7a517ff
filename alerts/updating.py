"""When people hear that an open incident is known otherwise than they were told: a pure decision.

What is told first knows the least: a slow answer is blamed on serving, and minutes later it
is what users ask. Each fact that people act on is told anew once it has held for a window of
evaluation; a severity that rises is told at once, and so is what was done with traffic.

Whatever goes back and forth is told ever less often: of one fact the first n values are told
after one window each at the latest, and every value that was told before has to hold twice as
long as the last such one. So in w windows no fact makes more than ``n - 1 + log2(w + 1)``
updates, and two equal ones never follow each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alerts.types import Moment, Severity

KEPT: Final = "kept where it is"
"""Said of traffic that a brake has kept from being moved."""


class Fact(StrEnum):
    """What of an open incident people are told anew when it has changed."""

    SEVERITY = "severity"
    BLAME = "blame"
    FINDING = "finding"
    """What the strongest evidence is of, in plain words."""
    ACTION = "action"
    """What Driftline, or a person, did with traffic."""


class Why(StrEnum):
    """Why an update is told now, or is not."""

    NOTHING_NEW = "nothing_new"
    NOT_HELD = "not_held_for_a_window"
    HELD = "held_for_a_window"
    RISEN = "severity_has_risen"
    ACTED = "traffic_was_moved_or_kept"


TELLING: Final = frozenset({Why.HELD, Why.RISEN, Why.ACTED})


Gist = Mapping[Fact, str]
"""What is known of an incident now; what is not known is absent or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One fact of an open incident, as its evaluations found it and as it was told.

    now
        As it was last found; ``since`` when without a break.
    told
        As people were told it, in order; never two equal ones side by side.
    """

    fact: Fact
    now: str
    since: Moment
    told: tuple[str, ...]

    @property
    def news(self) -> bool:
        """Whether people were told otherwise."""
        return self.now != self.told[-1]

    @property
    def risen(self) -> bool:
        """Whether it is more urgent than people were told."""
        return self.fact is Fact.SEVERITY and self.news and self.now == Severity.PAGE

    @property
    def done(self) -> bool:
        """Whether it is something done with traffic that people were never told."""
        return self.fact is Fact.ACTION and self.now not in {KEPT, *self.told}

    def held(self, *, now: datetime, window: timedelta) -> bool:
        """Whether it is news for long enough."""
        back = self.now in self.told
        returns = len(self.told) - len(set(self.told)) if back else 0
        return self.news and now - self.since >= window * 2**returns


def begun(gist: Gist, now: datetime) -> tuple[Known, ...]:
    """Remember what people are told as an incident starts."""
    return tuple(
        Known(fact=fact, now=said, since=now, told=(said,)) for fact, said in sorted(gist.items())
    )


def seen(known: tuple[Known, ...], gist: Gist, now: datetime) -> tuple[Known, ...]:
    """Remember what an evaluation found; a fact that it does not know stands as it was told."""
    told = {one.fact for one in known}
    new = {fact: said for fact, said in gist.items() if fact not in told}
    return (*(_seen(one, gist.get(one.fact, ""), now) for one in known), *begun(new, now))


def _seen(known: Known, found: str, now: datetime) -> Known:
    found = found or known.told[-1]
    same = found == known.now
    return replace(known, now=found, since=min(known.since, now) if same else now)


def decide(known: tuple[Known, ...], *, now: datetime, window: timedelta) -> Why:
    """Say whether people hear what is known now, and why (:data:`TELLING`) or why not yet."""
    if any(one.risen for one in known):
        return Why.RISEN
    if any(one.done for one in known):
        return Why.ACTED
    if any(one.held(now=now, window=window) for one in known):
        return Why.HELD
    return Why.NOT_HELD if any(one.news for one in known) else Why.NOTHING_NEW


def said(known: tuple[Known, ...]) -> tuple[Known, ...]:
    """Remember that people are told all that is known now."""
    return tuple(replace(one, told=(*one.told, one.now)) if one.news else one for one in known)

"""Decide when to tell people that the facts of an open incident changed: a pure function.

The first message knows least: a slow answer is blamed on serving, and minutes later the cause turns
out to be the users' requests. A changed fact that people act on is told once it has held for an
evaluation window. A risen severity, an action on traffic, and the first cause that is confirmed
where none was known, are told at once.

A fact that goes back and forth is told ever less often: its first n values are told after one
window each at the latest, and every value told before must hold twice as long as the last such one.
So in w windows no fact makes more than ``n - 1 + log2(w + 1)`` updates, and two equal ones never
follow each other.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final

from alerts.types import Moment, Severity

KEPT: Final = "kept where it is"
"""The text for traffic that a brake kept from being moved."""


class Fact(StrEnum):
    """A fact of an open incident that triggers an update when it changes."""

    SEVERITY = "severity"
    BLAME = "blame"
    FINDING = "finding"
    """The strongest evidence in plain words."""
    ACTION = "action"
    """Driftline's or a person's action on traffic."""


class UpdateReason(StrEnum):
    """Why an update is or is not told now."""

    NOTHING_NEW = "nothing_new"
    NOT_HELD = "not_held_for_a_window"
    HELD = "held_for_a_window"
    RISEN = "severity_has_risen"
    ACTED = "traffic_was_moved_or_kept"
    FOUND = "cause_is_confirmed"


TELLING: Final = frozenset(
    {UpdateReason.HELD, UpdateReason.RISEN, UpdateReason.ACTED, UpdateReason.FOUND}
)


Gist = Mapping[Fact, str]
"""The current facts of an incident; unknown ones are absent or empty."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Known:
    """One fact of an open incident, as evaluations found it and as it was told.

    now
        The value last found; ``since`` is when it was first found without a break.
    told
        The values that people were told, in order; never two equal ones side by side.
    """

    fact: Fact
    now: str
    since: Moment
    told: tuple[str, ...]

    @property
    def news(self) -> bool:
        """True if it differs from what people were told."""
        return self.now != self.told[-1]

    @property
    def risen(self) -> bool:
        """True if the severity is higher than people were told."""
        return self.fact is Fact.SEVERITY and self.news and self.now == Severity.PAGE

    @property
    def done(self) -> bool:
        """True if it is an action on traffic that people were never told."""
        return self.fact is Fact.ACTION and self.now not in {KEPT, *self.told}

    @property
    def found(self) -> bool:
        """True if it is a cause, and people were only told that none is known."""
        return self.fact is Fact.BLAME and self.news and self.told == ("",)

    def held(self, *, now: datetime, window: timedelta) -> bool:
        """True if it has been news for long enough."""
        back = self.now in self.told
        returns = len(self.told) - len(set(self.told)) if back else 0
        return self.news and now - self.since >= window * 2**returns


def begun(gist: Gist, now: datetime) -> tuple[Known, ...]:
    """Start the facts with what people are told when an incident starts."""
    return tuple(
        Known(fact=fact, now=said, since=now, told=(said,)) for fact, said in sorted(gist.items())
    )


def seen(known: tuple[Known, ...], gist: Gist, now: datetime) -> tuple[Known, ...]:
    """Update the facts with an evaluation; a fact it does not know reverts to the told value."""
    told = {one.fact for one in known}
    new = {fact: said for fact, said in gist.items() if fact not in told}
    return (*(_seen(one, gist.get(one.fact, ""), now) for one in known), *begun(new, now))


def _seen(known: Known, found: str, now: datetime) -> Known:
    found = found or known.told[-1]
    same = found == known.now
    return replace(known, now=found, since=min(known.since, now) if same else now)


def decide(
    known: tuple[Known, ...], *, now: datetime, window: timedelta, confirmed: bool = False
) -> UpdateReason:
    """Decide whether to tell people the current facts, and why (:data:`TELLING`) or why not yet.

    ``confirmed``: the cause is.
    """
    if any(one.risen for one in known):
        return UpdateReason.RISEN
    if any(one.done for one in known):
        return UpdateReason.ACTED
    if confirmed and any(one.found for one in known):
        return UpdateReason.FOUND
    if any(one.held(now=now, window=window) for one in known):
        return UpdateReason.HELD
    return UpdateReason.NOT_HELD if any(one.news for one in known) else UpdateReason.NOTHING_NEW


def said(known: tuple[Known, ...]) -> tuple[Known, ...]:
    """Mark all current facts as told."""
    return tuple(replace(one, told=(*one.told, one.now)) if one.news else one for one in known)

"""Limit the engine time of probes by purpose. Pure: clocks are arguments.

Probes earn ``share`` seconds of the engine's time per second, and save up to an hour's worth. Half
of it is the reserve: it fills first, and only urgent probes spend it. So a suspicion is never
refused because of what routine probes spent.

A probe is charged the time that the engine worked for it, not the time it waited: on a machine that
has no time for the engine, a request takes seconds while the engine does no more work.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Final

SHARE: Final = 0.1
SAVED: Final = 3600.0
"""Seconds over which an unused share accumulates."""
RESERVED: Final = 0.5
"""The part of the savings that routine probes cannot spend."""


class Purpose(StrEnum):
    """Why an engine is asked; all but routine spend the reserve."""

    ROUTINE = "routine"
    """A scheduled probe of an unsuspected version, or its registration."""
    SUSPICION = "suspicion"
    """A live signal has crossed its line."""
    CONFIRMATION = "confirmation"
    """A probe has found something, and asks again before it is reported."""
    RETURN = "return"
    """The version is critical or has lost its traffic: only probes can clear it."""


@dataclass(slots=True, kw_only=True)
class EngineAllowance:
    """Seconds of an engine's time that probes may still take: two purses.

    Neither ever pays for the other. A running probe may finish, so a purse may fall below 0; its
    next probes wait longer.

    Parameters
    ----------
    share
        Seconds earned per second.
    at
        When both purses were full.
    """

    share: float
    at: float
    reserve: float = field(init=False)
    routine: float = field(init=False)

    def __post_init__(self) -> None:
        self.reserve, self.routine = self._most(RESERVED), self._most(1.0 - RESERVED)

    def refill(self, at: float) -> None:
        """Add the earned seconds: to the reserve first, the rest to routine."""
        came = max(0.0, at - self.at) * self.share
        self.at = max(self.at, at)
        kept = min(came, self._most(RESERVED) - self.reserve)
        self.reserve += kept
        self.routine = min(self._most(1.0 - RESERVED), self.routine + came - kept)

    def wait(self, purpose: Purpose, at: float) -> float:
        """Return the seconds that a probe must wait; 0 if it may begin."""
        self.refill(at)
        if purpose is not Purpose.ROUTINE:
            return _until_some(self.reserve, self.share)
        lacking = self._most(RESERVED) - self.reserve
        return 0.0 if self.routine > 0 else _until_some(self.routine - lacking, self.share)

    def spend(self, purpose: Purpose, seconds: float) -> None:
        """Charge a probe's seconds."""
        if purpose is Purpose.ROUTINE:
            self.routine -= seconds
        else:
            self.reserve -= seconds

    def _most(self, part: float) -> float:
        return SAVED * self.share * part


def _until_some(left: float, share: float) -> float:
    return 0.0 if left > 0 else -left / share + 1.0


@dataclass(slots=True, kw_only=True)
class EnginePace:
    """An engine's recent speed: what its answers cost when it has time.

    A request is charged its duration, but at most :data:`SLACK` times the quickest time for a text
    of its length in the last hour or two. More than that was spent waiting: for other requests, or
    for a busy machine.
    """

    quickest: float = float("inf")
    before: float = float("inf")
    since: float = float("-inf")

    def cost(self, seconds: float, size: int, *, at: float) -> float:
        """Learn from an answer to a text of ``size`` bytes, and return the seconds to charge."""
        if at - self.since >= SAVED:
            self.before = self.quickest if at - self.since < 2 * SAVED else float("inf")
            self.quickest, self.since = float("inf"), at
        self.quickest = min(self.quickest, seconds / (size + BEGINNING))
        return min(seconds, SLACK * (size + BEGINNING) * min(self.quickest, self.before))


SLACK: Final = 2.0
"""The factor by which reading times of texts of one length may differ."""
BEGINNING: Final = 500
"""Bytes added to each request's text: the fixed cost of a request."""

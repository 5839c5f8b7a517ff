"""What probes may take of an engine's time, and on what occasion. Pure: clocks are arguments.

Probes earn ``share`` seconds of the engine's time a second, and save an hour's worth. Half
of it is the reserve: it fills first, and only probes that somebody waits for spend it. So a
suspicion is never refused because of what routine has spent.

A probe is charged the time that the engine worked for it, not the time that it waited: on a
machine that has no time for the engine, a request takes seconds and the engine does no more.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

SHARE: Final = 0.1
SAVED: Final = 3600.0
"""Seconds over which an unused share adds up."""
RESERVED: Final = 0.5
"""Part of what is saved that routine cannot spend."""


class Purpose(StrEnum):
    """Why an engine is asked."""

    ROUTINE = "routine"
    """A scheduled probe of a version that nothing speaks against, or its registration."""
    SUSPICION = "suspicion"
    """A live signal has crossed its line."""
    CONFIRMATION = "confirmation"
    """A probe has found something, and asks again before it is told."""
    RETURN = "return"
    """The version is critical or has lost its traffic: probes alone bring it back."""


class Purse(StrEnum):
    """Where the seconds of a probe come from."""

    ROUTINE = "routine"
    RESERVE = "reserve"


PAYS: Final[Mapping[Purpose, Purse]] = MappingProxyType(
    {
        Purpose.ROUTINE: Purse.ROUTINE,
        Purpose.SUSPICION: Purse.RESERVE,
        Purpose.CONFIRMATION: Purse.RESERVE,
        Purpose.RETURN: Purse.RESERVE,
    }
)
"""Which purse pays for which occasion; neither ever pays for the other."""


@dataclass(slots=True, kw_only=True)
class Allowance:
    """Seconds of an engine's time that probes may still take, by purse.

    A probe that has begun ends, so a purse may fall below 0; what it pays for waits longer.

    Parameters
    ----------
    share
        Seconds that come in a second.
    at
        When both purses were full.
    """

    share: float
    at: float
    reserve: float = field(init=False)
    routine: float = field(init=False)

    def __post_init__(self) -> None:
        self.reserve, self.routine = self._most(Purse.RESERVE), self._most(Purse.ROUTINE)

    def refill(self, at: float) -> None:
        """Add what has come since: the reserve first, routine has what is over."""
        came = max(0.0, at - self.at) * self.share
        self.at = max(self.at, at)
        kept = min(came, self._most(Purse.RESERVE) - self.reserve)
        self.reserve += kept
        self.routine = min(self._most(Purse.ROUTINE), self.routine + came - kept)

    def wait(self, purpose: Purpose, at: float) -> float:
        """Tell for how many seconds an occasion's probe must wait; 0: it may begin."""
        self.refill(at)
        if PAYS[purpose] is Purse.RESERVE:
            return _until_some(self.reserve, self.share)
        lacking = self._most(Purse.RESERVE) - self.reserve
        return 0.0 if self.routine > 0 else _until_some(self.routine - lacking, self.share)

    def spend(self, purpose: Purpose, seconds: float) -> None:
        """Charge what a probe took."""
        if PAYS[purpose] is Purse.RESERVE:
            self.reserve -= seconds
        else:
            self.routine -= seconds

    def _most(self, purse: Purse) -> float:
        part = RESERVED if purse is Purse.RESERVE else 1.0 - RESERVED
        return SAVED * self.share * part


def _until_some(left: float, share: float) -> float:
    return 0.0 if left > 0 else -left / share + 1.0


@dataclass(slots=True, kw_only=True)
class Pace:
    """How quickly an engine has lately answered: what its answers cost it when it has time.

    A request is charged what it took, but at most :data:`SLACK` times what a text of its
    length took at the quickest within the last hour or two. What is beyond that was spent
    waiting: for other requests, or for a machine that has no time for the engine.
    """

    quickest: float = float("inf")
    before: float = float("inf")
    since: float = float("-inf")

    def cost(self, seconds: float, size: int, *, at: float) -> float:
        """Learn from an answer to a text of ``size`` bytes, and say what to charge for it."""
        if at - self.since >= SAVED:
            self.before = self.quickest if at - self.since < 2 * SAVED else float("inf")
            self.quickest, self.since = float("inf"), at
        self.quickest = min(self.quickest, seconds / (size + BEGINNING))
        return min(seconds, SLACK * (size + BEGINNING) * min(self.quickest, self.before))


SLACK: Final = 2.0
"""What texts of one length may honestly differ by, beside other requests or alone."""
BEGINNING: Final = 500
"""Bytes that a request counts for beside its text: what it costs an engine to begin."""

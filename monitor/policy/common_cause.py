"""Whether a version moved with others on its base model, or apart from them. Pure.

A change of engine or base model moves every adapter on it. People get one incident for it,
however many adapters report it. That incident must hide neither an adapter that is broken
by itself at the same time, nor a page that follows later.
"""

from __future__ import annotations

import math
from bisect import bisect_left
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import median
from typing import Final

from detectors.perplexity import MARGIN
from detectors.profile import DetectorSide
from monitor.domain import VersionId
from monitor.policy.memory import Crossing, Memory

FEWEST_MOVED: Final = 2
SHARE_MOVED: Final = 0.2
OWN_MARGINS: Final = 1.0
"""An adapter stands apart if it moved this many margins beyond the common movement."""
OWN_SPREADS: Final = 3.0
"""It must also be this many robust standard deviations beyond the others' movement."""
MAD_TO_SD: Final = 1.4826


@dataclass(frozen=True, slots=True, kw_only=True)
class Movement:
    """How far a version moved, and in what way: all that the others on its base need of it.

    since
        When it first moved.
    size
        How far, in margins; a move of 1 may move traffic.
    low
        Lower bound of the move by the paging evidence; None where nothing pages.
    company
        The move at its last probe of the base, or of the siblings asked with it; None: neither.
    hard
        Hard signals page.
    misidentified
        Other weights answer.
    """

    since: datetime
    size: float
    low: float | None = None
    company: float | None = None
    hard: bool = False
    misidentified: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Moved:
    """Another adapter on the same base with an open finding that its inputs do not explain.

    ``paging``: it is critical.
    """

    version_id: VersionId
    movement: Movement
    paging: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetFact:
    """The adapters on one base model while one of them is judged.

    base
        Name of the base model; empty: it was not registered.
    adapters
        Number of evaluated adapters on it, this one included.
    cycle
        Time in which each is evaluated once: adapters that move within it move together.
    moved
        The others with an open finding, one for each adapter.
    unseen
        Others not evaluated since this version's verdict took its present kind.
    member
        Whether this version is part of an open fleet incident already.
    """

    base: str
    adapters: int
    cycle: timedelta
    moved: Sequence[Moved] = ()
    unseen: int = 0
    member: bool = False

    @property
    def limit(self) -> int:
        """The number of adapters that must move together to have a common cause."""
        return fewest(self.adapters)


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseStanding:
    """A version's standing among the others on its base.

    common
        The cause it shares with them, in words; None: no known cause.
    apart
        Why its move exceeds the one they share; None: it does not.
    company
        The others that share it.
    adapters
        Number of adapters on the base that are looked at.
    waits
        Its page waits for others to be looked at, because one has gone out already.
    alone_on
        Its base, if all others on it were looked at since and none has moved; else empty.
    base_moved
        A probe saw the base itself move.
    """

    common: str | None = None
    apart: str | None = None
    company: tuple[VersionId, ...] = ()
    adapters: int = 0
    waits: bool = False
    alone_on: str = ""
    base_moved: bool = False

    @property
    def shared(self) -> bool:
        """Whether the base causes the move, not the adapter itself."""
        return self.common is not None and self.apart is None


def fewest(adapters: int) -> int:
    """Return how many adapters of a number make a common cause: 20 % of it, and at least 2."""
    return max(FEWEST_MOVED, math.ceil(SHARE_MOVED * adapters))


def moves(memory: Memory) -> bool:
    """Whether anything except its inputs moved."""
    return memory.probes_found or any(map(_beyond_requests, memory.crossings))


def movement(memory: Memory, *, at: datetime) -> Movement | None:
    """Return how a version moved; None where nothing but its inputs did.

    ``at`` is when its verdict took its present kind, or now: it first moved then at the latest.
    """
    if not moves(memory):
        return None
    return Movement(
        since=_since(memory, at),
        size=_size(memory),
        low=_paging_low(memory),
        company=_of_company(memory),
        hard=any(c.hard and c.paged for c in memory.crossings),
        misidentified=memory.misidentified,
    )


def _beyond_requests(crossing: Crossing) -> bool:
    return crossing.profile.side is not DetectorSide.REQUESTS


def standing(
    memory: Memory,
    fleet: FleetFact | None,
    *,
    at: datetime,
    page_wait: timedelta,
    by_inputs: bool,
) -> BaseStanding:
    """Return how a version stands among the others on its base.

    A probe that saw the base move is enough for a common cause. Without one, 20 % of the
    adapters, and at least 2, must have moved within one probe cycle of each other. Adapters
    that stand apart from the rest do not count, so two adapters that broke in different
    ways have no common cause. ``by_inputs``: new inputs explain the move.
    """
    own = movement(memory, at=at)
    if by_inputs or own is None:
        return BaseStanding()
    probe = memory.perplexity
    base = probe is not None and probe.moved and probe.base_moved is True
    if fleet is None:
        return BaseStanding(common="the base model moved" if base else None, base_moved=base)
    near = [m for m in fleet.moved if abs(m.movement.since - own.since) <= fleet.cycle]
    moved = _MovedTogether((own, *(m.movement for m in near)), fleet.limit)
    apart = moved.apart(own)
    together = [m for m in near if moved.apart(m.movement) is None]
    known = base or fleet.member or len(together) + 1 >= fleet.limit
    common = _words(fleet, together, base=base) if known else None
    return BaseStanding(
        common=common,
        apart=apart if known else None,
        company=tuple(m.version_id for m in together),
        adapters=fleet.adapters,
        alone_on="" if base or fleet.moved or fleet.unseen or fleet.adapters == 1 else fleet.base,
        base_moved=base,
        waits=not (common and apart is None)
        and _waits(own, fleet, near, at=at, page_wait=page_wait),
    )


def _waits(
    own: Movement, fleet: FleetFact, near: Sequence[Moved], *, at: datetime, page_wait: timedelta
) -> bool:
    """Whether a second page on one base waits, for minutes, until the others are evaluated.

    The first page never waits, nor does one when the others are too few for a common cause.
    """
    paging = sum(m.paging for m in near)
    possible = 1 + len(near) + fleet.unseen
    if not paging or not fleet.unseen or possible < fleet.limit:
        return False
    return at - own.since < page_wait


def _since(memory: Memory, default: datetime) -> datetime:
    """Return when the version first moved; its verdict may have changed since."""
    verdict = memory.verdict
    told = [verdict.since] if verdict is not None and verdict.detectors else []
    return min([default, *told, *(c.at for c in memory.crossings)])


def _words(fleet: FleetFact, together: Sequence[Moved], *, base: bool) -> str:
    on = fleet.base or "one base model"
    said = [f"the base model {on} moved" if base and fleet.base else "the base model moved"]
    if together:
        count = len(together) + 1
        counted = f"{count} of {fleet.adapters} adapters on {on} moved within {fleet.cycle}"
        said = [*said, counted] if base else [counted]
    elif not base:
        said = [f"it moved with others on {on}"]
    return "; ".join(said)


# --- apart from the others ----------------------------------------------------------------


class _MovedTogether:
    """All that moved on a base within a cycle; each is held against the rest.

    It costs n log n for n versions, and n for each that pages while few moved as far.
    """

    def __init__(self, movements: Sequence[Movement], limit: int) -> None:
        self._limit = limit
        self._sizes = sorted(one.size for one in movements)
        self._failed = {words: sum(map(has, movements)) for words, has in _FAILURES}

    def apart(self, one: Movement) -> str | None:
        """Say why one of them is broken by itself, whatever the others do; None: it may not be.

        The first reason is a kind of failure (hard signals, other weights) that too few
        adapters share for a common cause. The second is a page whose lower bound exceeds the
        others' movement by the version's own margin and by three of their robust standard
        deviations, where too few adapters for a common cause moved as far.
        """
        others = len(self._sizes) - 1
        for words, has in _FAILURES:
            if others and has(one) and self._failed[words] < self._limit:
                return words
        company = [] if one.company is None else [one.company]
        if one.low is None or not others + len(company):
            return None
        line = one.low - OWN_MARGINS
        far = len(self._sizes) - bisect_left(self._sizes, line) - (one.size >= line)
        if 1 + far + sum(moved >= line for moved in company) >= self._limit:
            return None
        common = [*self._sizes, *company]
        common.remove(one.size)
        middle = median(common)
        spread = MAD_TO_SD * median(abs(value - middle) for value in common)
        if one.low - middle < max(OWN_MARGINS, OWN_SPREADS * spread):
            return None
        return (
            f"it moved by at least {one.low:.1f} margins, the others by {middle:.1f}"
            f" (± {spread:.1f}): a change of its own"
        )


_FAILURES: Final[tuple[tuple[str, Callable[[Movement], bool]], ...]] = (
    (
        "hard signals that the others do not have: a change of its own",
        lambda movement: movement.hard,
    ),
    (
        "other weights answer, which is not so for the others: a change of its own",
        lambda movement: movement.misidentified,
    ),
)


def _size(memory: Memory) -> float:
    """Return how far a version moved, in margins."""
    probe = memory.perplexity
    found = [_margins(probe.ratio)] if probe is not None and probe.moved else []
    effects = [
        c.effect / c.margin
        for c in memory.crossings
        if c.effect is not None and c.margin > 0 and _beyond_requests(c)
    ]
    return max([*found, *effects], default=0.0)


def _paging_low(memory: Memory) -> float | None:
    """Return the lower bound of the movement by the paging evidence; None where nothing pages."""
    probe = memory.perplexity
    found = [_margins(probe.low)] if probe is not None and probe.degraded else []
    effects = [
        c.effect_low / c.margin
        for c in memory.crossings
        if c.paged and c.effect_low is not None and c.margin > 0
    ]
    return max([*found, *effects], default=None)


def _of_company(memory: Memory) -> float | None:
    """Return the move at the last probe of the base, or of the siblings asked with it."""
    probe = memory.perplexity
    if probe is None or not probe.moved or probe.company_ratio is None:
        return None
    return _margins(probe.company_ratio)


def _margins(ratio: float) -> float:
    """Return a perplexity ratio in margins; ratios multiply, so the scale is logarithmic."""
    return math.log1p(max(ratio, -0.99)) / math.log1p(MARGIN)

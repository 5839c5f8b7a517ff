"""Tell the router about a changed route, and find out whether the router carries it out.

A fallback and a canary change routes alike. The change and its audit entry are committed
first. Then the router is told and read back, and its answer is stored. No other work waits
for this: while a router hangs, versions are still judged, routes written and their terms
renewed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Final, Protocol

import structlog
from sqlalchemy import Connection

from alerts.words import percent
from monitor.domain import Arm, Route
from monitor.store import clock
from monitor.store.database import Database
from monitor.store.traffic import routes
from monitor.traffic.routers.contract import Router, RouterFailed

_LOG = structlog.get_logger(__name__)

IN_A_ROW: Final = 3
"""After this many changes in a row without an answer in a turn, the router counts as away."""
AGAIN: Final = timedelta(seconds=1)
"""The least time between two questions about one change."""


NOT_READ: Final = "not read back yet"


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterAnswer:
    """The result of reading a router back.

    goes
        True: the router follows the route. False: it does something else. None: it could not
        be read.
    reason
        The reason in words, for people.
    """

    goes: bool | None
    reason: str


REPLACED: Final = RouterAnswer(goes=True, reason="replaced by a later route")
"""The answer for a change that a later route has replaced."""


def tell(router: Router, route: Route) -> RouterAnswer:
    """Tell the router once and read it back, outside transactions.

    A failed call may still have taken effect: only reading back can tell.
    """
    try:
        router.apply(route)
    except RouterFailed as error:
        _LOG.warning("router_failed", adapter=route.adapter, error=str(error))
    return read(router, route)


def read(router: Router, route: Route) -> RouterAnswer:
    """Read the router back and compare it with the route."""
    try:
        real = router.read_back(route.adapter)
    except RouterFailed as error:
        return RouterAnswer(goes=None, reason=f"{NOT_READ}: {error}")
    if real == route.arms:
        return RouterAnswer(goes=True, reason="confirmed by the router")
    return RouterAnswer(goes=False, reason=_words(real))


class Approach(StrEnum):
    """The ways to bring a change to a router.

    A router is told an end state, so telling it twice does no harm. A router that may have
    been told before a crash is still read first.
    """

    TELL = "tell"
    TELL_IF_LOST = "tell_if_lost"
    READ = "read"


@dataclass(frozen=True, slots=True, kw_only=True)
class UnreadChange:
    """A change of an adapter's route that the router was not yet seen to carry out.

    owner
        The number of the action or the canary that made it.
    generation
        The generation that it wrote; None: any generation in force counts.
    pause
        Between two questions to the router about the change.
    """

    owner: int
    adapter: str
    generation: int | None = None
    approach: Approach = Approach.TELL
    pause: timedelta = AGAIN


class ChangeLog(Protocol):
    """Stores the changes of one kind."""

    def unread(self, tx: Connection, *, now: datetime) -> Sequence[UnreadChange]: ...

    def unsettled(self, tx: Connection) -> bool:
        """Return whether any change, of any process, is not settled yet."""
        ...

    def settle(
        self,
        tx: Connection,
        change: UnreadChange,
        route: Route | None,
        answer: RouterAnswer,
        *,
        now: datetime,
    ) -> bool:
        """Store the router's answer; True where it settles the change.

        Another daemon may have settled the change meanwhile, or a person replaced it.
        """
        ...


@dataclass(slots=True, kw_only=True)
class Confirming:
    """Asks the router about every unread change of one kind.

    A router that is away is asked ``IN_A_ROW`` times in a turn, not once for each change;
    its answer is then stored for all of them. ``monotonic`` paces the repeated questions.
    """

    database: Database
    router: Router
    log: ChangeLog
    monotonic: Callable[[], float] = time.monotonic
    _asked: dict[int, float] = field(default_factory=dict)

    def turn(self, *, now: datetime | None = None) -> int:
        """Ask about all due changes; return how many the router was seen to carry out.

        ``now``: the database's, except in tests.
        """
        unread = self.database.run(lambda tx: self.log.unread(tx, now=now or clock.now(tx)))
        self._asked = {one.owner: self._asked.get(one.owner, float("-inf")) for one in unread}
        silent, settled, answer = 0, 0, None
        # the change asked longest ago comes first: some that fail hold up no others
        for change in sorted(unread, key=lambda one: self._asked[one.owner]):
            if self.monotonic() < self._asked[change.owner] + change.pause.total_seconds():
                continue
            route = self._route(change)
            if _replaced(change, route):
                settled += self._settle(change, route, REPLACED, now)
            elif route is not None:
                if answer is None or silent < IN_A_ROW:
                    self._asked[change.owner] = self.monotonic()
                    answer = self._ask(change, route)
                    silent = silent + 1 if answer.goes is None else 0
                settled += self._settle(change, route, answer, now)
        return settled

    def next_due(self) -> timedelta | None:
        """Return no time while a change is unsettled; else None, since a new one wakes."""
        return timedelta() if self.database.run(self.log.unsettled) else None

    def confirm(self, change: UnreadChange, now: datetime) -> None:
        """Ask about one change now, for a person who waits."""
        route = self._route(change)
        assert route is not None, "the change wrote one"  # noqa: S101 (invariant)
        answer = REPLACED if _replaced(change, route) else self._ask(change, route)
        self._settle(change, route, answer, now)

    def _route(self, change: UnreadChange) -> Route | None:
        return self.database.run(lambda tx: routes.get(tx, change.adapter))

    def _ask(self, change: UnreadChange, route: Route) -> RouterAnswer:
        if change.approach is Approach.TELL:
            return tell(self.router, route)
        answer = read(self.router, route)
        lost = change.approach is Approach.TELL_IF_LOST and not answer.goes
        return tell(self.router, route) if lost else answer

    def _settle(
        self, change: UnreadChange, route: Route | None, answer: RouterAnswer, now: datetime | None
    ) -> bool:
        return self.database.run(
            lambda tx: self.log.settle(tx, change, route, answer, now=now or clock.now(tx))
        )


def _replaced(change: UnreadChange, route: Route | None) -> bool:
    return change.generation not in {None, route.generation if route else 0}


def _words(arms: tuple[Arm, ...] | None) -> str:
    if arms is None:
        return "the router has no route"
    shares = ", ".join(f"{percent(arm.weight)} to {arm.version} ({arm.arm.value})" for arm in arms)
    return f"the router sends {shares}"

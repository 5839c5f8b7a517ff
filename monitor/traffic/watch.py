"""Long-polls on routes: many waiters, one query."""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import timedelta
from typing import Any, Final

import structlog

from monitor.domain import Edition, Route
from monitor.store.database import Database
from monitor.store.traffic import routes
from monitor.store.traffic.routes import FleetState

_LOG = structlog.get_logger(__name__)

DEFAULT_POLL: Final = timedelta(milliseconds=200)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Waiter:
    loop: asyncio.AbstractEventLoop
    answer: asyncio.Future[Any]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _RouteWaiter(_Waiter):
    adapter: str
    known: Edition


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _FleetWaiter(_Waiter):
    known: FleetState


class RouteWatch:
    """Tells coroutines when an adapter's route has another edition than they know.

    One thread looks for all of them, with one query for the adapters they wait for, and
    none while there are no waiters. :meth:`wake` makes it look at once; polling alone is
    correct.
    """

    def __init__(self, database: Database, *, poll: timedelta = DEFAULT_POLL) -> None:
        self._database = database
        self._poll = poll.total_seconds()
        self._waiters: set[_RouteWaiter | _FleetWaiter] = set()
        self._lock = threading.Lock()
        self._look = threading.Event()
        self._stopping = threading.Event()
        self._released = False
        self._thread = threading.Thread(target=self._run, name="route-watch", daemon=True)

    def start(self) -> None:
        """Look until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop looking; requests still waiting get no answer before their timeout."""
        self._stopping.set()
        self._look.set()
        self._thread.join(timeout=5)

    def release(self) -> None:
        """Release every waiter within one look, without a change: the service is about to stop.

        The method only sets a flag, so a signal handler may call it.
        """
        self._released = True

    def wake(self, adapter: str = "") -> None:
        """Look now. ``adapter`` is accepted so that this can be a callback of wake-ups."""
        del adapter
        self._look.set()

    async def wait_for_change(
        self,
        adapter: str,
        known: Edition,
        *,
        timeout: float,  # noqa: ASYNC109 - running out is an answer here, not an error
    ) -> Route | None:
        """Return the route once its edition is not ``known``; None after ``timeout``.

        It returns None at once after :meth:`release`. Generation 0 waits for a first route. A
        route that differs already is returned within one look.
        """
        loop = asyncio.get_running_loop()
        waiter = _RouteWaiter(adapter=adapter, known=known, loop=loop, answer=loop.create_future())
        route: Route | None = await self._wait(waiter, timeout)
        return route

    async def wait_for_fleet(
        self,
        known: FleetState,
        *,
        timeout: float,  # noqa: ASYNC109 - running out is an answer here, not an error
    ) -> FleetState | None:
        """Return the fleet's state once it is not ``known``; None after ``timeout``.

        As :meth:`wait_for_change`, for clients that follow every route: one query for all
        of them.
        """
        loop = asyncio.get_running_loop()
        waiter = _FleetWaiter(known=known, loop=loop, answer=loop.create_future())
        state: FleetState | None = await self._wait(waiter, timeout)
        return state

    async def _wait(self, waiter: _RouteWaiter | _FleetWaiter, seconds: float) -> Any:
        if self._released:
            return None
        with self._lock:
            self._waiters.add(waiter)
        self._look.set()
        try:
            return await asyncio.wait_for(waiter.answer, seconds)
        except TimeoutError:
            return None
        finally:
            with self._lock:
                self._waiters.discard(waiter)

    def _run(self) -> None:
        while not self._stopping.is_set():
            waiters = self._snapshot()
            if self._released:
                for waiter in waiters:
                    _hand_over(waiter, None)
            self._look.wait(self._poll if waiters else None)
            self._look.clear()
            try:
                self._answer(self._snapshot())
            except Exception as error:  # noqa: BLE001 - one look of many; nothing may end them
                _LOG.warning("route_watch_blind", error=type(error).__name__)
                self._stopping.wait(self._poll)

    def _snapshot(self) -> list[_RouteWaiter | _FleetWaiter]:
        with self._lock:
            return list(self._waiters)

    def _answer(self, waiters: list[_RouteWaiter | _FleetWaiter]) -> None:
        self._answer_routes([one for one in waiters if isinstance(one, _RouteWaiter)])
        self._answer_fleet([one for one in waiters if isinstance(one, _FleetWaiter)])

    def _answer_routes(self, waiters: list[_RouteWaiter]) -> None:
        if not waiters:
            return
        known = _known(waiters)
        changed = self._database.run(lambda tx: routes.changed(tx, known))
        found = {route.adapter: route for route in changed}
        for waiter in waiters:
            route = found.get(waiter.adapter)
            if route is not None and route.edition != waiter.known:
                _hand_over(waiter, route)

    def _answer_fleet(self, waiters: list[_FleetWaiter]) -> None:
        if not waiters:
            return
        state = self._database.run(routes.fleet_state)
        for waiter in waiters:
            if state != waiter.known:
                _hand_over(waiter, state)


def _known(waiters: Iterable[_RouteWaiter]) -> list[tuple[str, Edition]]:
    """Return the edition that the waiters of each adapter know.

    Where they know different ones, at least one of them is wrong, so the route must be
    read. The edition given then, with a generation below 0, is in no table.
    """
    known: dict[str, Edition] = {}
    for waiter in waiters:
        same = known.setdefault(waiter.adapter, waiter.known) == waiter.known
        known[waiter.adapter] = waiter.known if same else Edition(0, -1)
    return list(known.items())


def _hand_over(waiter: _Waiter, found: Route | FleetState | None) -> None:
    # A loop that has closed meanwhile has no waiters left.
    with contextlib.suppress(RuntimeError):
        waiter.loop.call_soon_threadsafe(_settle, waiter.answer, found)


def _settle(answer: asyncio.Future[Any], found: Route | FleetState | None) -> None:
    if not answer.done():
        answer.set_result(found)

"""Tell the router the routes of the table, and check that it keeps them."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import KW_ONLY, dataclass, field
from datetime import timedelta
from typing import Final

import structlog
from sqlalchemy import Connection

from monitor.domain import Edition, Route
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.traffic import route_failures, routes
from monitor.store.traffic.actions import AUTOMATIC
from monitor.store.traffic.routes import FleetState
from monitor.traffic.routers.contract import Router, RouterFailed

_LOG = structlog.get_logger(__name__)

FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 60.0
IN_A_ROW: Final = 3
"""After this many adapters in a row fail in a turn, the router counts as away and gets a pause."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Told:
    """The result of the last attempt to tell the router an edition.

    ``due`` (monotonic seconds) is the time of the next look.
    """

    edition: Edition
    due: float
    failures: int = 0


@dataclass(slots=True, eq=False)
class Carrier:
    """Brings every route in the table to the router, also one that a person wrote.

    The carrier reads the table only. It therefore also carries a route whose writer has
    died, and a route that the router has lost. Several daemons may run one at once: telling
    a router twice does no harm, and an older edition changes nothing.

    Parameters
    ----------
    resync
        How often the router is read back to check that it still follows the route.
    later
        Tell the router at each resync, even if it has lost nothing: it does part of its work
        later.
    """

    database: Database
    router: Router
    _: KW_ONLY
    resync: timedelta
    later: bool = False
    monotonic: Callable[[], float] = time.monotonic
    _seen: FleetState | None = field(default=None, init=False)
    _told: dict[str, _Told] = field(default_factory=dict, init=False)
    _quiet_until: float = field(default=0.0, init=False)

    def turn(self) -> bool:
        """Tell the router new and due routes, new ones first; False where there were none."""
        now = self.monotonic()
        if now < self._quiet_until:
            return False
        state = self.database.run(routes.fleet_state)
        if state == self._seen and all(told.due > now for told in self._told.values()):
            return False
        self._seen = state
        waiting = [one for one in self.database.run(routes.all_routes) if self._is_due(one, now)]
        failed = 0
        for route in sorted(waiting, key=self._is_known):
            failed = 0 if self._carry(route) else failed + 1
            if failed == IN_A_ROW:
                self._quiet_until = self.monotonic() + FIRST_PAUSE
                self._seen = None  # the other routes are still untold
                break
        return bool(waiting)

    def next_due(self) -> timedelta | None:
        """Return the time until a route is told or read back again; None while there are none."""
        due = min((told.due for told in self._told.values()), default=None)
        if self._seen is None:
            due = self._quiet_until
        return None if due is None else timedelta(seconds=due - self.monotonic())

    def _is_due(self, route: Route, now: float) -> bool:
        return not self._is_known(route) or self._told[route.adapter].due <= now

    def _is_known(self, route: Route) -> bool:
        told = self._told.get(route.adapter)
        return told is not None and told.edition == route.edition

    def _carry(self, route: Route) -> bool:
        before = self._told.get(route.adapter) if self._is_known(route) else None
        failures = before.failures if before else 0
        try:
            if before is None or failures or not self._holds(route) or self.later:
                self.router.apply(route)
        except RouterFailed as error:
            pause = min(LONGEST_PAUSE, FIRST_PAUSE * 2.0**failures)
            self._note(route, due=pause, failures=failures + 1)
            self._failed(route, str(error), first=not failures)
            return False
        self._note(route, due=self.resync.total_seconds(), failures=0)
        if before is None or failures:
            self._succeeded(route, failures)
        return True

    def _holds(self, route: Route) -> bool:
        same = self.router.read_back(route.adapter) == route.arms
        if not same:
            _LOG.warning("route_lost", adapter=route.adapter, generation=route.generation)
        return same

    def _note(self, route: Route, *, due: float, failures: int) -> None:
        self._told[route.adapter] = _Told(
            edition=route.edition, due=self.monotonic() + due, failures=failures
        )

    def _failed(self, route: Route, why: str, *, first: bool) -> None:
        def work(tx: Connection) -> None:
            route_failures.note(tx, route, why=why)
            if first:
                _write_down(tx, route, "route.not_carried", why)

        self.database.run(work)
        if first:
            _LOG.warning("route_not_carried", adapter=route.adapter, why=why)

    def _succeeded(self, route: Route, failures: int) -> None:
        def work(tx: Connection) -> None:
            route_failures.clear(tx, route.adapter)
            if failures:
                _write_down(tx, route, "route.carried", f"after {failures} failures")

        self.database.run(work)
        if failures:
            _LOG.info("route_carried", adapter=route.adapter, failures=failures)


def _write_down(tx: Connection, route: Route, act: str, why: str) -> None:
    details = {"generation": route.generation, "why": why}
    audit.append(tx, actor=AUTOMATIC, act=act, subject=route.adapter, details=details)

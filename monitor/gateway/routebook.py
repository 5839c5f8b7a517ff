"""Keep the routes in force: the last good ones, cached on disk."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import structlog

from monitor.domain import Route
from monitor.gateway.cached import read_cached, replace_cached
from monitor.traffic.arms import effective

_LOG: Final = structlog.get_logger(__name__)


@dataclass(slots=True, eq=False)
class RouteBook:
    """The routes by the name that clients ask for.

    ``valid_until`` is enforced here at each look-up, so a canary ends even if no service is
    reachable. The service sends its time with its routes; from then on the monotonic clock carries
    it forward, so that a change of this machine's clock ends no route. Until then the machine's
    clock counts. A route of an older edition than the known one changes nothing, and is remembered
    as refused until the service sends a newer one.
    """

    cache: Path | None = None
    _: KW_ONLY
    clock: Callable[[], datetime] = lambda: datetime.now(UTC)
    monotonic: Callable[[], float] = time.monotonic
    _said: tuple[datetime, float] | None = field(default=None, init=False)
    _routes: dict[str, Route] = field(default_factory=dict, init=False)
    _refused: dict[str, Route] = field(default_factory=dict, init=False)
    _lacking: set[str] = field(default_factory=set, init=False)

    def __len__(self) -> int:
        return len(self._routes)

    @property
    def routes(self) -> Sequence[Route]:
        """The routes as written, without applying expiry."""
        return tuple(self._routes.values())

    @property
    def refused(self) -> Mapping[str, Route]:
        """The service's latest routes that are not followed, by adapter."""
        return self._refused

    def now(self) -> Sequence[Route]:
        """Return the routes in force now, sorted by name."""
        moment = self.time()
        return [effective(self._routes[name], moment) for name in sorted(self._routes)]

    def find(self, name: str) -> Route | None:
        """Return the route in force for this name; None if the name has no route."""
        route = self._routes.get(name)
        return None if route is None else effective(route, self.time())

    def time(self) -> datetime:
        """Return the time by which routes end."""
        if self._said is None:
            return self.clock()
        said, at = self._said
        return said + timedelta(seconds=self.monotonic() - at)

    def set_time(self, said: datetime) -> None:
        """Use the service's time from now on."""
        self._said = said, self.monotonic()

    def load(self) -> None:
        """Load the cached routes of an earlier run; an unusable file is ignored."""
        kept = read_cached(self.cache, read_routes, what="routes")
        if kept is not None:
            self._take(kept)
            _LOG.info("kept_routes_loaded", routes=len(self._routes))

    def update(self, routes: Iterable[Route]) -> bool:
        """Take and cache the service's routes; False if none was newer."""
        if not self._take(routes):
            return False
        replace_cached(self.cache, self.routes, what="routes")
        return True

    def _take(self, routes: Iterable[Route]) -> bool:
        told = [_dated(route, self._routes.get(route.adapter)) for route in routes]
        before, refused = self._routes, {}
        for route in told:
            held = before.get(route.adapter)
            if held is None or route.edition > held.edition:
                self._routes = self._routes | {route.adapter: route}
            elif route != held:
                refused[route.adapter] = route
        self._refused = refused
        self._say_unknown(told)
        return self._routes is not before

    def _say_unknown(self, told: Sequence[Route]) -> None:
        """Log once which adapters a restored table lacks; their old routes stay in force."""
        names, newest = {one.adapter for one in told}, max((one.epoch for one in told), default=0)
        held = self._routes.values()
        lacking = {one.adapter for one in held if one.epoch < newest} - names
        if lacking - self._lacking:
            _LOG.warning("routes_unknown_to_the_service", adapters=sorted(lacking))
        self._lacking = lacking


def _dated(told: Route, held: Route | None) -> Route:
    """Give a route without an epoch, from an older service, the known epoch."""
    return told if told.epoch or held is None else replace(told, epoch=held.epoch)


def read_routes(body: bytes) -> tuple[Route, ...]:
    """Read a JSON list of routes; ``ValueError`` if one is unusable."""
    found = msgspec.json.decode(body, type=tuple[Route, ...])
    for route in found:
        times = (route.since, route.valid_until)
        if not route.arms or any(time is not None and time.tzinfo is None for time in times):
            raise ValueError(f"the route of {route.adapter!r} has no arms, or times without zone")
    return found

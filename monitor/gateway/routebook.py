"""The routes that the gateway goes by: the last good ones, kept on disk."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final

import msgspec
import structlog

from monitor.domain import Route
from monitor.traffic.arms import effective

_LOG: Final = structlog.get_logger(__name__)


class RouteBook:
    """Looks routes up by the name that clients ask for.

    ``valid_until`` is enforced here, at each look: nobody has to be reachable for a canary
    to end. What time it is the service tells with its routes; from then on it goes on by the
    monotonic clock, so that this machine's own, which somebody may set, ends no route. Until
    then that one counts. A route of an older edition than the known one changes nothing, and is
    remembered as refused until the service tells one that is not.
    """

    def __init__(
        self,
        cache: Path | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        monotonic: Callable[[], float] = time.monotonic,
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._monotonic = monotonic
        self._said: tuple[datetime, float] | None = None
        self._routes: dict[str, Route] = {}
        self._refused: dict[str, Route] = {}
        self._lacking: set[str] = set()

    def __len__(self) -> int:
        return len(self._routes)

    @property
    def routes(self) -> Sequence[Route]:
        """Routes as they were written, expiry not applied."""
        return tuple(self._routes.values())

    @property
    def refused(self) -> Mapping[str, Route]:
        """What the service told last and is not gone by, by adapter."""
        return self._refused

    def now(self) -> Sequence[Route]:
        """Give what to do for each adapter now, by name."""
        moment = self.time()
        return [effective(self._routes[name], moment) for name in sorted(self._routes)]

    def find(self, name: str) -> Route | None:
        """Return what to do for this name now; None: it is no adapter with a route."""
        route = self._routes.get(name)
        return None if route is None else effective(route, self.time())

    def time(self) -> datetime:
        """Give the time by which routes end."""
        if self._said is None:
            return self._clock()
        said, at = self._said
        return said + timedelta(seconds=self._monotonic() - at)

    def set_time(self, said: datetime) -> None:
        """Go by the service's time from now on."""
        self._said = said, self._monotonic()

    def load(self) -> None:
        """Take what an earlier run kept; a file that cannot be used is left behind."""
        if self._cache is None:
            return
        try:
            kept = read_routes(self._cache.read_bytes())
        except FileNotFoundError:
            return
        except (OSError, ValueError) as error:
            _LOG.warning("kept_routes_unusable", error=type(error).__name__)
            return
        self._take(kept)
        _LOG.info("kept_routes_loaded", routes=len(self._routes))

    def update(self, routes: Iterable[Route]) -> bool:
        """Take all that the service tells now, and keep it; False when none was newer."""
        if not self._take(routes):
            return False
        if self._cache is not None:
            try:
                _replace(self._cache, msgspec.json.encode(self.routes))
            except OSError as error:
                # they are in force all the same; only a restart without Driftline is poorer
                _LOG.warning("routes_not_kept", error=error.strerror)
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
        """Say once which adapters a restored table lacks; they are served as they were."""
        names, newest = {one.adapter for one in told}, max((one.epoch for one in told), default=0)
        held = self._routes.values()
        lacking = {one.adapter for one in held if one.epoch < newest} - names
        if lacking - self._lacking:
            _LOG.warning("routes_unknown_to_the_service", adapters=sorted(lacking))
        self._lacking = lacking


def _dated(told: Route, held: Route | None) -> Route:
    """A service that tells no epoch is older than this gateway, and its table is the same."""
    return told if told.epoch or held is None else replace(told, epoch=held.epoch)


def read_routes(body: bytes) -> tuple[Route, ...]:
    """Read a JSON list of routes; ``ValueError`` where one could not be gone by."""
    found = msgspec.json.decode(body, type=tuple[Route, ...])
    for route in found:
        times = (route.since, route.valid_until)
        if not route.arms or any(time is not None and time.tzinfo is None for time in times):
            raise ValueError(f"the route of {route.adapter!r} has no arms, or times without zone")
    return found


def _replace(path: Path, body: bytes) -> None:
    """Write so that a reader, or a crash, sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

"""The routes that the gateway goes by: the last good ones, kept on disk."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Final

import msgspec
import structlog

from monitor.domain import Route
from monitor.routing.arms import effective

_LOG: Final = structlog.get_logger(__name__)


class RouteBook:
    """Looks routes up by the name that clients ask for.

    ``valid_until`` is enforced here, at each look: nobody has to be reachable for a canary
    to end. A route of an older generation than the known one changes nothing.
    """

    def __init__(
        self,
        cache: Path | None = None,
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._cache = cache
        self._clock = clock
        self._routes: dict[str, Route] = {}

    def __len__(self) -> int:
        return len(self._routes)

    @property
    def routes(self) -> Sequence[Route]:
        """Routes as they were written, expiry not applied."""
        return tuple(self._routes.values())

    def now(self) -> Sequence[Route]:
        """Give what to do for each adapter now, by name."""
        moment = self._clock()
        return [effective(self._routes[name], moment) for name in sorted(self._routes)]

    def find(self, name: str) -> Route | None:
        """Return what to do for this name now; None: it is no adapter with a route."""
        route = self._routes.get(name)
        return None if route is None else effective(route, self._clock())

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
        """Take newer routes and keep them; False when none was new."""
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
        newer = {
            route.adapter: route
            for route in routes
            if route.adapter not in self._routes
            or route.generation > self._routes[route.adapter].generation
        }
        self._routes |= newer
        return bool(newer)


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

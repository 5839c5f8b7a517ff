"""The client-side router's memory: the last good route of each adapter, and its expiry."""

import threading
import time
from collections.abc import Sequence
from datetime import datetime

from examples.demo.driftline_client import Arm, Route


class RouteBook:
    """Keeps routes and chooses arms; safe to use from several threads."""

    def __init__(self) -> None:
        self._routes: dict[str, Route] = {}
        self._arrived: dict[tuple[str, int], float] = {}
        self._lock = threading.Lock()

    def update(self, route: Route) -> None:
        """Keep a route unless a newer generation is known already."""
        with self._lock:
            known = self._routes.get(route.adapter)
            if known is None or route.generation >= known.generation:
                self._routes[route.adapter] = route
                self._arrived.setdefault((route.adapter, route.generation), time.monotonic())

    def arrived(self, adapter: str, generation: int) -> float | None:
        """Monotonic time at which a generation reached this router; None if it has not."""
        with self._lock:
            return self._arrived.get((adapter, generation))

    def generation(self, adapter: str) -> int | None:
        """Generation of the route in force; None before the first."""
        with self._lock:
            route = self._routes.get(adapter)
        return route.generation if route else None

    def choose(self, adapter: str, *, draw: float, now: datetime) -> Arm | None:
        """Choose who answers one request.

        Parameters
        ----------
        draw
            Uniform in [0, 1).

        Returns
        -------
        Arm or None
            None before the first route is known.
        """
        with self._lock:
            route = self._routes.get(adapter)
        return None if route is None else choose_arm(in_force(route, now), draw=draw)


def in_force(route: Route, now: datetime) -> tuple[Arm, ...]:
    """Apply a route's own expiry, so that it holds even while Driftline is away."""
    if route.valid_until is None or now < route.valid_until:
        return route.arms
    kept = [arm for arm in route.arms if arm.arm == route.on_expiry]
    return tuple(
        Arm(arm=arm.arm, version=arm.version, model=arm.model, weight=1.0 / len(kept))
        for arm in kept
    )


def choose_arm(arms: Sequence[Arm], *, draw: float) -> Arm | None:
    """Choose by weight: ``draw`` in [0, 1) points into the arms laid end to end."""
    serving = [arm for arm in arms if arm.weight > 0]
    point = draw * sum(arm.weight for arm in serving)
    for arm in serving:
        point -= arm.weight
        if point < 0:
            return arm
    return serving[-1] if serving else None

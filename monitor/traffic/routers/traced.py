"""Any router, with a span for each route that it is told."""

from __future__ import annotations

from collections.abc import Sequence

from monitor import tracing
from monitor.domain import Arm, Route, Version
from monitor.traffic.routers.contract import Router


class TracedRouter:
    """Does what the router does; ``kind`` is its name in the config."""

    def __init__(self, router: Router, *, kind: str) -> None:
        self._router = router
        self._kind = kind

    def prepare(self, versions: Sequence[Version]) -> None:
        self._router.prepare(versions)

    def apply(self, route: Route) -> None:
        with tracing.span(
            "route", router=self._kind, adapter=route.adapter, generation=route.generation
        ):
            self._router.apply(route)
            tracing.note(outcome="told")

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        return self._router.read_back(adapter)

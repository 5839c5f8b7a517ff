"""The ways to carry a route out: one file and one entry each."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from monitor import tracing
from monitor.domain import Arm, Route, Version
from monitor.store.database import Database
from monitor.traffic.routers import gateway, redis, vllm, webhook
from monitor.traffic.routers.contract import Reach, Router
from monitor.traffic.routers.gateway import Gateways
from monitor.traffic.routers.none import TableOnly
from monitor.traffic.routers.redis import Redis
from monitor.traffic.routers.vllm import Replicas
from monitor.traffic.routers.webhook import WebhookRouter


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


@dataclass(frozen=True, slots=True, kw_only=True)
class RouterKind:
    """A kind of router, and how it is opened.

    ``problems`` lists what is wrong with the settings of its table, each with its key.
    ``told`` is False where the router follows the table by itself. ``later`` is True where
    a route that has been in force for a while still leaves the router something to do.
    """

    open: Callable[[Any, Reach, Database], Router]
    problems: Callable[[Any, Reach], list[str]] = lambda _settings, _reach: []
    told: bool = True
    later: bool = False


ROUTERS: Final[Mapping[str, RouterKind]] = {
    "gateway": RouterKind(open=Gateways, problems=gateway.problems, told=False),
    "none": RouterKind(open=lambda _settings, _reach, database: TableOnly(database), told=False),
    "redis": RouterKind(
        open=lambda settings, reach, _database: Redis(settings, reach.inside),
        problems=redis.problems,
    ),
    "vllm": RouterKind(open=Replicas, problems=vllm.problems, later=True),
    "webhook": RouterKind(
        open=lambda settings, reach, _database: WebhookRouter(settings, reach.outside),
        problems=webhook.problems,
    ),
}
"""One entry for each kind of router; the keys are words of the config."""


def open_router(name: str, settings: object, *, reach: Reach, database: Database) -> Router:
    """Open the router of this name.

    Parameters
    ----------
    settings
        The router's own table of the config; None for a router without one.

    Raises
    ------
    ValueError
        No router has this name, or its settings cannot be used; no value is quoted.
    """
    if name not in ROUTERS:
        raise ValueError(f"no router {name!r}; known: {', '.join(ROUTERS)}")
    if wrong := ROUTERS[name].problems(settings, reach):
        raise ValueError(f"router {name!r}: {'; '.join(wrong)}")
    return ROUTERS[name].open(settings, reach, database)

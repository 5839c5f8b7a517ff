"""Who carries a route out. The table is the truth; a router brings it to the traffic."""

from __future__ import annotations

from typing import Protocol

from monitor.domain import Arm, Route
from monitor.routing.arms import effective
from monitor.store import routes
from monitor.store.database import Database


class RouterFailed(Exception):  # noqa: N818 (named as the outcome it reports)
    """The router could not be told, or did not say what it does."""


class Router(Protocol):
    """Carries routes out.

    Laws, checked for every entry of ``ROUTERS``: ``apply`` states the wanted end, so it may
    be repeated; a route of an older generation than one already applied changes nothing.
    ``read_back`` says what is really in force, asked anew each time; None where the router
    knows no such adapter. Both raise :class:`RouterFailed`.
    """

    def apply(self, route: Route) -> None: ...

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None: ...


class TableOnly:
    """Clients read the table themselves (long-poll), so writing it was all there is to do."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def apply(self, route: Route) -> None:
        del route

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        route = self._database.run(lambda tx: routes.get(tx, adapter))
        return effective(route, route.since).arms if route else None

"""The table itself: clients follow it by long-poll, so writing it was all there is to do."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.domain import Arm, Route, Version
from monitor.store import routes
from monitor.store.database import Database


class TableOnly:
    """Says back what the table says; whether a client follows it is not asked."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions

    def apply(self, route: Route) -> None:
        del route

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        route = self._database.run(lambda tx: routes.get(tx, adapter))
        return route.arms if route else None

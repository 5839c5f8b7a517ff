"""The table alone: clients follow it by long-poll, so no router needs to be told."""

from __future__ import annotations

from collections.abc import Sequence

from monitor.domain import Arm, Route, Version
from monitor.store.database import Database
from monitor.store.traffic import routes


class TableOnly:
    """Returns the table's own route; it does not check whether clients follow it."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions

    def apply(self, route: Route) -> None:
        del route

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        route = self._database.run(lambda tx: routes.get(tx, adapter))
        return route.arms if route else None

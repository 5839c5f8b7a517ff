"""References that are frozen in a transaction of their own."""

from typing import Any

from monitor.domain import Reference
from monitor.reference.freeze import open_generation
from monitor.store.database import Database


def freeze(database: Database, **wanted: Any) -> Reference:
    """Open a generation of the records that ``open_generation`` is told of."""
    return database.run(lambda tx: open_generation(tx, **wanted))

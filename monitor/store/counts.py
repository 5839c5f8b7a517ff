"""Count the rows of each table, to compare a copy with its original."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection


def tables(tx: Connection) -> list[str]:
    """Name every table, a partitioned one once."""
    return list(tx.scalars(_TABLES))


def rows_of_all(tx: Connection) -> Mapping[str, int]:
    """Count the rows of every table, reading all of them."""
    return {name: _rows(tx, name) for name in tables(tx)}


def _rows(tx: Connection, name: str) -> int:
    query = sa.select(sa.func.count()).select_from(sa.table(name))
    return int(tx.execute(query).scalar_one())


_TABLES: Final = sa.text(
    "SELECT relname FROM pg_class WHERE relnamespace = current_schema()::regnamespace"
    " AND relkind IN ('r', 'p') AND NOT relispartition ORDER BY relname"
)

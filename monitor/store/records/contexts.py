"""Store the attributes that many records share: source, arm, replica, engine, settings."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Sequence
from typing import Final, NamedTuple

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.store.tables.records import contexts


class Context(NamedTuple):
    """A record's origin and settings; ``""`` means "not given".

    ``stratum`` is the text of the settings: only records of one stratum are compared.
    """

    source: str
    arm: str
    replica: str
    engine: str
    stratum: str


_COLUMNS: Final = tuple(contexts.c[name] for name in Context._fields)


def intern(connection: Connection, wanted: Iterable[Context]) -> dict[Context, int]:
    """Return the id of each context, creating the new ones.

    Best run in its own transaction: two writers that meet the same new context wait for each other
    until the first commits. Sorted, so that they cannot deadlock.
    """
    listed = sorted(set(wanted))
    found = _find(connection, listed)
    missing = [context for context in listed if context not in found]
    if missing:
        rows = [context._asdict() for context in missing]
        connection.execute(insert(contexts).values(rows).on_conflict_do_nothing())
        found |= _find(connection, missing)
    return found


def of_strata(connection: Connection, strata: Sequence[str]) -> list[int]:
    """Return the ids of all contexts in these settings strata."""
    query = sa.select(contexts.c.id).where(contexts.c.stratum.in_(strata))
    return list(connection.execute(query).scalars())


def strata_of(connection: Connection, ids: Collection[int]) -> dict[int, str]:
    """Name the settings stratum of each context."""
    if not ids:
        return {}
    query = sa.select(contexts.c.id, contexts.c.stratum).where(contexts.c.id.in_(ids))
    return {row.id: row.stratum for row in connection.execute(query)}


def _find(connection: Connection, wanted: Sequence[Context]) -> dict[Context, int]:
    query = sa.select(contexts.c.id, *_COLUMNS).where(sa.tuple_(*_COLUMNS).in_(wanted))
    return {Context(*row[1:]): row[0] for row in connection.execute(query)}

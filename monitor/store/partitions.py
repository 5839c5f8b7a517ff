"""Manage tables partitioned by time: created ahead, dropped whole when expired.

Dropping a partition is the entire retention: no row is deleted one by one, so nothing is left for
vacuum and disk space is freed at once.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, date, datetime, timedelta
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store.database import Database
from monitor.store.tables import PARTITIONED

DEFAULT_RETENTION: Final[Mapping[str, timedelta]] = MappingProxyType(
    {
        "records": timedelta(days=90),
        "record_tokens": timedelta(),  # no part of Driftline reads them
        "record_embeddings": timedelta(days=90),
        "answer_embeddings": timedelta(days=90),
        "record_texts": timedelta(days=7),
        "feedback": timedelta(days=90),
        "scores": timedelta(days=400),
        "increments": timedelta(days=7),
    }
)
"""How long a row is kept after its ``at``, per partitioned table."""

RECORD_TABLES: Final = (
    "records",
    "record_tokens",
    "record_embeddings",
    "answer_embeddings",
    "record_texts",
    "feedback",
)
"""The tables that a record writes to, at the record's own time."""

_WIDTH: Final[Mapping[str, int]] = MappingProxyType({"scores": 7})
"""Days per partition, if not one: 400 daily partitions would slow each plan."""

_AHEAD: Final = 2
_EPOCH: Final = date(1970, 1, 1)
_NAME: Final = re.compile(rf"({'|'.join(PARTITIONED)})_(\d{{8}})")

# by functions of the tables' owner, since the service itself may own nothing
_MAKE: Final = sa.text("SELECT driftline_make_day(:table, :start, :end)")
_DROP: Final = sa.text("SELECT driftline_drop_day(:name)")
_LOCK: Final = sa.text("SELECT pg_advisory_xact_lock(hashtext('driftline partitions'))")

_MISSING: Final = sa.text(
    "SELECT wanted.name FROM unnest(CAST(:names AS text[])) AS wanted (name)"
    " WHERE NOT EXISTS (SELECT FROM pg_class WHERE relname = wanted.name"
    " AND relnamespace = current_schema()::regnamespace) ORDER BY wanted.name"
)
_EXISTING: Final = sa.text(
    "SELECT child.relname FROM pg_inherits"
    " JOIN pg_class child ON child.oid = inhrelid"
    " JOIN pg_class parent ON parent.oid = inhparent"
    " WHERE parent.relname = ANY(:tables) AND child.relkind = 'r'"
    " AND parent.relnamespace = current_schema()::regnamespace"
    " ORDER BY child.relname"
)


def is_partition(name: str) -> bool:
    """True if this is the name of a partition made by this module."""
    return _NAME.fullmatch(name) is not None


def ensure(
    connection: Connection, days: Iterable[date], *, tables: Iterable[str] = PARTITIONED
) -> None:
    """Create the partitions for these UTC days; existing ones cost nothing.

    A new one is built beside its parent and then attached: attaching does not wait for readers and
    writers of the parent, as ``CREATE TABLE ... PARTITION OF`` would.
    """
    wanted = {_name(table, start): (table, start) for table, start in _starts(tables, days)}
    if not _missing(connection, wanted):
        return
    with _short_waits(connection):
        connection.execute(_LOCK)
        for name in _missing(connection, wanted):
            _create(connection, *wanted[name])


def create_ahead(
    connection: Connection, *, now: datetime, tables: Iterable[str] = PARTITIONED
) -> None:
    """Create the partitions from yesterday to the day after tomorrow."""
    today = now.astimezone(UTC).date()
    ensure(
        connection,
        [today + timedelta(days=offset) for offset in range(-1, _AHEAD + 1)],
        tables=tables,
    )


def drop_expired(
    connection: Connection,
    *,
    now: datetime,
    retention: Mapping[str, timedelta] = DEFAULT_RETENTION,
) -> list[str]:
    """Drop partitions whose newest possible row is older than its table's retention.

    Returns the names dropped. Waits at most two seconds for each lock, then raises
    ``OperationalError``: the next run drops the rest.
    """
    old = expired(connection, now=now, retention=retention)
    if old:
        with _short_waits(connection):
            for name in old:
                connection.execute(_DROP, {"name": name})
    return old


def expired(
    connection: Connection,
    *,
    now: datetime,
    retention: Mapping[str, timedelta] = DEFAULT_RETENTION,
) -> list[str]:
    """Name the partitions whose newest possible row is older than its table's retention."""
    return [
        name
        for name in existing(connection, tables=retention)
        if _end(name) <= now - retention[table_of(name)]
    ]


def drop_old(
    database: Database,
    *,
    now: datetime,
    retention: Mapping[str, timedelta] = DEFAULT_RETENTION,
) -> list[str]:
    """Drop expired partitions table by table, so that no lock is held for long."""
    dropped: list[str] = []
    for table, kept in retention.items():
        dropped += database.run(
            lambda tx, one={table: kept}: drop_expired(tx, now=now, retention=one)  # type: ignore[misc]  # a default argument
        )
    return dropped


def existing(connection: Connection, *, tables: Iterable[str] = PARTITIONED) -> list[str]:
    """Return the names of the existing partitions, by table and day."""
    return list(connection.execute(_EXISTING, {"tables": list(tables)}).scalars())


def _missing(connection: Connection, names: Iterable[str]) -> list[str]:
    """Return the names of no table, in order; far cheaper than a list of those that exist."""
    return list(connection.execute(_MISSING, {"names": sorted(names)}).scalars())


@contextmanager
def _short_waits(connection: Connection) -> Iterator[None]:
    """Wait at most two seconds for each lock, and restore the setting afterwards.

    After an error nothing is restored: the transaction's end resets the setting.
    """
    before = connection.execute(sa.text("SELECT current_setting('lock_timeout')")).scalar_one()
    connection.execute(sa.text("SET LOCAL lock_timeout = '2s'"))
    yield
    connection.execute(
        sa.text("SELECT set_config('lock_timeout', :before, true)"), {"before": before}
    )


def _create(connection: Connection, table: str, start: date) -> None:
    end = start + timedelta(days=_WIDTH.get(table, 1))
    connection.execute(_MAKE, {"table": table, "start": start, "end": end})


def _starts(tables: Iterable[str], days: Iterable[date]) -> Iterable[tuple[str, date]]:
    listed = list(days)
    for table in tables:
        width = _WIDTH.get(table, 1)
        for day in listed:
            yield table, day - timedelta(days=(day - _EPOCH).days % width)


def _name(table: str, start: date) -> str:
    return f"{table}_{start:%Y%m%d}"


def table_of(name: str) -> str:
    """Return the table that a partition belongs to."""
    return name.rsplit("_", 1)[0]


def _end(name: str) -> datetime:
    start = datetime.strptime(name.rsplit("_", 1)[1], "%Y%m%d").replace(tzinfo=UTC)
    return start + timedelta(days=_WIDTH.get(table_of(name), 1))

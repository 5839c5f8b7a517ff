"""Bring a database to the newest schema, once, however many daemons start together."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from functools import cache
from importlib import resources
from typing import Final

import psycopg
import sqlalchemy as sa
import structlog
from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from monitor.store import partitions
from monitor.store.database import Database

_LOG = structlog.get_logger(__name__)

_LOCK: Final = sa.text("SELECT pg_try_advisory_lock(hashtext('driftline migrations'))")
_UNLOCK: Final = sa.text("SELECT pg_advisory_unlock(hashtext('driftline migrations'))")
_TURN: Final = timedelta(milliseconds=100)
_PATIENCE: Final = timedelta(minutes=10)


def alembic_config(connection: Connection | None = None) -> Config:
    """Build Alembic's configuration in code, so that an installed wheel needs no file."""
    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")))
    config.attributes["connection"] = connection
    return config


def at_head(connection: Connection) -> bool:
    """Whether the database has exactly the schema that this code was written for."""
    return set(MigrationContext.configure(connection).get_current_heads()) == _heads()


@cache
def _heads() -> frozenset[str]:
    """Read once: a process never sees its own code change."""
    return frozenset(ScriptDirectory.from_config(alembic_config()).get_heads())


def migrate(
    database: Database,
    *,
    lock_timeout: timedelta = timedelta(seconds=2),
    tries: int = 20,
) -> None:
    """Upgrade to the newest schema and create the partitions of these days.

    A statement that waits longer than ``lock_timeout`` for a table gives up, so that
    readers and writers queue behind it no longer than that, and the whole upgrade is
    tried again, ``tries`` times. Daemons that start together take turns; those that come
    later find nothing to do.

    Raises
    ------
    sqlalchemy.exc.OperationalError
        When the tables stayed locked through all tries.
    TimeoutError
        When another daemon held the turn for ten minutes.
    """
    with _turn(database):
        for left in range(tries - 1, -1, -1):
            try:
                _upgrade(database, lock_timeout=lock_timeout)
                break
            except sa.exc.OperationalError as error:
                if left == 0 or not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
                _LOG.warning("migration_waits_for_a_lock", tries_left=left)
                time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 (jitter)
    partitions.maintain(database, now=datetime.now(UTC))


def _upgrade(database: Database, *, lock_timeout: timedelta) -> None:
    with database.engine.begin() as connection:
        if at_head(connection):
            return
        milliseconds = int(lock_timeout.total_seconds() * 1000)
        connection.execute(sa.text(f"SET LOCAL lock_timeout = {milliseconds}"))
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        command.upgrade(alembic_config(connection), "head")


@contextmanager
def _turn(database: Database) -> Iterator[None]:
    """Hold the advisory lock of migrations on a connection of its own."""
    until = time.monotonic() + _PATIENCE.total_seconds()
    with database.engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
        while not connection.execute(_LOCK).scalar_one():
            if time.monotonic() > until:
                raise TimeoutError("another process has been migrating for ten minutes")
            time.sleep(_TURN.total_seconds())
        try:
            yield
        finally:
            connection.execute(_UNLOCK)

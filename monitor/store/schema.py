"""Bring a database to the newest schema, once, however many daemons start together."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from importlib import resources
from typing import TYPE_CHECKING, Final

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from monitor.store import partitions
from monitor.store.database import Database

if TYPE_CHECKING:
    from alembic.config import Config

_LOG = structlog.get_logger(__name__)

HEAD: Final = "0027"
"""Newest revision in ``migrations/versions``; a test asks Alembic whether it still is.

Known here so that a service whose schema is at head need not load Alembic: 12 MB.
"""
_LOCK: Final = sa.text("SELECT pg_try_advisory_lock(hashtext('driftline migrations'))")
_UNLOCK: Final = sa.text("SELECT pg_advisory_unlock(hashtext('driftline migrations'))")
_TURN: Final = timedelta(milliseconds=100)
_PATIENCE: Final = timedelta(minutes=10)


def alembic_config(connection: Connection | None = None) -> Config:
    """Build Alembic's configuration in code, so that an installed wheel needs no file."""
    from alembic.config import Config  # see HEAD

    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")))
    config.attributes["connection"] = connection
    return config


def at_head(connection: Connection) -> bool:
    """Whether the database has exactly the schema that this code was written for."""
    made = connection.execute(sa.text("SELECT to_regclass('alembic_version')")).scalar_one()
    if made is None:
        return False
    rows = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
    return set(rows.scalars()) == {HEAD}


def revision(connection: Connection) -> str | None:
    """Say which schema the database has; None: it has none."""
    made = connection.execute(sa.text("SELECT to_regclass('alembic_version')")).scalar_one()
    if made is None:
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
    return str(found.scalar_one())


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
    with turn(database):
        for left in range(tries - 1, -1, -1):
            try:
                _upgrade(database, lock_timeout=lock_timeout)
                break
            except sa.exc.OperationalError as error:
                if left == 0 or not isinstance(error.orig, psycopg.errors.LockNotAvailable):
                    raise
                _LOG.warning("migration_waits_for_a_lock", tries_left=left)
                time.sleep(random.uniform(0.1, 0.5))  # noqa: S311 (jitter)
    # nothing is dropped here: only housekeeping knows how long this installation keeps what
    database.run(lambda tx: partitions.create_ahead(tx, now=datetime.now(UTC)))


def _upgrade(database: Database, *, lock_timeout: timedelta) -> None:
    with database.engine.begin() as connection:
        milliseconds = int(lock_timeout.total_seconds() * 1000)
        connection.execute(sa.text(f"SET LOCAL lock_timeout = {milliseconds}"))
        if at_head(connection):
            return
        # loading Alembic on a busy machine is a pause, too
        connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = '60s'"))
        connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
        from alembic import command  # see HEAD

        command.upgrade(alembic_config(connection), "head")


@contextmanager
def turn(database: Database) -> Iterator[None]:
    """Let no other process migrate meanwhile: hold a lock on a connection of its own.

    Raises
    ------
    TimeoutError
        When another process held it for ten minutes.
    """
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

"""Bring a database to the newest schema, once, however many daemons start together."""

from __future__ import annotations

import random
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from importlib import resources
from typing import TYPE_CHECKING, Final

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy import Connection

from monitor.store import clock, partitions, roles, teams
from monitor.store.database import Database, retryable
from monitor.store.errors import ForeignSchema

if TYPE_CHECKING:
    from alembic.config import Config

_LOG = structlog.get_logger(__name__)

HEAD: Final = "0039"
"""Newest revision in ``migrations/versions``; a test asks Alembic whether it still is.

Known here so that a service whose schema is at head need not load Alembic: 12 MB.
"""
FIRST: Final = "0031"
"""The revision of the first schema; rows of an earlier development state are not read."""
_LOCK: Final = "SELECT pg_try_advisory_lock(hashtext('driftline migrations'))"
_UNLOCK: Final = "SELECT pg_advisory_unlock(hashtext('driftline migrations'))"
_LETTING_IN: Final = sa.text("SELECT pg_advisory_xact_lock(hashtext('driftline roles'))")
_TURN: Final = timedelta(milliseconds=100)
_PATIENCE: Final = timedelta(minutes=10)
_LOOK: Final = timedelta(seconds=1)


def alembic_config(connection: Connection | None = None) -> Config:
    """Build Alembic's configuration in code, so that an installed wheel needs no file."""
    from alembic.config import Config  # see HEAD

    config = Config()
    config.set_main_option("script_location", str(resources.files("migrations")))
    config.attributes["connection"] = connection
    return config


def at_head(connection: Connection) -> bool:
    """True if the database has exactly the schema that this code needs."""
    made = connection.execute(sa.text("SELECT to_regclass('alembic_version')")).scalar_one()
    if made is None:
        return False
    rows = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
    return set(rows.scalars()) == {HEAD}


def revision(connection: Connection) -> str | None:
    """Return the database's schema revision; None if it has none."""
    made = connection.execute(sa.text("SELECT to_regclass('alembic_version')")).scalar_one()
    if made is None:
        return None
    found = connection.execute(sa.text("SELECT version_num FROM alembic_version"))
    known: str | None = found.scalar_one_or_none()
    return known


def migrate(
    database: Database,
    *,
    lock_timeout: timedelta = timedelta(seconds=2),
    tries: int = 20,
    service: str | None = None,
) -> None:
    """Upgrade to the newest schema and create the partitions of these days.

    A statement that waits longer than ``lock_timeout`` for a table gives up, so that readers and
    writers queue behind it no longer than that, and the whole upgrade is tried again, ``tries``
    times; likewise if the server was restarted meanwhile. Daemons that start together take turns;
    later ones find nothing to do. ``service`` is another role than this connection's; it is granted
    what it needs to work with these tables.

    Raises
    ------
    ForeignSchema
        The database has a schema that this release cannot bring to its own; nothing is changed.
    sqlalchemy.exc.OperationalError, psycopg.OperationalError
        When the tables stayed locked, or the server was away, through all tries.
    TimeoutError
        When another daemon held the turn for ten minutes.
    """
    for left in range(tries - 1, -1, -1):
        try:
            with turn(database):
                _upgrade(database, lock_timeout=lock_timeout)
            break
        except (sa.exc.OperationalError, psycopg.OperationalError) as error:
            cause = error.orig if isinstance(error, sa.exc.OperationalError) else error
            locked = isinstance(cause, psycopg.errors.LockNotAvailable)
            if left == 0 or not (locked or retryable(error)):
                raise
            why = "a lock" if locked else "the server"
            _LOG.warning("migration_tried_again", waits_for=why, tries_left=left)
            time.sleep(random.uniform(0.1, 0.5) * (1 if locked else 4))  # noqa: S311 (jitter)
    if service is not None:
        database.run(lambda tx: _let_in(tx, service))
    # nothing is dropped here: only housekeeping knows this installation's retention
    database.run(lambda tx: partitions.create_ahead(tx, now=clock.now(tx)))


def wait_for_head(database: Database) -> None:
    """Wait until another process has brought the schema to this release.

    Raises
    ------
    TimeoutError
        It did not, for ten minutes.
    """
    until = time.monotonic() + _PATIENCE.total_seconds()
    told = False
    while not database.run(at_head):
        if not told:
            _LOG.info("waits_for_the_migration", schema=HEAD)
            told = True
        if time.monotonic() > until:
            raise TimeoutError("nobody has migrated the database for ten minutes")
        time.sleep(_LOOK.total_seconds())


def _let_in(tx: Connection, service: str) -> None:
    tx.execute(_LETTING_IN)  # daemons that start together do it once
    if roles.lacking(tx, service):
        roles.grant(tx, service)
        _LOG.info("role_let_in", role=service)


def _upgrade(database: Database, *, lock_timeout: timedelta) -> None:
    with database.engine.begin() as connection:
        milliseconds = int(lock_timeout.total_seconds() * 1000)
        connection.execute(sa.text(f"SET LOCAL lock_timeout = {milliseconds}"))
        if not at_head(connection):
            _refuse_foreign(revision(connection))
            connection.execute(sa.text("SET LOCAL statement_timeout = 0"))
            # loading Alembic on a busy machine takes longer than a frozen process may keep a lock
            connection.execute(sa.text("SET LOCAL idle_in_transaction_session_timeout = 0"))
            from alembic import command  # see HEAD

            teams.drop(connection)
            command.upgrade(alembic_config(connection), "head")
        teams.ensure(connection)


def _refuse_foreign(known: str | None) -> None:
    if known is None or FIRST <= known < HEAD:
        return
    if known < FIRST:
        raise ForeignSchema(
            f"the database has schema {known}, of a Driftline before 0.1.0, which this release"
            ' does not read: give it an empty database, or see "Upgrades" in docs/operations.md'
        )
    raise ForeignSchema(
        f"the database has schema {known}, of a newer Driftline than this one, which knows"
        f" {HEAD}: run that release or a later one"
    )


@contextmanager
def turn(database: Database) -> Iterator[None]:
    """Hold a lock, on a connection of its own, so that no other process migrates meanwhile.

    Raises
    ------
    TimeoutError
        When another process held it for ten minutes.
    """
    until = time.monotonic() + _PATIENCE.total_seconds()
    with database.session() as connection:
        while connection.execute(_LOCK).fetchone() != (True,):
            if time.monotonic() > until:
                raise TimeoutError("another process has been migrating for ten minutes")
            time.sleep(_TURN.total_seconds())
        try:
            yield
        finally:
            with suppress(psycopg.OperationalError):  # a server that is gone holds no lock
                connection.execute(_UNLOCK)

"""Transactions, and the only place that retries them.

Repositories in this package are plain functions whose first argument is a connection;
the caller owns the transaction::

    database.run(lambda tx: routes.put(tx, route, expected=7))

``run`` is the unit of retry: the whole function is called again after an error that says
"the transaction did not happen, and trying again can help" (a lost server, a failover, a
serialization failure, a deadlock). Any other error is raised at once.
"""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from datetime import timedelta
from functools import partial
from typing import Any, Final, TypeVar

import psycopg
import sqlalchemy as sa
import structlog
from sqlalchemy import Connection, Dialect, Engine
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.pool import ConnectionPoolEntry

from monitor.store import teams
from monitor.store.passwords import PasswordCommand
from monitor.store.room import DiskRoom
from monitor.store.standby import Standby, reading_pages

T = TypeVar("T")

_LOG = structlog.get_logger(__name__)

RETRIED_CLASSES: Final = frozenset({"08"})
"""SQLSTATE classes: connection exceptions."""
RETRIED_STATES: Final = frozenset(
    {
        "57P01",  # admin_shutdown
        "57P02",  # crash_shutdown
        "57P03",  # cannot_connect_now
        "40001",  # serialization_failure
        "40P01",  # deadlock_detected
        "25006",  # read_only_sql_transaction: the old primary after a failover
    }
)
ATTEMPTS: Final = 5
FIRST_DELAY: Final = 0.05
LONGEST_DELAY: Final = 2.0
LONGEST_PAUSE: Final = timedelta(seconds=60)


def retryable(error: BaseException) -> bool:
    """True if the transaction may have failed for a transient reason.

    A broken connection carries no SQLSTATE; psycopg then raises ``OperationalError`` without one,
    which counts as class 08.
    """
    cause = error.orig if isinstance(error, sa.exc.DBAPIError) else error
    if not isinstance(cause, psycopg.Error):
        return False
    state = cause.sqlstate
    if state is None:
        return isinstance(cause, psycopg.OperationalError)
    return state in RETRIED_STATES or state[:2] in RETRIED_CLASSES


class Database:
    """A pool of connections to one PostgreSQL (>= 15).

    ``run`` may call its argument more than once, so it must do nothing outside the
    transaction. A COMMIT whose answer was lost is retried too: writes are idempotent by
    their keys (records, evaluations) or guarded by an epoch or generation.

    The server ends a transaction that says nothing for ``longest_pause``: a process that
    was frozen in the middle of one must not hold its locks against those who follow it.

    With ``direct``, ``url`` leads through a pooler in transaction mode, such as PgBouncer: each
    transaction may be on another session. Settings are then made in each transaction, nothing is
    prepared, and what needs a session of its own goes to ``direct``.

    What a team's request reads is restricted by :mod:`monitor.store.teams`. With ``standby``, pages
    are read there (:mod:`monitor.store.standby`), through a pooler or past it.
    """

    def __init__(
        self,
        url: str,
        *,
        direct: str | None = None,
        standby: str | None = None,
        password: PasswordCommand | None = None,
        pool_size: int = 10,
        application: str = "driftline",
        longest_pause: timedelta = LONGEST_PAUSE,
        room: DiskRoom | None = None,
    ) -> None:
        self.room = room or DiskRoom()
        self._password = password
        settings = {
            "timezone": "UTC",
            "statement_timeout": "30s",
            "idle_in_transaction_session_timeout": f"{longest_pause.total_seconds():.0f}s",
        }
        kept = {"options": " ".join(f"-c {name}={value}" for name, value in settings.items())}
        reach = {
            "application_name": application,
            "connect_timeout": 5,
            "keepalives": 1,
            "keepalives_idle": 10,
            "keepalives_interval": 5,
            "keepalives_count": 3,
            "tcp_user_timeout": 20_000,
        }
        pool = {"pool_size": pool_size, "max_overflow": pool_size, "pool_pre_ping": True}
        self._standby = None
        if standby is not None:
            few = pool | {"pool_timeout": 2}
            self._standby = Standby(self._lent(standby, reach, settings, **few))
        if direct is None:
            self.engine = self._engine(url, reach | kept, **pool)
            self._direct = self.engine
            return
        self.engine = self._lent(url, reach, settings, **pool)
        self._direct = self._engine(direct, reach | kept, poolclass=sa.NullPool)

    def _lent(
        self, url: str, reach: Mapping[str, Any], settings: Mapping[str, str], **pool: Any
    ) -> Engine:
        """Make an engine that leaves nothing on a session, which a pooler may lend to others."""
        engine = self._engine(url, {**reach, "prepare_threshold": None}, **pool)
        each = ", ".join(
            f"set_config('{name}', '{value}', true)" for name, value in settings.items()
        )

        @sa.event.listens_for(engine, "begin")
        def set_up(connection: Connection) -> None:
            connection.exec_driver_sql(f"SELECT {each}")

        return engine

    def _engine(self, url: str, reach: Mapping[str, Any], **pool: Any) -> Engine:
        # an error must not carry texts and keys into the log
        engine = sa.create_engine(url, hide_parameters=True, connect_args=dict(reach), **pool)
        if (command := self._password) is not None:

            @sa.event.listens_for(engine, "do_connect")
            def connect(
                dialect: Dialect, _record: object, words: list[Any], named: dict[str, Any]
            ) -> DBAPIConnection | None:
                if named.get("password"):  # an address that has one keeps it
                    return None
                reach = partial(dialect.connect, *words, **named)
                return _with_password(command, reach, named)

        return engine

    @contextmanager
    def session(self) -> Iterator[psycopg.Connection]:
        """Open a session of its own that commits each statement, past any pooler.

        It is closed at the end and never goes back into the pool.
        """
        with self._direct.connect() as pooled:
            connection = pooled.connection.driver_connection
            pooled.detach()
            assert isinstance(connection, psycopg.Connection)  # noqa: S101 (the only driver)
            connection.autocommit = True
            yield connection

    def run(self, work: Callable[[Connection], T], *, attempts: int = ATTEMPTS) -> T:
        """Call ``work`` in one transaction; retry it whole on the listed errors.

        Full jitter between attempts, 50 ms doubling to 2 s.
        """
        if self._standby is not None and reading_pages():
            found = self._standby.read(work)
            if found is not None:
                return found.value
        for attempt in range(1, attempts + 1):
            try:
                with self.begin() as connection:
                    return work(connection)
            except (sa.exc.DBAPIError, psycopg.Error) as error:
                self.room.notice(error)
                if attempt == attempts or not retryable(error):
                    raise
                longest = min(LONGEST_DELAY, FIRST_DELAY * 2 ** (attempt - 1))
                _LOG.warning("transaction_retried", attempt=attempt, error=type(error).__name__)
                time.sleep(random.uniform(0.2, 1.0) * longest)  # noqa: S311 (jitter)
        raise AssertionError("unreachable: the last attempt returns or raises")

    def changed(self) -> None:
        """Note that a person changes something, who looks for it on the next page."""
        if self._standby is not None:
            self._standby.changed()

    @contextmanager
    def begin(self) -> Iterator[Connection]:
        """Begin a transaction without retry, for callers that stream or hold it open."""
        with self.engine.begin() as connection:
            teams.enter(connection)
            yield connection

    def close(self) -> None:
        """Close idle connections; those in use close when returned."""
        sa.event.listen(self.engine.pool, "checkin", _close_returned)
        self.engine.dispose()
        self._direct.dispose()
        if self._standby is not None:
            self._standby.close()


def _with_password(
    command: PasswordCommand, connect: Callable[..., DBAPIConnection], named: Mapping[str, Any]
) -> DBAPIConnection:
    """Connect with the command's password; if the server refuses it, once more with a new one."""
    whose = {name: str(named.get(name) or "") for name in ("user", "host", "port")}
    given = command(**whose)
    try:
        return connect(password=given)
    except psycopg.OperationalError as error:
        # a refusal has no SQLSTATE, and its text is in the server's language
        if error.pgconn is None or not error.pgconn.used_password:
            raise
        anew = command(**whose, refused=given)
        if anew == given:
            raise
    return connect(password=anew)


def _close_returned(_connection: object, record: ConnectionPoolEntry) -> None:
    """Close a connection that comes back to a pool which nobody takes from any more."""
    record.invalidate()

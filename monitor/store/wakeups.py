"""Wake up other processes: ``NOTIFY`` when a row is written, ``LISTEN`` to look sooner.

This is only a hint. A notification may be lost (a reconnect, a pooler that does not carry
``LISTEN``), so listeners poll as well, and polling alone must be correct.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Mapping
from datetime import timedelta
from typing import Final

import psycopg
import sqlalchemy as sa
import structlog
from psycopg import sql
from sqlalchemy import Connection

from monitor.store.database import Database

OUTBOX: Final = "driftline_outbox"
"""A message waits to be delivered."""
ROUTES: Final = "driftline_routes"
"""A route has a new generation; the payload is the adapter's name."""
DECISIONS: Final = "driftline_decisions"
"""It is to be decided whether a version's traffic moves."""

_LOOK_UP: Final = timedelta(seconds=1)
"""How often the listening thread checks whether it should stop."""
_RECONNECT: Final = timedelta(seconds=2)

_LOG = structlog.get_logger(__name__)

Callback = Callable[[str], None]
"""Called with the payload, on the listening thread: set an event and return."""


def notify(tx: Connection, name: str, *, payload: str = "") -> None:
    """Wake the listeners of ``name`` when, and only if, the transaction commits."""
    tx.execute(sa.select(sa.func.pg_notify(name, payload)))


class WakeUps:
    """One connection and one thread that pass what PostgreSQL notifies to callbacks.

    After a (re)connection every callback is called once with an empty payload, since a notification
    may have been missed.
    """

    def __init__(self, database: Database, callbacks: Mapping[str, Callback]) -> None:
        self._database = database
        self._callbacks = dict(callbacks)
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)

    def start(self) -> None:
        """Listen until :meth:`stop`."""
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close the connection."""
        self._stopping.set()
        self._thread.join(timeout=2 * _LOOK_UP.total_seconds())

    def _run(self) -> None:
        while not self._stopping.is_set():
            try:
                self._listen()
            except (sa.exc.DBAPIError, psycopg.Error) as error:
                _LOG.warning("wake_ups_lost", error=type(error).__name__)
                self._stopping.wait(_RECONNECT.total_seconds())

    def _listen(self) -> None:
        with self._database.engine.connect() as pooled:
            connection = pooled.connection.driver_connection
            # a listening session must not return to the pool with its subscriptions
            pooled.detach()
            assert isinstance(connection, psycopg.Connection)  # noqa: S101 (the only driver)
            connection.autocommit = True
            for name in self._callbacks:
                connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
            for callback in self._callbacks.values():
                callback("")
            while not self._stopping.is_set():
                for notice in connection.notifies(timeout=_LOOK_UP.total_seconds()):
                    self._callbacks[notice.channel](notice.payload)

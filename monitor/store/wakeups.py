"""Wake up loops that sleep: ``NOTIFY`` when work is made, ``LISTEN`` to begin with it.

The transaction that makes work notifies, and work for later has its time in the data.
So a loop sleeps until it is notified or something is due (:meth:`WakeUps.rest`). A wake-up
may still be lost, so no loop sleeps longer than ``net``. While no wake-ups arrive (there is no
connection, or a pooler that does not carry ``LISTEN``), every loop looks at its own pace.
"""

from __future__ import annotations

import select
import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any, Final

import psycopg
import sqlalchemy as sa
import structlog
from psycopg import sql
from sqlalchemy import Connection

from monitor.store.database import Database

ADMISSIONS: Final = "driftline_admissions"
"""An admission is requested."""
CANARIES: Final = "driftline_canaries"
"""A canary is to be looked at, or its route to be read back."""
DECISIONS: Final = "driftline_decisions"
"""It is to be decided whether a version's traffic moves."""
HELD: Final = "driftline_held"
"""A message is held until its group may be told."""
OUTBOX: Final = "driftline_outbox"
"""A message waits to be delivered."""
REFERENCES: Final = "driftline_references"
"""A reference waits for a builder."""
REPORTS: Final = "driftline_reports"
"""A report is requested."""
ROUTES: Final = "driftline_routes"
"""A route has a new generation; the payload is the adapter's name."""
SELFTESTS: Final = "driftline_selftests"
"""A self-test is requested."""
TASKS: Final = "driftline_tasks"
"""An evaluation or a probe is due, or soon will be."""
TEXTS: Final = "driftline_texts"
"""Texts wait to be embedded."""
VERSIONS: Final = "driftline_versions"
"""A version is registered."""

TIMED: Final = (
    ADMISSIONS,
    CANARIES,
    DECISIONS,
    OUTBOX,
    REFERENCES,
    REPORTS,
    SELFTESTS,
    TASKS,
    TEXTS,
)
"""Work that may become due with time."""

NET: Final = timedelta(seconds=30)
"""The longest sleep: what a lost wake-up costs."""

CHECK: Final = "driftline_wake_ups"
"""Wake-ups that only show that wake-ups arrive."""
_RECONNECT: Final = timedelta(seconds=2)
_STOP_S: Final = 10.0

_LOG = structlog.get_logger(__name__)

Callback = Callable[[str], None]
"""Called with the payload, on the listening thread: set an event and return."""
Due = Callable[[], timedelta | None]
"""Returns the time until there may be work; None: not before a wake-up."""


def notify(tx: Connection, name: str, *, payload: str = "") -> None:
    """Wake the listeners of ``name`` when, and only if, the transaction commits."""
    tx.execute(sa.select(sa.func.pg_notify(name, payload)))


def notify_if_soon(tx: Connection, name: str, left: timedelta | None) -> None:
    """Wake the listeners if work is due in ``left``, before they would look by themselves."""
    if left is not None and left < NET:
        notify(tx, name)


def until(moment: Any) -> Any:
    """Return the time left until a moment, in SQL."""
    return moment - sa.func.clock_timestamp()


def first(tx: Connection, moment: Any, *where: Any) -> timedelta | None:
    """Return the time until the earliest moment of the rows that match; None without rows."""
    found: timedelta | None = tx.execute(
        sa.select(until(sa.func.min(moment))).where(*where)
    ).scalar_one()
    return found


def freed(lease_until: Any) -> Any:
    """Return when a row can be claimed, in SQL: at once, or once its lease is over."""
    return sa.func.coalesce(lease_until, sa.func.now())


def never() -> None:
    """Nothing becomes due by itself."""


class WakeUps:
    """One connection and one thread that pass what PostgreSQL notifies to callbacks.

    After a (re)connection and after its loss every callback is called once with an empty payload,
    since a wake-up may have been missed. ``heard`` is true while wake-ups arrive.
    """

    def __init__(self, database: Database, *, net: timedelta = NET) -> None:
        self.heard = False
        self._database = database
        self._net = net
        self._callbacks: dict[str, list[Callback]] = {}
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="wake-ups", daemon=True)

    def on(self, name: str, callback: Callback) -> None:
        """Call back at each wake-up of ``name``; before :meth:`start`."""
        self._callbacks.setdefault(name, []).append(callback)

    def start(self) -> None:
        """Listen until :meth:`stop`."""
        self._bell, self._ring = socket.socketpair()
        self._thread.start()

    def stop(self) -> None:
        """Stop listening and close the connection."""
        self._stopping.set()
        self._ring.close()  # which the bell shows
        self._thread.join(timeout=_STOP_S)

    def rest(self, due: Due, *, least: timedelta) -> timedelta:
        """Return how long a loop may sleep that these wake-ups wake: until it is due.

        Never longer than the net; and only ``least`` while wake-ups do not arrive.
        """
        left = due() if self.heard else least
        return max(least, self._net if left is None else min(left, self._net))

    def _run(self) -> None:
        with self._bell:
            while not self._stopping.is_set():
                try:
                    with self._connected() as connection:
                        self._listen(connection)
                except (sa.exc.SQLAlchemyError, psycopg.Error) as error:
                    _LOG.warning("wake_ups_lost", error=type(error).__name__)
                    self._stopping.wait(_RECONNECT.total_seconds())

    @contextmanager
    def _connected(self) -> Iterator[psycopg.Connection]:
        # a listening session must not return to the pool with its subscriptions
        with self._database.session() as connection:
            try:
                yield connection
            finally:
                self.heard = False
                self._wake_all()

    def _listen(self, connection: psycopg.Connection) -> None:
        for name in (CHECK, *self._callbacks):
            connection.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))
        self._wake_all()
        # sent as others send: a pooler may carry it on another connection than this one
        self._database.run(lambda tx: notify(tx, CHECK))
        waiting = select.poll()
        for source in (connection.fileno(), self._bell.fileno()):
            waiting.register(source, select.POLLIN)
        while not self._stopping.is_set():
            waiting.poll()
            for notice in connection.notifies(timeout=0):
                self.heard = True
                self._call(notice.channel, notice.payload)

    def _wake_all(self) -> None:
        for name in self._callbacks:
            self._call(name, "")

    def _call(self, name: str, payload: str) -> None:
        for callback in self._callbacks.get(name, ()):
            callback(payload)

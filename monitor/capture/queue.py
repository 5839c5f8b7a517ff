"""Queue submissions, within bounds, for the one thread that writes them.

Group commit: while one transaction commits, other requests' submissions gather and share the next
one. Under load a thousand rows share a commit; a lone request waits for others no longer than
``linger``.
"""

from __future__ import annotations

import random
import threading
import time
from collections import Counter, deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import psycopg
import sqlalchemy as sa
import structlog

from monitor.capture.errors import DiskFull, Overloaded, Unavailable
from monitor.store.database import retryable
from monitor.store.records.capture_counts import CountKey
from monitor.store.records.ingest import RecordBatch
from monitor.store.room import is_disk_full

_LOG = structlog.get_logger(__name__)

_OVERHEAD = 512  # bytes of Python and numpy objects per row, measured


@dataclass(slots=True, eq=False)
class Submission:
    """One request's rows and counts on their way to the database."""

    batch: RecordBatch
    counts: Counter[CountKey]
    size: int
    sender: str = ""
    done: threading.Event = field(default_factory=threading.Event)
    fresh_records: Sequence[bool] = ()
    fresh_feedback: Sequence[bool] = ()
    error: Exception | None = None

    @property
    def rows(self) -> int:
        """Rows that count toward the queue's bound; a request without rows counts as one."""
        return max(1, len(self.batch) + len(self.batch.feedback))

    @property
    def bytes(self) -> int:
        return self.size + _OVERHEAD * self.rows


@dataclass(frozen=True, slots=True, kw_only=True)
class QueueBounds:
    """The limits on waiting and on one write; durations are in seconds.

    No sender may have more waiting than the room that is left, so one alone fills half.
    """

    rows: int = 10_000
    bytes: int = 64 * 1024 * 1024
    rows_per_commit: int = 1_000
    linger: float = 0.005
    patience: float = 30.0


Write = Callable[[Sequence[Submission]], None]
"""Stores submissions in one transaction and fills in which rows were new."""


class WriteQueue:
    """A bounded queue of submissions, written by one thread."""

    def __init__(self, write: Write, bounds: QueueBounds) -> None:
        self._write = write
        self._bounds = bounds
        self._waiting: deque[Submission] = deque()
        self._rows = 0
        self._bytes = 0
        self._rows_of: Counter[str] = Counter()
        self._bytes_of: Counter[str] = Counter()
        self._closing = False
        self._changed = threading.Condition()
        self._thread = threading.Thread(target=self._run, name="record-writer", daemon=True)

    def start(self) -> None:
        """Start the writer."""
        self._thread.start()

    def close(self, *, timeout: float = 20.0) -> bool:
        """Refuse new submissions and write the waiting ones; False if that took too long."""
        with self._changed:
            self._closing = True
            self._changed.notify_all()
        self._thread.join(timeout)
        return not self._thread.is_alive()

    def depth(self) -> tuple[int, int]:
        """Return the rows and bytes that wait or are being written."""
        with self._changed:
            return self._rows, self._bytes

    def admit(self, sender: str = "") -> None:
        """Raise ``Overloaded`` if there is no room for this sender, before any work is done."""
        with self._changed:
            if not self._has_room(sender, rows=1, size=1):
                raise Overloaded(retry_after=jittered())

    def submit(self, submission: Submission) -> None:
        """Wait until the submission is durable.

        Raises ``Overloaded`` if the queue is full, ``DiskFull`` if the database's disk is full, and
        ``Unavailable`` if the database did not confirm in time or refused.
        """
        self._enqueue(submission)
        if not submission.done.wait(self._bounds.patience):
            raise Unavailable(retry_after=jittered())
        if submission.error is not None and is_disk_full(submission.error):
            raise DiskFull(retry_after=jittered()) from submission.error
        if submission.error is not None:
            raise Unavailable(retry_after=jittered()) from submission.error

    def _enqueue(self, submission: Submission) -> None:
        with self._changed:
            room = self._has_room(submission.sender, rows=submission.rows, size=submission.bytes)
            if self._closing or not room:
                raise Overloaded(retry_after=jittered())
            self._waiting.append(submission)
            self._account(submission, 1)
            self._changed.notify_all()

    def _has_room(self, sender: str, *, rows: int, size: int) -> bool:
        """True if the queue and the sender stay in bounds; a sender's first may have any size."""
        free_rows, free_bytes = self._bounds.rows - self._rows, self._bounds.bytes - self._bytes
        if not self._rows_of[sender]:
            return rows <= free_rows and size <= free_bytes
        return (
            self._rows_of[sender] + rows <= free_rows
            and self._bytes_of[sender] + size <= free_bytes
        )

    def _account(self, submission: Submission, sign: int) -> None:
        sender = submission.sender
        self._rows += sign * submission.rows
        self._bytes += sign * submission.bytes
        self._rows_of[sender] += sign * submission.rows
        self._bytes_of[sender] += sign * submission.bytes
        if not self._rows_of[sender]:
            del self._rows_of[sender], self._bytes_of[sender]

    def _run(self) -> None:
        while taken := self._take():
            self._store(taken)
            with self._changed:
                for one in taken:
                    self._account(one, -1)
            for one in taken:
                one.done.set()

    def _take(self) -> list[Submission]:
        """Wait for work; return an empty list once the queue is closed and empty."""
        with self._changed:
            self._changed.wait_for(lambda: self._waiting or self._closing)
        if not self._closing:
            time.sleep(self._bounds.linger)
        with self._changed:
            taken: list[Submission] = []
            rows = 0
            while self._waiting and (
                not taken or rows + self._waiting[0].rows <= self._bounds.rows_per_commit
            ):
                taken.append(self._waiting.popleft())
                rows += taken[-1].rows
            return taken

    def _store(self, taken: Sequence[Submission]) -> None:
        """Write together; if the database refuses, write each alone, so that only bad ones fail.

        If the database is unreachable, all fail at once: each alone would wait for it in turn, and
        delay later submissions.
        """
        try:
            self._write(taken)
        except (sa.exc.SQLAlchemyError, psycopg.Error) as error:
            away = retryable(error) or isinstance(error, sa.exc.TimeoutError) or is_disk_full(error)
            if len(taken) > 1 and not away:
                for one in taken:
                    self._store([one])
                return
            for one in taken:
                self._refuse(one, error)
        except Exception as error:  # noqa: BLE001 (one item of the writer's loop)
            for one in taken:
                self._refuse(one, error)

    def _refuse(self, submission: Submission, error: Exception) -> None:
        submission.error = error
        _LOG.error("records_not_stored", rows=submission.rows, error=type(error).__name__)


def jittered() -> int:
    """Return seconds to wait, spread so that senders do not return together."""
    return random.randint(5, 30)  # noqa: S311 - jitter

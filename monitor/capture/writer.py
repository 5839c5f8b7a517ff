"""Store submissions in one transaction, creating their partitions first."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import KW_ONLY, dataclass, field
from datetime import UTC, date, datetime, timedelta
from typing import Final

import numpy as np
import psycopg
from sqlalchemy import Connection

from monitor.capture.checks import BEHIND
from monitor.capture.queue import Submission
from monitor.domain import AdapterId
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.pgarray import Ints
from monitor.store.records import capture_counts, contexts, ingest
from monitor.store.records.capture_counts import BACKFILLED, CountKey
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import RecordBatch

_MAX_CONTEXTS: Final = 20_000
_DAY: Final = timedelta(days=1)
_DAY_MICROSECONDS: Final = 86_400_000_000
_EPOCH: Final = date(1970, 1, 1)


@dataclass(slots=True, eq=False)
class BatchWriter:
    """Writes batches, and caches which contexts and partitions exist."""

    database: Database
    _: KW_ONLY
    clock: Callable[[], datetime]
    retention: Mapping[str, timedelta]
    _contexts: dict[Context, int] = field(default_factory=dict, init=False)
    _lock: threading.Lock = field(default_factory=threading.Lock, init=False)
    _days: set[date] = field(default_factory=set, init=False)

    def context_ids(self, wanted: Sequence[Context]) -> list[int]:
        """Return the id of each context, interning new ones in a transaction of its own."""
        with self._lock:
            missing = set(wanted) - self._contexts.keys()
            if missing:
                found = self.database.run(lambda tx: contexts.intern(tx, missing))
                if len(self._contexts) > _MAX_CONTEXTS:
                    self._contexts = {one: self._contexts[one] for one in set(wanted) - missing}
                self._contexts |= found
            return [self._contexts[context] for context in wanted]

    def write(self, submissions: Sequence[Submission]) -> None:
        """Store all submissions in one transaction and note which rows were new.

        If a cached partition has vanished (retention ran), the cache is dropped and the write
        retried once.
        """
        joined = ingest.concatenate([one.batch for one in submissions])
        try:
            self._write(joined, submissions)
        except psycopg.errors.CheckViolation:
            self._days.clear()
            self._write(joined, submissions)

    def _write(self, joined: RecordBatch, submissions: Sequence[Submission]) -> None:
        self._ensure_partitions(joined)
        stored = self.database.run(lambda tx: _store(tx, joined, submissions, self.clock()))
        record, feedback = 0, 0
        for one in submissions:
            one.fresh_records = stored.records[record : record + len(one.batch)]
            one.fresh_feedback = stored.feedback[feedback : feedback + len(one.batch.feedback)]
            record += len(one.batch)
            feedback += len(one.batch.feedback)

    def _ensure_partitions(self, batch: RecordBatch) -> None:
        days = set(_days(batch)) - self._days
        if not days:
            return
        today = self.clock().astimezone(UTC).date()
        for table in partitions.RECORD_TABLES:
            oldest = today - self.retention[table] - _DAY
            kept = [day for day in days if day >= oldest]
            self.database.run(
                lambda tx, table=table, kept=kept: partitions.ensure(tx, kept, tables=[table])  # type: ignore[misc]  # a default argument
            )
        self._days |= days


def _store(
    tx: Connection, joined: RecordBatch, submissions: Sequence[Submission], now: datetime
) -> ingest.Inserted:
    stored = ingest.insert(tx, joined)
    counts: Counter[CountKey] = Counter()
    for one in submissions:
        counts.update(one.counts)
    fresh = np.array(stored.records, dtype=bool)
    _count(counts, joined.adapter_id[fresh], now, "accepted")
    old = joined.at < int((now - BEHIND).timestamp() * 1e6)
    _count(counts, joined.adapter_id[fresh & old], now, BACKFILLED)
    _count(counts, joined.adapter_id[~fresh], now, "duplicates")
    capture_counts.add(tx, counts)
    return stored


def _count(counts: Counter[CountKey], adapters: Ints, now: datetime, outcome: str) -> None:
    for adapter_id, count in Counter(adapters.tolist()).items():
        counts[AdapterId(adapter_id), now, outcome] += count


def _days(batch: RecordBatch) -> Iterable[date]:
    days = set((batch.at // _DAY_MICROSECONDS).tolist())
    days |= {row.at // _DAY_MICROSECONDS for row in batch.feedback}
    return (_EPOCH + timedelta(days=day) for day in days)

"""Store texts that wait for the embedding probe, and the probe's results.

A claim is a lease in the row, taken in a short transaction: no transaction is open while a model
runs. Settling a row writes its embedding and deletes its text in one transaction, so that a text
exists exactly as long as it is needed.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import AdapterId, Interval, ReferenceId, VersionId
from monitor.store import wakeups
from monitor.store.partitions import DEFAULT_RETENTION
from monitor.store.records import capture_counts
from monitor.store.records.capture_counts import CountKey
from monitor.store.rows import stored
from monitor.store.tables.records import (
    answer_embeddings,
    pending_texts,
    record_embeddings,
    record_texts,
)

MAX_FAILURES: Final = 5
"""After this many failures a text is dropped and counted, so that it blocks no others."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Pending:
    """A record's text, or its ready embedding without a similarity.

    ``embedding`` is float16 bytes, made by ``encoder``; with it ``prompt`` may be None.
    """

    id: int
    adapter_id: AdapterId
    version_id: VersionId | None
    record_id: str
    at: datetime
    received_at: datetime
    prompt: str | None
    output: str | None
    encoder: str | None
    embedding: bytes | None
    failures: int


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedAnswer:
    """The probe's result for an answer.

    ``placed`` are float4 bytes of its signals along the axes of ``reference_id``.
    """

    encoder: str
    embedding: bytes
    placed: bytes | None = None
    reference_id: ReferenceId | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Embedded:
    """The probe's result for a pending row; comparisons need a first reference.

    ``embedding`` is None if the row had neither a prompt nor an embedding, only an answer.
    ``coordinates`` are float4 bytes along the reference's axes, None if it has none; ``terms`` the
    hashes of the prompt's terms, None if they were not taken.
    """

    pending: Pending
    encoder: str
    embedding: bytes | None
    similarity: float | None = None
    coordinates: bytes | None = None
    reference_id: ReferenceId | None = None
    terms: bytes | None = None
    answer: EmbeddedAnswer | None = None


_CLAIM: Final = sa.text(
    "UPDATE pending_texts SET lease_until = :until WHERE id IN ("
    " SELECT id FROM pending_texts"
    " WHERE (lease_until IS NULL OR lease_until < now())"
    " AND (CAST(:adapter AS integer) IS NULL OR adapter_id = :adapter)"
    " AND (CAST(:before AS timestamptz) IS NULL OR at < :before)"
    " ORDER BY at LIMIT :limit FOR UPDATE SKIP LOCKED)"
    " RETURNING id, adapter_id, version_id, record_id, at, received_at, prompt, output,"
    " encoder, embedding, failures"
)


def claim(
    connection: Connection,
    *,
    adapter_id: AdapterId | None = None,
    limit: int,
    until: datetime,
    before: datetime | None = None,
) -> list[Pending]:
    """Lease up to ``limit`` rows until a time, oldest first; only records before ``before``.

    Two drains never get the same row while its lease lasts. Commit before embedding, then
    :func:`settle` or :func:`fail` the rows; the rows of a dead drain are free again when the lease
    ends.
    """
    bound = {"adapter": adapter_id, "limit": limit, "until": until, "before": before}
    rows = [Pending(**row) for row in connection.execute(_CLAIM, bound).mappings()]
    return sorted(rows, key=lambda row: (row.at, row.id))


def next_due(connection: Connection, *, before: datetime) -> timedelta | None:
    """Return the time until a text can be claimed; None where none waits."""
    c = pending_texts.c
    return wakeups.first(connection, wakeups.freed(c.lease_until), c.at < before)


def before(
    connection: Connection, times: Sequence[tuple[AdapterId, datetime]]
) -> frozenset[AdapterId]:
    """Name the adapters that have texts of records before a time, taken by somebody or not."""
    bound = {"adapters": [adapter for adapter, _ in times], "times": [at for _, at in times]}
    return frozenset(map(AdapterId, connection.execute(_BEFORE, bound).scalars()))


_BEFORE: Final = sa.text(
    "SELECT w.adapter_id FROM unnest(CAST(:adapters AS int[]), CAST(:times AS timestamptz[]))"
    " AS w (adapter_id, until) WHERE EXISTS"
    " (SELECT FROM pending_texts p WHERE p.adapter_id = w.adapter_id AND p.at < w.until)"
)


def waiting(
    connection: Connection, windows: Sequence[tuple[VersionId, AdapterId, Interval]]
) -> dict[VersionId, int]:
    """Count the prompts of records that arrived in windows and are not embedded yet."""
    found = {version_id: 0 for version_id, _, _ in windows}
    if found:
        bound = {
            "versions": list(found),
            "adapters": [adapter_id for _, adapter_id, _ in windows],
            "starts": [window.start for _, _, window in windows],
            "ends": [window.end for _, _, window in windows],
        }
        found |= {row.version_id: row.n for row in connection.execute(_WAITING, bound)}
    return found


_WAITING: Final = sa.text(
    "SELECT w.version_id, count(*) AS n FROM unnest(CAST(:versions AS int[]),"
    " CAST(:adapters AS int[]), CAST(:starts AS timestamptz[]), CAST(:ends AS timestamptz[]))"
    " AS w (version_id, adapter_id, started, ended) JOIN pending_texts p"
    " ON p.adapter_id = w.adapter_id AND p.version_id = w.version_id"
    " AND p.received_at >= w.started AND p.received_at < w.ended"
    " AND (p.prompt IS NOT NULL OR p.embedding IS NOT NULL) GROUP BY w.version_id"
)


def settle(
    connection: Connection,
    rows: Sequence[Embedded],
    *,
    store_text: bool,
    redact: Callable[[str], str],
    now: datetime,
) -> int:
    """Store embeddings and delete texts; return how many rows were settled.

    Rows that another drain settled meanwhile (after the lease ended) are skipped. With
    ``store_text`` the redacted text is kept, unless its retention has already passed.
    """
    taken = _take(connection, [row.pending for row in rows])
    settled = sorted(
        (row for row in rows if row.pending.id in taken),
        key=lambda row: (row.pending.adapter_id, row.pending.at, row.pending.record_id),
    )
    if not settled:
        return 0
    embeddings = [
        stored(record_embeddings, row, **_key(row.pending)) for row in settled if row.embedding
    ]
    if embeddings:
        connection.execute(insert(record_embeddings).on_conflict_do_nothing(), embeddings)
    answers = [
        stored(answer_embeddings, row.answer, **_key(row.pending)) for row in settled if row.answer
    ]
    if answers:
        connection.execute(insert(answer_embeddings).on_conflict_do_nothing(), answers)
    texts = [
        _key(row.pending) | _text(row.pending, redact)
        for row in settled
        if store_text and now - row.pending.at < DEFAULT_RETENTION["record_texts"]
    ]
    if texts:
        connection.execute(insert(record_texts).on_conflict_do_nothing(), texts)
    return len(settled)


def release(connection: Connection, rows: Sequence[Pending]) -> None:
    """Free the leases of rows that were not tried, without counting a failure."""
    connection.execute(
        pending_texts.update()
        .where(pending_texts.c.id.in_([row.id for row in rows]))
        .values(lease_until=None)
    )


def fail(connection: Connection, rows: Sequence[Pending], *, now: datetime) -> int:
    """Count a failure of each row and free its lease; return how many were dropped.

    The fifth failure deletes the text and counts the record as ``unembedded``.
    """
    spent = [row for row in rows if row.failures + 1 >= MAX_FAILURES]
    again = [row.id for row in rows if row.failures + 1 < MAX_FAILURES]
    connection.execute(
        pending_texts.update()
        .where(pending_texts.c.id.in_(again))
        .values(failures=pending_texts.c.failures + 1, lease_until=None)
    )
    dropped = _take(connection, spent)
    _count_unembedded(connection, {row.id: row.adapter_id for row in spent}, dropped, now=now)
    return len(dropped)


def drop_expired(
    connection: Connection,
    *,
    now: datetime,
    retention: timedelta = DEFAULT_RETENTION["record_texts"],
) -> int:
    """Delete texts that were not embedded in time, and count their records."""
    statement = (
        pending_texts.delete()
        .where(pending_texts.c.received_at < now - retention)
        .returning(pending_texts.c.id, pending_texts.c.adapter_id)
    )
    gone = {row.id: AdapterId(row.adapter_id) for row in connection.execute(statement)}
    _count_unembedded(connection, gone, set(gone), now=now)
    return len(gone)


def _take(connection: Connection, rows: Sequence[Pending]) -> set[int]:
    statement = (
        pending_texts.delete()
        .where(pending_texts.c.id.in_([row.id for row in rows]))
        .returning(pending_texts.c.id)
    )
    return set(connection.execute(statement).scalars())


def _key(pending: Pending) -> dict[str, Any]:
    return {"adapter_id": pending.adapter_id, "at": pending.at, "id": pending.record_id}


def _text(pending: Pending, redact: Callable[[str], str]) -> dict[str, str | None]:
    return {
        name: None if text is None else redact(text)
        for name, text in (("prompt", pending.prompt), ("output", pending.output))
    }


def _count_unembedded(
    connection: Connection, adapter: Mapping[int, AdapterId], gone: set[int], *, now: datetime
) -> None:
    counted: dict[CountKey, int] = {
        (adapter_id, now, "unembedded"): count
        for adapter_id, count in Counter(adapter[one] for one in gone).items()
    }
    capture_counts.add(connection, counted)

"""Write records in bulk: one idempotent statement per table, rows in key order."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import numpy as np
from sqlalchemy import Connection

from detectors.signals import SIGNALS, SignalKind, of_kind
from monitor.store import pgarray, wakeups
from monitor.store.pgarray import Floats, Ints

_TYPES: Final = {
    SignalKind.NUMBER: "float4",
    SignalKind.INTEGER: "int4",
    SignalKind.CODE: "int2",
    SignalKind.FLAG: "bool",
}
NUMBERS: Final[Mapping[str, str]] = MappingProxyType(
    {
        "version_id": "int4",
        "context_id": "int4",
        "sample_prob": "float4",
        "output_tokens": "int4",
        "sum_nll": "float8",
        "status": "int2",
        **{name: _TYPES[SIGNALS[name].kind] for name in of_kind(*_TYPES)},
    }
)
"""Numeric columns of a record and their types; NaN is stored as NULL."""


class TokenRow(NamedTuple):
    """A record's first tokens as float16 bytes; ``row`` is its place in the batch."""

    row: int
    nll: bytes
    entropy: bytes | None
    margin: bytes | None


class TextRow(NamedTuple):
    """A record's text or ready embedding, waiting for the probe."""

    row: int
    prompt: str | None
    output: str | None
    encoder: str | None
    embedding: bytes | None


class FeedbackRow(NamedTuple):
    """One named number about a record, which may be in another batch or come later."""

    adapter_id: int
    at: int
    record_id: str
    name: str
    value: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordBatch:
    """Records as columns, each ``(n,)``.

    ``at`` is in microseconds since 1970 UTC. ``numbers`` has every key of :data:`NUMBERS`.
    ``tokens`` and ``texts`` are sparse: they name the row they belong to.
    """

    adapter_id: Ints
    at: Ints
    id: Sequence[str]
    numbers: Mapping[str, Floats]
    finish_reason: Sequence[str | None]
    subject: Sequence[bytes | None]
    tokens: Sequence[TokenRow] = ()
    texts: Sequence[TextRow] = ()
    feedback: Sequence[FeedbackRow] = ()

    def __len__(self) -> int:
        return len(self.id)


def concatenate(batches: Sequence[RecordBatch]) -> RecordBatch:
    """Join batches in order."""
    if len(batches) == 1:
        return batches[0]
    offsets = np.cumsum([0, *map(len, batches)]).tolist()
    moved = list(zip(offsets, batches, strict=False))
    return RecordBatch(
        adapter_id=np.concatenate([batch.adapter_id for batch in batches]),
        at=np.concatenate([batch.at for batch in batches]),
        id=[one for batch in batches for one in batch.id],
        numbers={
            name: np.concatenate([batch.numbers[name] for batch in batches]) for name in NUMBERS
        },
        finish_reason=[one for batch in batches for one in batch.finish_reason],
        subject=[one for batch in batches for one in batch.subject],
        tokens=[t._replace(row=t.row + by) for by, batch in moved for t in batch.tokens],
        texts=[t._replace(row=t.row + by) for by, batch in moved for t in batch.texts],
        feedback=[one for batch in batches for one in batch.feedback],
    )


_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)

_RECORD_COLUMNS: Final = ("adapter_id", "at", "id", *NUMBERS, "finish_reason", "subject")
_RECORD_TYPES: Final = ("int4", "timestamptz", "text", *NUMBERS.values(), "text", "bytea")

_INSERT_RECORDS: Final = f"""
    INSERT INTO records ({", ".join(_RECORD_COLUMNS)})
    SELECT {", ".join(_RECORD_COLUMNS)}
    FROM unnest({", ".join(f"%s::{kind}[]" for kind in _RECORD_TYPES)})
        AS given ({", ".join(_RECORD_COLUMNS)})
    ORDER BY adapter_id, at, id COLLATE "C"
    ON CONFLICT DO NOTHING
    RETURNING adapter_id, at, id
"""

_INSERT_TOKENS: Final = """
    INSERT INTO record_tokens (adapter_id, at, id, nll, entropy, margin)
    SELECT adapter_id, at, id, nll, entropy, margin
    FROM unnest(%s::int4[], %s::timestamptz[], %s::text[], %s::bytea[], %s::bytea[], %s::bytea[])
        AS given (adapter_id, at, id, nll, entropy, margin)
    ORDER BY adapter_id, at, id COLLATE "C"
    ON CONFLICT DO NOTHING
"""

_INSERT_PENDING: Final = """
    INSERT INTO pending_texts
        (adapter_id, version_id, at, received_at, record_id, prompt, output, encoder, embedding)
    SELECT adapter_id, version_id, at, now(),
        record_id, prompt, output, encoder, embedding
    FROM unnest(%s::int4[], %s::int4[], %s::timestamptz[], %s::text[], %s::text[], %s::text[],
        %s::text[], %s::bytea[])
        AS given (adapter_id, version_id, at, record_id, prompt, output, encoder, embedding)
    ORDER BY at
"""

_INSERT_FEEDBACK: Final = """
    WITH fresh AS (
        INSERT INTO feedback (adapter_id, at, record_id, name, value)
        SELECT adapter_id, at, record_id, name, value
        FROM unnest(%s::int4[], %s::timestamptz[], %s::text[], %s::text[], %s::float8[])
            AS given (adapter_id, at, record_id, name, value)
        ORDER BY adapter_id, at, record_id COLLATE "C", name
        ON CONFLICT DO NOTHING
        RETURNING adapter_id, at, record_id, name, value
    ), waiting AS (
        INSERT INTO feedback_arrivals (adapter_id, at, record_id, name, value)
        SELECT adapter_id, at, record_id, name, value FROM fresh
    )
    SELECT adapter_id, at, record_id, name FROM fresh
"""


def microseconds(at: datetime) -> int:
    """Microseconds since 1970 UTC, exactly."""
    return (at - _EPOCH) // timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Inserted:
    """For each record and feedback row of a batch, whether it was new."""

    records: Sequence[bool]
    feedback: Sequence[bool]


def insert(connection: Connection, batch: RecordBatch) -> Inserted:
    """Store the records and feedback that are not stored yet.

    All in the caller's transaction, and idempotent by (adapter, at, id): of equal keys, within a
    batch or between batches, the first stays. Rows are inserted in key order, because two writers
    that insert the same keys in different orders deadlock. The partitions of all days in the batch
    must exist.
    """
    fresh: list[bool] = []
    if len(batch):
        fresh = _insert_records(connection, batch)
        _insert_tokens(connection, batch, fresh)
        _insert_texts(connection, batch, fresh)
    return Inserted(records=fresh, feedback=_insert_feedback(connection, batch.feedback))


def _insert_feedback(connection: Connection, rows: Sequence[FeedbackRow]) -> list[bool]:
    if not rows:
        return []
    adapter_id, at, record_id, name, value = zip(*rows, strict=True)
    columns = [
        pgarray.numbers(np.array(adapter_id), "int4"),
        pgarray.times(np.array(at)),
        pgarray.texts(record_id),
        pgarray.texts(name),
        pgarray.numbers(np.array(value, dtype=float), "float8"),
    ]
    cursor = pgarray.execute(connection, _INSERT_FEEDBACK, columns)
    return _fresh(cursor.rowcount, cursor, [row[:4] for row in rows])


def _insert_records(connection: Connection, batch: RecordBatch) -> list[bool]:
    columns = [
        pgarray.numbers(batch.adapter_id, "int4"),
        pgarray.times(batch.at),
        pgarray.texts(batch.id),
        *(pgarray.numbers(batch.numbers[name], kind) for name, kind in NUMBERS.items()),
        pgarray.texts(batch.finish_reason),
        pgarray.blobs(batch.subject),
    ]
    cursor = pgarray.execute(connection, _INSERT_RECORDS, columns)
    if cursor.rowcount == len(batch):
        return [True] * len(batch)
    keys = list(zip(batch.adapter_id.tolist(), batch.at.tolist(), batch.id, strict=True))
    return _fresh(cursor.rowcount, cursor, keys)


def _insert_tokens(connection: Connection, batch: RecordBatch, fresh: Sequence[bool]) -> None:
    kept = [row for row in batch.tokens if fresh[row.row]]
    if not kept:
        return
    index = np.array([row.row for row in kept])
    columns = [
        pgarray.numbers(batch.adapter_id[index], "int4"),
        pgarray.times(batch.at[index]),
        pgarray.texts([batch.id[row.row] for row in kept]),
        pgarray.blobs([row.nll for row in kept]),
        pgarray.blobs([row.entropy for row in kept]),
        pgarray.blobs([row.margin for row in kept]),
    ]
    pgarray.execute(connection, _INSERT_TOKENS, columns)


def _insert_texts(connection: Connection, batch: RecordBatch, fresh: Sequence[bool]) -> None:
    kept = [row for row in batch.texts if fresh[row.row]]
    if not kept:
        return
    index = np.array([row.row for row in kept])
    columns = [
        pgarray.numbers(batch.adapter_id[index], "int4"),
        pgarray.numbers(batch.numbers["version_id"][index], "int4"),
        pgarray.times(batch.at[index]),
        pgarray.texts([batch.id[row.row] for row in kept]),
        pgarray.texts([row.prompt for row in kept]),
        pgarray.texts([row.output for row in kept]),
        pgarray.texts([row.encoder for row in kept]),
        pgarray.blobs([row.embedding for row in kept]),
    ]
    pgarray.execute(connection, _INSERT_PENDING, columns)
    wakeups.notify(connection, wakeups.TEXTS)


def _fresh(count: int, cursor: Any, keys: Sequence[tuple[object, ...]]) -> list[bool]:
    """Return which keys were inserted; the rows are only read if some were not."""
    if count == len(keys):
        return [True] * len(keys)
    inserted = {(row[0], microseconds(row[1]), *row[2:]) for row in cursor}
    fresh = []
    for key in keys:
        fresh.append(key in inserted)
        inserted.discard(key)  # an equal key later in the batch is a duplicate
    return fresh

"""Store the training index of a reference: unit vectors in chunks."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import insert

from monitor.domain import ReferenceId, ReferenceState, VersionId
from monitor.store.references.references import ReferenceClaim, hold
from monitor.store.rows import shaped, stored
from monitor.store.tables.references import reference_vectors as table
from monitor.store.tables.references import references


@dataclass(frozen=True, slots=True, kw_only=True)
class VectorChunk:
    """Rows of the training index: unit vectors, float16, row-major.

    ``texts`` are the beginnings of the rows' redacted texts; None: not kept, or not read.
    ``shingles`` are hashes of the words that were learned; None: there are none, or not read.
    """

    chunk: int
    count: int
    dimension: int
    vectors: bytes
    texts: Sequence[str] | None = None
    shingles: bytes | None = None


def add(connection: Connection, claim: ReferenceClaim, chunk: VectorChunk) -> None:
    """Append rows to the training index."""
    hold(connection, claim)
    values = stored(table, chunk, reference_id=claim.reference_id)
    # a commit whose reply was lost is sent again
    connection.execute(insert(table).on_conflict_do_nothing(), values)


def clear(connection: Connection, claim: ReferenceClaim) -> None:
    """Remove an earlier builder's rows."""
    hold(connection, claim)
    connection.execute(table.delete().where(table.c.reference_id == claim.reference_id))


def copy(connection: Connection, claim: ReferenceClaim, *, source: ReferenceId) -> int:
    """Copy the training index of another reference; return its number of rows."""
    hold(connection, claim)
    c = table.c
    columns = (c.chunk, c.count, c.dimension, c.vectors, c.texts, c.shingles)
    taken = sa.select(sa.literal(claim.reference_id), *columns).where(c.reference_id == source)
    connection.execute(
        insert(table)
        .from_select(["reference_id", *(column.name for column in columns)], taken)
        .on_conflict_do_nothing()
    )
    return count(connection, claim.reference_id)[0]


def count(connection: Connection, reference_id: ReferenceId) -> tuple[int, int]:
    """Return the numbers of rows and chunks of a training index."""
    c = table.c
    query = sa.select(sa.func.coalesce(sa.func.sum(c.count), 0), sa.func.count()).where(
        c.reference_id == reference_id
    )
    rows, chunks = connection.execute(query).one()
    return int(rows), int(chunks)


def read(connection: Connection, reference_id: ReferenceId, *, chunk: int) -> VectorChunk | None:
    """Read one chunk of a training index; None after the last."""
    c = table.c
    columns = (c.chunk, c.count, c.dimension, c.vectors)
    query = sa.select(*columns).where(c.reference_id == reference_id, c.chunk == chunk)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else shaped(VectorChunk, row)


def texts(
    connection: Connection, reference_id: ReferenceId, places: Collection[int]
) -> dict[int, str]:
    """Read the kept texts of some rows, by their place in the index, from 0."""
    query = sa.text(
        "SELECT k.first + t.number - 1 AS place, t.text FROM"
        " (SELECT texts, sum(count) OVER (ORDER BY chunk) - count AS first"
        "  FROM reference_vectors WHERE reference_id = :id) k"
        " CROSS JOIN LATERAL unnest(k.texts) WITH ORDINALITY t (text, number)"
        " WHERE k.first + t.number - 1 = ANY(:places)"
    )
    found = connection.execute(query, {"id": reference_id, "places": list(places)})
    return {int(row.place): row.text for row in found}


def shingles(connection: Connection, reference_id: ReferenceId) -> list[bytes]:
    """Read the hashes of a reference's training texts, chunk by chunk."""
    c = table.c
    query = sa.select(c.shingles).where(c.reference_id == reference_id, c.shingles.is_not(None))
    return list(connection.execute(query).scalars())


def count_shingles(connection: Connection, reference_id: ReferenceId) -> int:
    """Count the hashes of a reference's training texts."""
    size = sa.func.coalesce(sa.func.sum(sa.func.octet_length(table.c.shingles)), 0)
    query = sa.select(size).where(table.c.reference_id == reference_id)
    return int(connection.execute(query).scalar_one()) // 8


def with_shingles(connection: Connection) -> dict[VersionId, ReferenceId]:
    """Return the references in force that have hashes of training texts, by version."""
    query = sa.text(
        "SELECT version_id, id FROM (SELECT DISTINCT ON (version_id) version_id, id"
        '  FROM "references" WHERE state = :ready ORDER BY version_id, generation DESC) r'
        " WHERE EXISTS (SELECT FROM reference_vectors v"
        "  WHERE v.reference_id = r.id AND v.shingles IS NOT NULL)"
    )
    found = connection.execute(query, {"ready": ReferenceState.READY.value})
    return {VersionId(row.version_id): ReferenceId(row.id) for row in found}


def checksum(connection: Connection, reference_id: ReferenceId) -> bytes | None:
    """Return the SHA-256 of a ready reference's index; None while it is being built."""
    query = sa.select(references.c.request["index_sha256"].astext).where(
        references.c.id == reference_id
    )
    stored = connection.execute(query).scalar_one_or_none()
    return None if stored is None else bytes.fromhex(stored)

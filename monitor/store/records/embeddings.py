"""Read the embedding probe's results: vectors, and the requests least like training."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, ReferenceId, VersionId


@dataclass(frozen=True, slots=True, kw_only=True)
class EmbeddedRecord:
    """A record's embedding: float16 bytes of a unit vector."""

    id: str
    at: datetime
    subject: bytes | None
    encoder: str
    vector: bytes


@dataclass(frozen=True, slots=True, kw_only=True)
class Similar:
    """A request's similarity to its nearest training example; the text only if stored."""

    record_id: str
    at: datetime
    similarity: float
    prompt: str | None


def read(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
    limit: int | None = None,
) -> list[EmbeddedRecord]:
    """Return the embeddings of a version's window in time order."""
    query = sa.text(
        "SELECT r.id, r.at, r.subject, e.encoder, e.embedding AS vector"
        " FROM records r JOIN record_embeddings e"
        " ON e.adapter_id = r.adapter_id AND e.at = r.at AND e.id = r.id"
        " AND e.at >= :start AND e.at < :end"
        " WHERE r.adapter_id = :adapter AND r.version_id = :version"
        " AND r.at >= :start AND r.at < :end ORDER BY r.at, r.id LIMIT :limit"
    )
    bound = _bound(version_id, adapter_id, start, end) | {"limit": limit}
    return [EmbeddedRecord(**row) for row in connection.execute(query, bound).mappings()]


def least_similar(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
    reference_id: ReferenceId,
    limit: int = 5,
) -> list[Similar]:
    """Return the window's requests least similar to training, worst first."""
    query = sa.text(
        "SELECT r.id AS record_id, r.at, e.similarity::float8 AS similarity, t.prompt"
        " FROM records r JOIN record_embeddings e"
        " ON e.adapter_id = r.adapter_id AND e.at = r.at AND e.id = r.id"
        " AND e.at >= :start AND e.at < :end"
        " LEFT JOIN record_texts t"
        " ON t.adapter_id = r.adapter_id AND t.at = r.at AND t.id = r.id"
        " AND t.at >= :start AND t.at < :end"
        " WHERE r.adapter_id = :adapter AND r.version_id = :version"
        " AND r.at >= :start AND r.at < :end"
        " AND e.reference_id = :reference AND e.similarity IS NOT NULL"
        " ORDER BY e.similarity, r.at LIMIT :limit"
    )
    bound = _bound(version_id, adapter_id, start, end)
    rows = connection.execute(query, bound | {"reference": reference_id, "limit": limit})
    return [Similar(**row) for row in rows.mappings()]


def count_below(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
    reference_id: ReferenceId,
    similarity: float,
) -> tuple[int, int]:
    """Count a window's requests below a similarity to training, and all compared."""
    query = sa.text(
        "SELECT count(*) FILTER (WHERE e.similarity < :similarity), count(*)"
        " FROM records r JOIN record_embeddings e"
        " ON e.adapter_id = r.adapter_id AND e.at = r.at AND e.id = r.id"
        " AND e.at >= :start AND e.at < :end"
        " WHERE r.adapter_id = :adapter AND r.version_id = :version"
        " AND r.at >= :start AND r.at < :end"
        " AND e.reference_id = :reference AND e.similarity IS NOT NULL"
    )
    bound = _bound(version_id, adapter_id, start, end)
    bound |= {"reference": reference_id, "similarity": similarity}
    below, compared = connection.execute(query, bound).one()
    return below, compared


def _bound(
    version_id: VersionId, adapter_id: AdapterId, start: datetime, end: datetime
) -> dict[str, object]:
    return {"version": version_id, "adapter": adapter_id, "start": start, "end": end}

"""Read a window of live records as the raw material of a reference."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime

import numpy as np
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, VersionId
from monitor.store.errors import StoreError
from monitor.store.records import records
from monitor.store.records.columns import RecordColumns


class WindowMoved(StoreError):  # noqa: N818 - it passes
    """Records of the window appeared or vanished during the read: read it again."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LiveBaseline:
    """Records in time order, each with its stratum and, if present, its embedding.

    ``vectors`` are float16 bytes of unit length, made by ``encoders``. ``feedback`` holds each
    record's feedback so far, by name. ``answers`` are vectors likewise, made by ``answered_by``.
    """

    columns: RecordColumns
    strata: Sequence[str]
    encoders: Sequence[str | None]
    vectors: Sequence[bytes | None]
    feedback: Sequence[Mapping[str, float]]
    answers: Sequence[bytes | None]
    answered_by: Sequence[str | None]


_EXTRAS = sa.text(
    "SELECT extract(epoch FROM r.at)::float8 AS at, c.stratum, e.encoder, e.embedding,"
    " f.given, o.encoder AS answered_by, o.embedding AS answer"
    " FROM records r JOIN contexts c ON c.id = r.context_id"
    " LEFT JOIN record_embeddings e ON e.adapter_id = r.adapter_id"
    " AND e.at = r.at AND e.id = r.id AND e.at >= :start AND e.at < :end"
    " LEFT JOIN (SELECT at, record_id, json_object_agg(name, value) AS given FROM feedback"
    "  WHERE adapter_id = :adapter AND at >= :start AND at < :end GROUP BY at, record_id) f"
    " ON f.at = r.at AND f.record_id = r.id"
    " LEFT JOIN answer_embeddings o ON o.adapter_id = r.adapter_id"
    " AND o.at = r.at AND o.id = r.id AND o.at >= :start AND o.at < :end"
    " WHERE r.adapter_id = :adapter AND r.version_id = :version"
    " AND r.at >= :start AND r.at < :end ORDER BY r.at, r.id"
)


def read(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
) -> LiveBaseline:
    """Read the half-open window ``[start, end)`` of a version; raises WindowMoved."""
    columns = records.read_window(
        connection, version_id=version_id, adapter_id=adapter_id, start=start, end=end
    )
    bound = {"version": version_id, "adapter": adapter_id, "start": start, "end": end}
    rows = connection.execute(_EXTRAS, bound).all()
    if not np.array_equal(columns.at, np.array([row.at for row in rows], dtype=np.float64)):
        raise WindowMoved("records came in while their window was read")
    return LiveBaseline(
        columns=columns,
        strata=[row.stratum for row in rows],
        encoders=[row.encoder for row in rows],
        vectors=[row.embedding for row in rows],
        feedback=[row.given or {} for row in rows],
        answers=[row.answer for row in rows],
        answered_by=[row.answered_by for row in rows],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Gathered:
    """Counts of a version's records since a time: all, the first one's time, the last day's."""

    records: int
    first_at: datetime | None
    last_day: int


_GATHERED = sa.text(
    "SELECT count(*) AS records, min(at) AS first_at,"
    " count(*) FILTER (WHERE at >= CAST(:now AS timestamptz) - interval '1 day') AS last_day"
    " FROM records"
    " WHERE adapter_id = :adapter AND version_id = :version AND at >= :since AND at < :now"
)


def gathered(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    since: datetime,
    now: datetime,
) -> Gathered:
    """Count the records that a version could learn from; one index range of its adapter."""
    bound = {"version": version_id, "adapter": adapter_id, "since": since, "now": now}
    return Gathered(**connection.execute(_GATHERED, bound).mappings().one())


@dataclass(frozen=True, slots=True, kw_only=True)
class Learning:
    """A version whose live records may become its reference, with their number and start.

    ``generation`` is the provisional reference that they would replace, which spans ``span_days``;
    0 if there is none.
    """

    version_id: VersionId
    records: int
    first_at: datetime
    generation: int
    span_days: float


_LEARNING = sa.text(
    "SELECT v.id AS version_id, coalesce(f.generation, 0) AS generation,"
    " coalesce(f.span_days, 0) AS span_days,"
    " r.records, r.first_at"
    " FROM versions v"
    ' LEFT JOIN LATERAL (SELECT * FROM "references" f WHERE f.version_id = v.id'
    "  ORDER BY f.generation DESC LIMIT 1) f ON true"
    " LEFT JOIN verdicts d ON d.version_id = v.id"
    # records from before an accepted change are not the new normal
    " CROSS JOIN LATERAL (SELECT count(*) AS records, min(at) AS first_at FROM records"
    "  WHERE adapter_id = v.adapter_id AND version_id = v.id AND at >= :since AND at < :now"
    "  AND at >= coalesce(CASE f.source WHEN 'accept'"
    "   THEN CAST(f.request ->> 'start' AS timestamptz) END, :since)) r"
    " WHERE (f.id IS NULL OR (f.source IN ('auto', 'accept') AND f.state = 'ready'"
    "  AND f.approved_by IS NULL AND d.kind = 'stable' AND f.ready_at < :again))"
    " AND r.records >= :least"
)


def learning(
    connection: Connection, *, since: datetime, now: datetime, again: datetime, least: int
) -> list[Learning]:
    """Find versions without a reference, or with only a provisional one made by us.

    A provisional one counts if the version is stable and the reference older than ``again``:
    traffic that drifts must not become the reference for drift.
    """
    bound = {"since": since, "now": now, "again": again, "least": least}
    return [Learning(**row) for row in connection.execute(_LEARNING, bound).mappings()]

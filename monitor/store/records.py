"""Read records as columns, ready for the detectors."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import Connection

from detectors.axes import COUNT
from detectors.input_similarity import SIMILARITY, TOPICS
from detectors.output_similarity import ANSWERS
from monitor.domain import AdapterId, ReferenceId, VersionId
from monitor.store import contexts

Floats = npt.NDArray[np.float64]

_STORED: Final = (
    "mean_nll",
    "p95_nll",
    "near_certain",
    "entropy",
    "margin",
    "rep_4gram",
    "compression",
    "latency_ms",
    "ttft_ms",
)
_INTEGERS: Final = ("n_tokens", "prompt_tokens", "non_finite", "status")
_FLAGS: Final = ("loop", "empty", "truncated", "refusal", "invalid", "missing")

MEASURED: Final = (*_STORED, "n_tokens", "prompt_tokens", "non_finite", *_FLAGS)
"""What a window holds as it is stored; flags are 0 or 1."""

COMPARED: Final = (SIMILARITY, *TOPICS, *ANSWERS)
"""What comes of comparing the embeddings of prompt and answer with a reference."""

SIGNALS: Final = (*MEASURED, "log_length", "error", *COMPARED)
"""What a window holds per record; :func:`derived` says what is computed on reading. NaN is
"not measured for this record"."""

SERVER_ERRORS: Final = 500
FAILURES: Final = (0, 404, 408)
"""Statuses below 500 that are no fault of the client: no answer at all, a model that the
engine does not know (any more), a timeout."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RecordColumns:
    """Records of one version in order of time; arrays of shape ``(n,)``.

    ``at`` is UTC epoch seconds. ``subjects`` are integer codes, -1 where none was given,
    or None where no record has one. ``n_other_strata`` counts the records of the window
    that were set aside because their settings are not those asked for.
    """

    at: Floats
    subjects: npt.NDArray[np.int64] | None
    signals: Mapping[str, Floats]
    n_other_strata: int

    def __len__(self) -> int:
        return int(self.at.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How many records an interval holds and when the newest of them was made."""

    count: int
    last_at: datetime | None


def read_window(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
    strata: Sequence[str] | None = None,
    received_before: datetime | None = None,
    reference_id: ReferenceId | None = None,
    answers: bool = False,
) -> RecordColumns:
    """Read the half-open window ``[start, end)`` of a version.

    ``strata`` keeps records of these settings only. ``received_before`` leaves out what
    arrived later, so that the same window read twice is the same. What was computed against
    a reference counts only if that is ``reference_id``, where one is given; what was of their
    answers is read with ``answers`` only. Cost: one index range
    of this adapter, whatever other adapters do; about 5 ms for 1,000 records, of which this
    process spends one.
    """
    query = _query(
        version_id,
        adapter_id,
        reference_id,
        answers=answers,
        span=_span(start, end),
        received_before=received_before,
        order=sql.SQL("r.at, r.id"),
    )
    rows = _copy(connection, query)
    return _columns(connection, rows, strata)


def newest_since(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    since: datetime,
    limit: int,
    strata: Sequence[str] | None = None,
    reference_id: ReferenceId | None = None,
    answers: bool = False,
) -> RecordColumns:
    """Read the newest ``limit`` records since a time, late ones too, in order of time.

    For effects, not for evidence. Records of other strata count toward the limit.
    """
    query = _query(
        version_id,
        adapter_id,
        reference_id,
        answers=answers,
        span=_span(since, None),
        received_before=None,
        order=sql.SQL("r.at DESC, r.id DESC LIMIT {}").format(limit),
    )
    rows = _copy(connection, query)
    return _columns(connection, rows[::-1], strata)


def count_late(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    before: datetime,
    received_from: datetime,
    received_to: datetime | None = None,
    since: datetime | None = None,
) -> int:
    """Count records of windows that had been read when they came.

    Their ``at`` is earlier than ``before`` (the end of the last window read) and they were
    received at or after ``received_from`` (when it was read). ``since`` bounds how far back
    to look; without it every day kept is visited.
    """
    bounds = {
        "version": version_id,
        "adapter": adapter_id,
        "before": before,
        "received_from": received_from,
    }
    query = (
        "SELECT count(*) FROM records WHERE adapter_id = :adapter AND version_id = :version"
        " AND at < :before AND received_at >= :received_from"
    )
    if received_to is not None:
        query, bounds = (
            query + " AND received_at < :received_to",
            bounds | {"received_to": received_to},
        )
    if since is not None:
        query, bounds = query + " AND at >= :since", bounds | {"since": since}
    return int(connection.execute(sa.text(query), bounds).scalar_one())


def strata(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
) -> dict[str, int]:
    """Count the records of a window per settings stratum, the largest first."""
    query = sa.text(
        "SELECT c.stratum, count(*) AS n FROM records r JOIN contexts c ON c.id = r.context_id"
        " WHERE r.adapter_id = :adapter AND r.version_id = :version"
        " AND r.at >= :start AND r.at < :end GROUP BY c.stratum ORDER BY n DESC, c.stratum"
    )
    bounds = {"adapter": adapter_id, "version": version_id, "start": start, "end": end}
    return {row.stratum: row.n for row in connection.execute(query, bounds)}


def traffic(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    start: datetime,
    end: datetime,
) -> Traffic:
    """Say how many records of a version there are in ``[start, end)``, and its newest time.

    Bounded on purpose: looking for the last record of a version that has none reads every
    record of its adapter.
    """
    query = sa.text(
        "SELECT count(*) AS n, max(at) AS last_at FROM records"
        " WHERE adapter_id = :adapter AND version_id = :version AND at >= :start AND at < :end"
    )
    bounds = {"adapter": adapter_id, "version": version_id, "start": start, "end": end}
    row = connection.execute(query, bounds).one()
    return Traffic(count=row.n, last_at=row.last_at)


def _span(start: datetime, end: datetime | None) -> Callable[[str], sql.Composed]:
    """Bound ``at`` of a table, given by its alias."""

    def bounded(alias: str) -> sql.Composed:
        at = sql.SQL(".").join([sql.Identifier(alias), sql.Identifier("at")])
        lower = sql.SQL("{} >= {}").format(at, start)
        return lower if end is None else lower + sql.SQL(" AND {} < {}").format(at, end)

    return bounded


def _query(
    version_id: VersionId,
    adapter_id: AdapterId,
    reference_id: ReferenceId | None,
    *,
    answers: bool,
    span: Callable[[str], sql.Composed],
    received_before: datetime | None,
    order: sql.Composable,
) -> sql.Composed:
    """Every column comes out with a fixed width, so that numpy can read the whole answer.

    Both tables are bounded in time: the planner does not carry a range across a join, and
    would open every partition of the embeddings.
    """
    joined, kept = span("e"), span("r")
    if reference_id is not None:
        joined += sql.SQL(" AND e.reference_id = {}").format(reference_id)
    placed, said = _UNKNOWN_ANSWER_SQL, sql.Composed([])
    if answers:
        placed = _PLACED_SQL
        said = _ANSWERS_SQL.format(reference=reference_id, span=span("o"))
    if received_before is not None:
        kept += sql.SQL(" AND r.received_at < {}").format(received_before)
    return sql.SQL(
        "SELECT extract(epoch FROM r.at)::float8, r.context_id,"
        " coalesce(r.subject, '\\x0000000000000000'), {signals},"
        " coalesce(e.similarity, 'NaN'::float4),"
        " CASE WHEN octet_length(e.coordinates) = {width} THEN e.coordinates ELSE {unknown} END,"
        " {placed}"
        " FROM records r LEFT JOIN record_embeddings e ON e.adapter_id = r.adapter_id"
        " AND e.at = r.at AND e.id = r.id AND {joined}{said}"
        " WHERE r.adapter_id = {adapter} AND r.version_id = {version} AND {kept}"
        " ORDER BY {order}"
    ).format(
        signals=_SIGNAL_SQL,
        width=len(_UNKNOWN),
        unknown=_UNKNOWN,
        joined=joined,
        placed=placed,
        said=said,
        adapter=adapter_id,
        version=version_id,
        kept=kept,
        order=order,
    )


_SIGNAL_SQL: Final = sql.SQL(
    ", ".join(
        [
            *(f"coalesce(r.{name}, 'NaN'::float4)" for name in _STORED),
            *(f"coalesce(r.{name}::float4, 'NaN'::float4)" for name in _INTEGERS),
            *(f"coalesce(r.{name}::int::float4, 'NaN'::float4)" for name in _FLAGS),
        ]
    )
)

_COORDINATES: Final = np.dtype(("<f4", (COUNT,)))
_UNKNOWN: Final = np.full(COUNT, np.nan, dtype="<f4").tobytes()

_PLACES: Final = np.dtype(("<f4", (len(ANSWERS),)))
_UNPLACED: Final = np.full(len(ANSWERS), np.nan, dtype="<f4").tobytes()
_UNKNOWN_ANSWER_SQL: Final = sql.SQL("{}::bytea").format(_UNPLACED)
_PLACED_SQL: Final = sql.SQL(
    "CASE WHEN octet_length(o.placed) = {width} THEN o.placed ELSE {unknown} END"
).format(width=len(_UNPLACED), unknown=_UNPLACED)
_ANSWERS_SQL: Final = sql.SQL(
    " LEFT JOIN answer_embeddings o ON o.adapter_id = r.adapter_id AND o.at = r.at AND o.id = r.id"
    " AND o.reference_id = {reference} AND {span}"
)

_ROW: Final = np.dtype(
    [
        ("fields", ">i2"),
        *(
            (f"{name}{suffix}", kind)
            for name, value in [
                ("at", ">f8"),
                ("context_id", ">i4"),
                ("subject", ">u8"),
                *((name, ">f4") for name in (*_STORED, *_INTEGERS, *_FLAGS, SIMILARITY)),
                ("coordinates", _COORDINATES),
                ("answers", _PLACES),
            ]
            for suffix, kind in (("_length", ">i4"), ("", value))
        ),
    ]
)
"""A row of COPY BINARY: a field count, then length and value of each field."""
_HEADER_BYTES: Final = 19
_TRAILER_BYTES: Final = 2


def _copy(connection: Connection, query: sql.Composed) -> npt.NDArray[Any]:
    """Run a query through COPY BINARY and view the answer as structured rows."""
    driver: Any = connection.connection.dbapi_connection
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        body = b"".join(copy)
    count = (len(body) - _HEADER_BYTES - _TRAILER_BYTES) // _ROW.itemsize
    return np.frombuffer(body, dtype=_ROW, count=count, offset=_HEADER_BYTES)


def _columns(
    connection: Connection, rows: npt.NDArray[Any], strata: Sequence[str] | None
) -> RecordColumns:
    seen = len(rows)
    if strata is not None:
        rows = rows[np.isin(rows["context_id"], contexts.of_strata(connection, strata))]
    signals = {name: rows[name].astype(np.float64) for name in MEASURED}
    signals |= derived(signals, status=rows["status"].astype(np.float64))
    signals[SIMILARITY] = rows[SIMILARITY].astype(np.float64)
    signals |= dict(zip(TOPICS, rows["coordinates"].T.astype(np.float64), strict=True))
    signals |= dict(zip(ANSWERS, rows["answers"].T.astype(np.float64), strict=True))
    return RecordColumns(
        at=rows["at"].astype(np.float64),
        subjects=subject_codes(rows["subject"]),
        signals=signals,
        n_other_strata=seen - len(rows),
    )


def derived(measured: Mapping[str, Floats], *, status: Floats) -> dict[str, Floats]:
    """Signals that are not stored but computed from what is; all arrays are ``(n,)``.

    ``log_length`` is ``log(1 + n_tokens)``, but of no record that is ``missing``: it is counted
    there, and left out of what is said of log-probabilities. ``error`` is 1 for a status that
    tells of the serving side (see :data:`FAILURES`), 0 for any other, and 0 without a status
    where the record has tokens: it was answered. ``latency_ms`` and ``ttft_ms`` are those of
    answers: how fast a request failed, or took for nothing, says nothing of how long answers
    take.
    """
    n_tokens = measured["n_tokens"]
    answered = n_tokens > 0
    failed = (status >= SERVER_ERRORS) | np.isin(status, FAILURES)
    unsaid = np.where(answered, 0.0, np.nan)
    return {
        "log_length": np.where(measured["missing"] > 0, np.nan, np.log1p(n_tokens)),
        "error": np.where(np.isnan(status), unsaid, failed),
        "latency_ms": np.where(answered, measured["latency_ms"], np.nan),
        "ttft_ms": np.where(answered, measured["ttft_ms"], np.nan),
    }


def subject_codes(subjects: npt.NDArray[np.uint64]) -> npt.NDArray[np.int64] | None:
    """Number subjects by their hashes; 0 is none, -1 in the answer. None where none has one."""
    known = subjects != 0
    if not known.any():
        return None
    _, codes = np.unique(subjects, return_inverse=True)
    return np.where(known, codes, -1).astype(np.int64)

"""Read records as columns."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
from psycopg import sql
from sqlalchemy import Connection

from detectors.axes import COUNT
from detectors.signals import ANSWERS, SIMILARITY, TOPICS, SignalKind
from detectors.signals import SIGNALS as KNOWN
from monitor.domain import AdapterId, Interval, ReferenceId, VersionId
from monitor.store.records import contexts
from monitor.store.records.columns import CAST, MEASURED, RecordColumns, derived, subject_codes
from monitor.strata import Strata

PROMPT: Final = timedelta(minutes=70)
"""Nearly every record arrives within this of its request's start; the capture counters
count those that do not."""
LATEST: Final = timedelta(hours=24)
"""A record that arrives later than this is late: no evaluation window reads it."""
EARLIEST: Final = timedelta(minutes=10)
"""How far a client's clock may be ahead; records further ahead are refused."""


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
    """Read a version's records made in the half-open interval ``[start, end)``.

    ``strata`` selects records of these settings. ``received_before`` leaves out records that
    arrived later, so that reading the same window twice gives the same result. If ``reference_id``
    is given, values computed against another reference do not count; values of answers are read
    with ``answers`` only. Cost: one index range of this adapter, whatever other adapters do; about
    5 ms for 1,000 records, of which this process spends one.
    """
    span = _span("at", start, end)
    kept = [span("r"), *([_before("r", received_before)] if received_before is not None else [])]
    query = _query(
        version_id,
        adapter_id,
        reference_id,
        answers=answers,
        span=span,
        kept=kept,
        order=sql.SQL("r.at, r.id"),
    )
    return _of_strata(connection, _copy(connection, query), strata)


@dataclass(frozen=True, slots=True, kw_only=True)
class Arriving:
    """A version's window, to read what arrived in it.

    Records made more than ``reach`` before it are not read. Values computed against another
    reference than ``reference_id`` do not count; values of answers are read with ``answers`` only.
    """

    version_id: VersionId
    adapter_id: AdapterId
    window: Interval
    reach: timedelta = PROMPT
    reference_id: ReferenceId | None = None
    answers: bool = False

    @property
    def made(self) -> Interval:
        """The times at which what arrives may have been made."""
        return Interval(start=self.window.start - self.reach, end=self.window.end + EARLIEST)


def read_arrivals(connection: Connection, wanted: Sequence[Arriving]) -> list[RecordColumns]:
    """Read the records that arrived in each half-open window, in the order they were made.

    A request's ``at`` is its start: it arrives when its answer is done, or its client gave up.
    Each record is in one window only, provided that the transaction that stored it ended before the
    window was read: windows are read ``schedule.live_lag`` or ``hard_lag`` after their end. Cost:
    two statements, and for each window one index range, the adapter's records of ``reach`` and the
    window.
    """
    alike: dict[tuple[bool, bool], list[int]] = {}
    for number, one in enumerate(wanted):
        alike.setdefault((one.answers, one.reference_id is None), []).append(number)
    rows = [
        _copy(connection, _arrivals({number: wanted[number] for number in numbers}))
        for numbers in alike.values()
    ]
    named = _named(connection, *rows)
    found = {
        number: _columns(some[some["number"] == number], named)
        for some, numbers in zip(rows, alike.values(), strict=True)
        for number in numbers
    }
    return [found[number] for number in range(len(wanted))]


def _arrivals(wanted: Mapping[int, Arriving]) -> sql.Composed:
    """Build the query of windows of one make: all with a reference or none, with answers or not.

    The inner query is planned as for one window, whatever their number: ``OFFSET 0`` keeps it
    whole, and the order of its rows. Its times are bounded twice: by constants, which show the
    planner the days that it may leave out, and by each window's own.
    """
    each = list(wanted.values())
    rows = [
        sql.SQL("({}, {}, {}, {}::bigint, {}, {}, {}, {})").format(
            number, one.version_id, one.adapter_id, one.reference_id,
            one.made.start, one.made.end, one.window.start, one.window.end,
        )
        for number, one in wanted.items()
    ]  # fmt: skip
    span = _span("at", min(one.made.start for one in each), max(one.made.end for one in each))
    own = [
        sql.SQL("r.at >= w.made_from AND r.at < w.made_to").format(),
        sql.SQL("r.received_at >= w.arrived_from AND r.received_at < w.arrived_to").format(),
    ]
    inner = _query(
        sql.SQL("w.version_id"),
        sql.SQL("w.adapter_id"),
        None if each[0].reference_id is None else sql.SQL("w.reference_id"),
        number=sql.SQL("w.number"),
        answers=each[0].answers,
        span=span,
        kept=[span("r"), *own],
        order=sql.SQL("r.at, r.id OFFSET 0"),
    )
    return sql.SQL(
        "SELECT found.* FROM (VALUES {rows}) AS w (number, version_id, adapter_id, reference_id,"
        " made_from, made_to, arrived_from, arrived_to), LATERAL ({inner}) found"
    ).format(rows=sql.SQL(", ").join(rows), inner=inner)


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
    """Read the newest ``limit`` records since a time, including late ones, in time order.

    For effects, not for evidence. Records of other strata count toward the limit.
    """
    query = _query(
        version_id,
        adapter_id,
        reference_id,
        answers=answers,
        span=_span("at", since, None),
        kept=[_span("at", since, None)("r")],
        order=sql.SQL("r.at DESC, r.id DESC LIMIT {}").format(limit),
    )
    return _of_strata(connection, _copy(connection, query)[::-1], strata)


def _span(column: str, start: datetime, end: datetime | None) -> Callable[[str], sql.Composed]:
    """Return a function that bounds a time column of a table, given by its alias."""

    def bounded(alias: str) -> sql.Composed:
        time = sql.Identifier(alias, column)
        lower = sql.SQL("{} >= {}").format(time, start)
        return lower if end is None else lower + sql.SQL(" AND {} < {}").format(time, end)

    return bounded


def _before(alias: str, received: datetime) -> sql.Composed:
    return sql.SQL("{} < {}").format(sql.Identifier(alias, "received_at"), received)


def _query(
    version_id: VersionId | sql.SQL,
    adapter_id: AdapterId | sql.SQL,
    reference_id: ReferenceId | sql.SQL | None,
    *,
    number: int | sql.SQL = 0,
    answers: bool,
    span: Callable[[str], sql.Composed],
    kept: Sequence[sql.Composed],
    order: sql.Composable,
) -> sql.Composed:
    """Build a query whose columns have a fixed width, so that numpy can read the result.

    All tables are bounded in time: the planner does not carry a range across a join, and would open
    every partition of the embeddings.
    """
    joined = span("e")
    if reference_id is not None:
        joined += sql.SQL(" AND e.reference_id = {}").format(reference_id)
    placed, said = _UNKNOWN_ANSWER_SQL, sql.Composed([])
    if answers:
        placed = _PLACED_SQL
        said = _ANSWERS_SQL.format(reference=reference_id, span=span("o"))
    return sql.SQL(
        "SELECT {number}, extract(epoch FROM r.at)::float8,"
        " extract(epoch FROM r.received_at)::float8,"
        " r.context_id, coalesce(r.subject, '\\x0000000000000000'), {signals},"
        " coalesce(e.similarity, 'NaN'::float4),"
        " CASE WHEN octet_length(e.coordinates) = {width} THEN e.coordinates ELSE {unknown} END,"
        " {placed}"
        " FROM records r LEFT JOIN record_embeddings e ON e.adapter_id = r.adapter_id"
        " AND e.at = r.at AND e.id = r.id AND {joined}{said}"
        " WHERE r.adapter_id = {adapter} AND r.version_id = {version} AND {kept}"
        " ORDER BY {order}"
    ).format(
        number=number,
        signals=_SIGNAL_SQL,
        width=len(_UNKNOWN),
        unknown=_UNKNOWN,
        joined=joined,
        placed=placed,
        said=said,
        adapter=adapter_id,
        version=version_id,
        kept=sql.SQL(" AND ").join(kept),
        order=order,
    )


_READ: Final = {
    **{name: CAST[KNOWN[name].kind] for name in MEASURED},
    "status": CAST[SignalKind.INTEGER],
}
"""The columns that are read, and how each becomes a number."""
_SIGNAL_SQL: Final = sql.SQL(
    ", ".join(f"coalesce(r.{name}{cast}, 'NaN'::float4)" for name, cast in _READ.items())
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
                ("number", ">i4"),
                ("at", ">f8"),
                ("arrived", ">f8"),
                ("context_id", ">i4"),
                ("subject", ">u8"),
                *((name, ">f4") for name in (*_READ, SIMILARITY)),
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
    """Run a query through COPY BINARY and view the answer as structured rows.

    COPY takes no parameters, so ``psycopg.sql`` writes the values into the statement.
    """
    driver: Any = connection.connection.dbapi_connection
    statement = sql.SQL("COPY ({}) TO STDOUT (FORMAT BINARY)").format(query)
    with driver.cursor() as cursor, cursor.copy(statement) as copy:
        body = b"".join(copy)
    count = (len(body) - _HEADER_BYTES - _TRAILER_BYTES) // _ROW.itemsize
    return np.frombuffer(body, dtype=_ROW, count=count, offset=_HEADER_BYTES)


def _of_strata(
    connection: Connection, rows: npt.NDArray[Any], strata: Sequence[str] | None
) -> RecordColumns:
    if strata is not None:
        rows = rows[np.isin(rows["context_id"], contexts.of_strata(connection, strata))]
    return _columns(rows, _named(connection, rows))


def _named(connection: Connection, *several: npt.NDArray[Any]) -> dict[int, str]:
    """Name the settings stratum of each context that some rows have."""
    return contexts.strata_of(
        connection, {one for rows in several for one in np.unique(rows["context_id"]).tolist()}
    )


def _columns(rows: npt.NDArray[Any], named: Mapping[int, str]) -> RecordColumns:
    signals = {name: rows[name].astype(np.float64) for name in MEASURED}
    status = rows["status"].astype(np.float64)
    signals |= derived(signals, status=status) | {"status": status}
    signals[SIMILARITY] = rows[SIMILARITY].astype(np.float64)
    signals |= dict(zip(TOPICS, rows["coordinates"].T.astype(np.float64), strict=True))
    signals |= dict(zip(ANSWERS, rows["answers"].T.astype(np.float64), strict=True))
    return RecordColumns(
        at=rows["at"].astype(np.float64),
        arrived=rows["arrived"].astype(np.float64),
        subjects=subject_codes(rows["subject"]),
        signals=signals,
        strata=_strata(rows["context_id"], named),
    )


def _strata(context_ids: npt.NDArray[np.int32], named: Mapping[int, str]) -> Strata:
    ids, codes = np.unique(context_ids, return_inverse=True)
    return Strata(names=tuple(named[i] for i in ids.tolist()), codes=codes.astype(np.int64))

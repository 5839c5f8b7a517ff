"""Business metrics and judge scores on their way into evidence: each once, when it comes.

What is given for a record may come days after it. So it is not found by its time: every
number waits in ``feedback_arrivals`` until an evaluation of its record's version has read
it, and the transaction that writes the evaluation marks exactly those it had read. What
comes in between waits for the next one.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, Arrival, Unread, VersionId
from monitor.store.records.columns import subject_codes

Floats = npt.NDArray[np.float64]

MOST: Final = 20_000
"""Numbers that one evaluation reads; the others wait for the next one."""
PATIENCE: Final = timedelta(hours=1)
"""How long feedback waits for a missing record; most of these were sampled out."""
KEPT: Final = timedelta(days=7)
"""How long arrivals are kept; effects look back a day."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Given:
    """Feedback by record and window, in order of the records' times and ids; arrays ``(n,)``.

    ``at`` is the record's time and ``entered`` the end of the window that read it, in epoch
    seconds. ``subjects`` are codes as of a window. ``values`` has NaN where a name was not
    given.
    """

    at: Floats
    entered: Floats
    subjects: npt.NDArray[np.int64] | None
    values: Mapping[str, Floats]


_SPAN: Final = sa.text(
    "SELECT min(at) AS first, max(at) AS last FROM feedback_arrivals"
    " WHERE adapter_id = :adapter AND window_end IS NULL AND at < :before"
)

_UNREAD: Final = sa.text(
    "SELECT f.id, f.record_id, extract(epoch FROM f.at)::float8 AS at, f.name, f.value,"
    " r.context_id, r.subject"
    " FROM feedback_arrivals f LEFT JOIN records r"
    " ON r.adapter_id = :adapter AND r.at = f.at AND r.id = f.record_id"
    " AND r.at >= :first AND r.at <= :last"
    " WHERE f.adapter_id = :adapter AND f.window_end IS NULL AND f.at < :before"
    " AND (r.version_id = :version OR (r.id IS NULL AND f.received_at < :lost_before))"
    " ORDER BY f.id LIMIT :most"
)

_MARK: Final = sa.text(
    "UPDATE feedback_arrivals f SET version_id = :version, window_end = :window_end,"
    " context_id = given.context_id, subject = given.subject"
    " FROM unnest(CAST(:ids AS bigint[]), CAST(:contexts AS int[]), CAST(:subjects AS bytea[]))"
    " AS given (id, context_id, subject) WHERE f.id = given.id"
)

_RECENT: Final = sa.text(
    "SELECT id, record_id, extract(epoch FROM at)::float8 AS at, name, value, context_id, subject,"
    " extract(epoch FROM window_end)::float8 AS entered FROM feedback_arrivals"
    " WHERE version_id = :version AND window_end > :since"
    " ORDER BY window_end DESC, id DESC LIMIT :most"
)


def unread(
    connection: Connection,
    *,
    version_id: VersionId,
    adapter_id: AdapterId,
    window_end: datetime,
    now: datetime,
) -> Unread:
    """Read what has come for records of a version, made before a window's end.

    Cost: one index look-up where nothing has come.
    """
    bound: dict[str, Any] = {"adapter": adapter_id, "before": window_end}
    span = connection.execute(_SPAN, bound).one()
    if span.first is None:
        return Unread()
    # constants: the planner then opens the partitions of these days only
    bound |= {"first": span.first, "last": span.last, "version": version_id, "most": MOST}
    bound |= {"lost_before": now - PATIENCE}
    rows = connection.execute(_UNREAD, bound).mappings().all()
    entered = window_end.timestamp()
    return Unread(
        arrivals=tuple(
            Arrival(**row, entered=entered) for row in rows if row["context_id"] is not None
        ),
        lost=tuple(row["id"] for row in rows if row["context_id"] is None),
    )


def mark(
    connection: Connection, read: Unread, *, version_id: VersionId, window_end: datetime
) -> None:
    """Note that an evaluation stored in this transaction has read these, and drop the lost."""
    if read.arrivals:
        bound = {
            "version": version_id,
            "window_end": window_end,
            "ids": [one.id for one in read.arrivals],
            "contexts": [one.context_id for one in read.arrivals],
            "subjects": [one.subject for one in read.arrivals],
        }
        connection.execute(_MARK, bound)
    if read.lost:
        query = sa.text("DELETE FROM feedback_arrivals WHERE id = ANY(:ids)")
        connection.execute(query, {"ids": list(read.lost)})


def recent(
    connection: Connection, *, version_id: VersionId, since: datetime, most: int
) -> list[Arrival]:
    """Read the newest numbers that windows ending after ``since`` have read."""
    bound = {"version": version_id, "since": since, "most": most}
    return [Arrival(**row) for row in connection.execute(_RECENT, bound).mappings()]


def laid_out(
    arrivals: Sequence[Arrival], *, names: Sequence[str], since: datetime | None = None
) -> Given:
    """Lay numbers of these names out by record, less those on records made before ``since``."""
    wanted = set(names)
    first = since.timestamp() if since else -np.inf
    kept = [one for one in arrivals if one.name in wanted and one.at >= first]
    kept.sort(key=lambda one: (one.at, one.record_id, one.entered))
    keys = list(dict.fromkeys((one.at, one.record_id, one.entered, one.subject) for one in kept))
    row_of = {key[:3]: row for row, key in enumerate(keys)}
    values = {name: np.full(len(keys), np.nan) for name in names}
    for one in kept:
        values[one.name][row_of[one.at, one.record_id, one.entered]] = one.value
    subjects = [int.from_bytes(subject or b"", "big") for *_, subject in keys]
    return Given(
        at=np.array([key[0] for key in keys], dtype=np.float64),
        entered=np.array([key[2] for key in keys], dtype=np.float64),
        subjects=subject_codes(np.array(subjects, dtype=np.uint64)),
        values=values,
    )


def drop_older(connection: Connection, *, than: datetime) -> int:
    """Drop up to ``MOST`` arrivals that came before a time, the oldest; call it until 0."""
    query = sa.text(
        "DELETE FROM feedback_arrivals WHERE received_at < :than AND id IN"
        " (SELECT id FROM feedback_arrivals ORDER BY id LIMIT :most)"
    )
    return connection.execute(query, {"than": than, "most": MOST}).rowcount

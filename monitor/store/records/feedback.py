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


_ENDED: Final = (
    "unnest(CAST(:versions AS int[]), CAST(:adapters AS int[]), CAST(:ends AS timestamptz[]))"
    " AS w (version_id, adapter_id, ended)"
)
_OF_WINDOW: Final = "f.adapter_id = w.adapter_id AND f.window_end IS NULL AND f.at < w.ended"

_SPAN: Final = sa.text(
    f"SELECT min(found.first) AS first, max(found.last) AS last FROM {_ENDED}, LATERAL"
    " (SELECT min(f.at) AS first, max(f.at) AS last FROM feedback_arrivals f"
    f" WHERE {_OF_WINDOW}) found"
)

_UNREAD: Final = sa.text(
    f"SELECT w.version_id, found.* FROM {_ENDED}, LATERAL"
    " (SELECT f.id, f.record_id, extract(epoch FROM f.at)::float8 AS at, f.name, f.value,"
    " r.context_id, r.subject, extract(epoch FROM w.ended)::float8 AS entered"
    " FROM feedback_arrivals f LEFT JOIN records r"
    " ON r.adapter_id = w.adapter_id AND r.at = f.at AND r.id = f.record_id"
    " AND r.at >= :first AND r.at <= :last"
    f" WHERE {_OF_WINDOW}"
    " AND (r.version_id = w.version_id OR (r.id IS NULL AND f.received_at < :lost_before))"
    " ORDER BY f.id LIMIT :most OFFSET 0) found"
)

_MARK: Final = sa.text(
    "UPDATE feedback_arrivals f SET version_id = given.version_id, window_end = given.window_end,"
    " context_id = given.context_id, subject = given.subject"
    " FROM unnest(CAST(:versions AS int[]), CAST(:ends AS timestamptz[]), CAST(:ids AS bigint[]),"
    " CAST(:contexts AS int[]), CAST(:subjects AS bytea[]))"
    " AS given (version_id, window_end, id, context_id, subject) WHERE f.id = given.id"
)

_RECENT: Final = sa.text(
    "SELECT id, record_id, extract(epoch FROM at)::float8 AS at, name, value, context_id, subject,"
    " extract(epoch FROM window_end)::float8 AS entered FROM feedback_arrivals"
    " WHERE version_id = :version AND window_end > :since"
    " ORDER BY window_end DESC, id DESC LIMIT :most"
)


def unread(
    connection: Connection,
    ends: Sequence[tuple[VersionId, AdapterId, datetime]],
    *,
    now: datetime,
) -> dict[VersionId, Unread]:
    """Read what has come for records of versions, made before the ends of their windows.

    Cost: one statement, and two index look-ups a version, where nothing has come.
    """
    found = {version_id: Unread() for version_id, _, _ in ends}
    bound: dict[str, Any] = {
        "versions": list(found),
        "adapters": [adapter_id for _, adapter_id, _ in ends],
        "ends": [end for _, _, end in ends],
    }
    span = connection.execute(_SPAN, bound).one()
    if span.first is None:
        return found
    # constants: the planner then opens the partitions of these days only
    bound |= {"first": span.first, "last": span.last, "most": MOST, "lost_before": now - PATIENCE}
    rows: dict[VersionId, list[dict[str, Any]]] = {version_id: [] for version_id in found}
    for row in connection.execute(_UNREAD, bound).mappings():
        given = dict(row)
        rows[given.pop("version_id")].append(given)
    return {version_id: _unread(given) for version_id, given in rows.items()}


def _unread(rows: Sequence[Mapping[str, Any]]) -> Unread:
    return Unread(
        arrivals=tuple(Arrival(**row) for row in rows if row["context_id"] is not None),
        lost=tuple(row["id"] for row in rows if row["context_id"] is None),
    )


def mark(connection: Connection, read: Mapping[tuple[VersionId, datetime], Unread]) -> None:
    """Note that the evaluations of this transaction have read these, and drop the lost.

    ``read`` is by version and end of window.
    """
    arrived = [(key, one) for key, unread in read.items() for one in unread.arrivals]
    if arrived:
        bound = {
            "versions": [version_id for (version_id, _), _ in arrived],
            "ends": [end for (_, end), _ in arrived],
            "ids": [one.id for _, one in arrived],
            "contexts": [one.context_id for _, one in arrived],
            "subjects": [one.subject for _, one in arrived],
        }
        connection.execute(_MARK, bound)
    lost = [one for unread in read.values() for one in unread.lost]
    if lost:
        query = sa.text("DELETE FROM feedback_arrivals WHERE id = ANY(:ids)")
        connection.execute(query, {"ids": lost})


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

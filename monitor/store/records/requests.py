"""Read single requests, page by page in an order that people choose.

The cost of a page of 25, warm, on two busy cores, out of 240,000 records of one adapter in 30 days,
as many of another beside them, all embedded: 10 ms for the newest (200 of them: 12 ms); .13 s for
those least certain, longest and slowest; .7 s for those least similar, which are another table's.
A filter that nothing matches takes .1 s, an id .04 s. More than ``MOST_LISTED`` records are cut to
the newest first, which takes .09 s, so no list costs more; an id is looked for in all, along the
primary key.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from types import MappingProxyType
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, Interval, ReferenceId, Version

MOST_LISTED: Final = 200_000
"""At most so many of an adapter's newest records in a range are sorted and filtered."""


class RequestOrder(StrEnum):
    """The order of a list of requests; a request without the value is in none but the first."""

    NEWEST = "newest"
    LEAST_SIMILAR = "least_similar"
    """To its nearest training example."""
    LEAST_CERTAIN = "least_certain"
    """By the mean NLL of its answer's tokens."""
    LONGEST = "longest"
    """By the tokens of its answer."""
    SLOWEST = "slowest"
    """By the time until its answer was done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestRow:
    """A request with its lengths in tokens; its texts only where they are stored, redacted.

    ``reference_id`` is the reference whose training ``similarity`` is about; ``vector`` is
    float16 of unit length. None: not measured.
    """

    id: str
    at: datetime
    version: str
    status: int | None
    finish_reason: str | None
    prompt_tokens: int | None
    output_tokens: int | None
    latency_ms: float | None
    mean_nll: float | None
    prompt: str | None
    output: str | None
    similarity: float | None
    reference_id: ReferenceId | None
    vector: bytes | None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestFilter:
    """The criteria of a list; None matches any. ``versions`` are at least one, of one adapter.

    ``failed`` keeps requests with a status of 400 and more, or 0: there was no answer.
    """

    versions: Sequence[Version]
    failed: bool = False
    finish: str | None = None
    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestPlace:
    """A request's sort key: the value that orders, then its time and id, the largest first.

    It does not move when others arrive, so the page after it is exact.
    """

    value: float
    at: datetime
    id: str


_VALUES: Final[Mapping[RequestOrder, str]] = MappingProxyType(
    {
        RequestOrder.LEAST_SIMILAR: "-e.similarity::float8",
        RequestOrder.LEAST_CERTAIN: "r.mean_nll::float8",
        RequestOrder.LONGEST: "COALESCE(r.output_tokens, r.n_tokens)::float8",
        RequestOrder.SLOWEST: "r.latency_ms::float8",
    }
)
"""The value by which an order sorts, the largest first; the newest need none but their time."""
KEY: Final = "r.adapter_id, r.at, r.id"
EMBEDDED: Final = (
    " JOIN record_embeddings e ON e.adapter_id = r.adapter_id AND e.at = r.at AND e.id = r.id"
    " AND e.at >= :start AND e.at < :end"
)


def read_page(
    tx: Connection,
    wanted: RequestFilter,
    within: Interval,
    *,
    order: RequestOrder,
    after: RequestPlace | None,
    limit: int,
) -> list[RequestRow]:
    """Read a page of the requests of an interval; ``after`` is the :func:`place` of the last seen.

    The newest are read along the primary key, so a page costs its own rows and those that a
    filter passes over. Any other order reads the whole interval: see :func:`newest_part`.
    """
    value = _VALUES.get(order)
    join = EMBEDDED if order is RequestOrder.LEAST_SIMILAR else ""
    found = [*_conditions(wanted), *([f"{value} IS NOT NULL"] if value else [])]
    if after is not None:
        found.append(_beyond(value))
    ordered = f"{f'{value} DESC, ' if value else ''}r.at DESC, r.id DESC"
    picked = (
        f"SELECT {KEY} FROM records r{join} WHERE {' AND '.join(found)}"
        f" ORDER BY {ordered} LIMIT :limit"
    )
    place_of = {"value": after.value, "after_at": after.at, "after_id": after.id} if after else {}
    bound = _bound(wanted, within) | place_of | {"limit": limit}
    return in_full(tx, picked, bound, ordered=ordered)


def place(row: RequestRow, order: RequestOrder) -> RequestPlace:
    """Return a request's sort key, for reading the page after it."""
    values: Mapping[RequestOrder, float | None] = {
        RequestOrder.LEAST_SIMILAR: None if row.similarity is None else -row.similarity,
        RequestOrder.LEAST_CERTAIN: row.mean_nll,
        RequestOrder.LONGEST: row.output_tokens,
        RequestOrder.SLOWEST: row.latency_ms,
    }
    return RequestPlace(value=values.get(order) or 0.0, at=row.at, id=row.id)


def is_any(tx: Connection, wanted: RequestFilter, within: Interval) -> bool:
    """Return whether an interval holds a request that matches."""
    query = f"SELECT EXISTS (SELECT FROM records r WHERE {' AND '.join(_conditions(wanted))})"
    return bool(tx.execute(sa.text(query), _bound(wanted, within)).scalar_one())


def newest_part(
    tx: Connection, adapter_id: AdapterId, within: Interval, *, most: int = MOST_LISTED
) -> Interval:
    """Return the end of an interval that holds ``most`` of an adapter's records, or all of it."""
    query = sa.text(
        "SELECT at FROM records WHERE adapter_id = :adapter AND at >= :start AND at < :end"
        " ORDER BY at DESC, id DESC OFFSET :most LIMIT 1"
    )
    bound = {"adapter": adapter_id, "start": within.start, "end": within.end, "most": most - 1}
    first = tx.execute(query, bound).scalar_one_or_none()
    return within if first is None else Interval(start=first, end=within.end)


def in_full(
    tx: Connection, picked: str, bound: Mapping[str, object], *, ordered: str
) -> list[RequestRow]:
    """Read the requests whose ``KEY`` a query picks, with their texts and embeddings.

    ``bound`` has the ``start`` and ``end`` of all of them: it keeps other days' tables closed.
    ``ordered`` sorts ``r``, a record, and ``e``, its embedding. Each row is looked up by its key:
    a planner that may join these tables whole does so for pages of 200.
    """
    query = sa.text(
        "SELECT r.id, r.at, v.name AS version, r.status, r.finish_reason, r.prompt_tokens,"
        " COALESCE(r.output_tokens, r.n_tokens) AS output_tokens,"
        " r.latency_ms::float8 AS latency_ms, r.mean_nll::float8 AS mean_nll,"
        " t.prompt, t.output, e.similarity::float8 AS similarity, e.reference_id,"
        f" e.embedding AS vector FROM ({picked}) p"
        f" JOIN {_looked_up('records', 'r')} JOIN versions v ON v.id = r.version_id"
        f" LEFT JOIN {_looked_up('record_embeddings', 'e')}"
        f" LEFT JOIN {_looked_up('record_texts', 't')} ORDER BY {ordered}"
    )
    return [RequestRow(**row) for row in tx.execute(query, dict(bound)).mappings()]


def _looked_up(table: str, alias: str) -> str:
    return (
        f"LATERAL (SELECT * FROM {table} o WHERE o.adapter_id = p.adapter_id AND o.at = p.at"
        f" AND o.id = p.id AND o.at >= :start AND o.at < :end LIMIT 1) {alias} ON true"
    )


def _conditions(wanted: RequestFilter) -> list[str]:
    return [
        "r.adapter_id = :adapter AND r.version_id = ANY(:versions)",
        "r.at >= :start AND r.at < :end",
        *(["(r.status >= 400 OR r.status = 0)"] if wanted.failed else []),
        *(["r.finish_reason = :finish"] if wanted.finish is not None else []),
        *(["r.id = :id"] if wanted.id is not None else []),
    ]


def _bound(wanted: RequestFilter, within: Interval) -> dict[str, object]:
    return {
        "adapter": wanted.versions[0].adapter_id,
        "versions": [one.id for one in wanted.versions],
        "start": within.start,
        "end": within.end,
        **({"finish": wanted.finish} if wanted.finish is not None else {}),
        **({"id": wanted.id} if wanted.id is not None else {}),
    }


def _beyond(value: str | None) -> str:
    if value is None:
        return "(r.at, r.id) < (:after_at, :after_id)"
    return f"({value}, r.at, r.id) < (:value, :after_at, :after_id)"

"""Read a few requests of an interval that show a finding best."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from detectors import DETECTORS
from detectors.signals import SIGNALS, SIMILARITY, SignalKind
from monitor.domain import Version
from monitor.store.records.requests import EMBEDDED, KEY, RequestOrder, RequestRow, in_full

LEAST_CERTAIN: Final = "r.mean_nll DESC NULLS LAST"
_SHOWN: Final = frozenset({SignalKind.NUMBER, SignalKind.INTEGER, SignalKind.FLAG})
"""Kinds of column by which a request shows more or less of something."""


def examples(
    connection: Connection,
    version: Version,
    *,
    detector: str | None,
    start: datetime,
    end: datetime,
    limit: int,
) -> list[RequestRow]:
    """Return the requests of ``[start, end)`` that show the detector's finding best.

    Of a detector that compares whole windows, and of none, those whose answers are the least
    certain.
    """
    ordered = f"{_clearest(detector)}, r.at DESC, r.id"
    picked = (
        f"SELECT {KEY} FROM records r LEFT{EMBEDDED}"
        " WHERE r.adapter_id = :adapter AND r.version_id = :version"
        f" AND r.at >= :start AND r.at < :end ORDER BY {ordered} LIMIT :limit"
    )
    bound = {
        "adapter": version.adapter_id,
        "version": version.id,
        "start": start,
        "end": end,
        "limit": limit,
    }
    return in_full(connection, picked, bound, ordered=ordered)


def list_order(detector: str | None) -> RequestOrder:
    """Return the order in which a list of requests shows the detector's finding best.

    >>> list_order("input_similarity").value, list_order("errors").value
    ('least_similar', 'newest')
    """
    orders = {
        "mean_nll": RequestOrder.LEAST_CERTAIN,
        SIMILARITY: RequestOrder.LEAST_SIMILAR,
        "error": RequestOrder.NEWEST,
        "latency_ms": RequestOrder.SLOWEST,
        "ttft_ms": RequestOrder.SLOWEST,
        "output_tokens": RequestOrder.LONGEST,
        "loop": RequestOrder.LONGEST,
        "truncated": RequestOrder.LONGEST,
    }
    of = DETECTORS[detector].signals if detector and detector in DETECTORS else ()
    return next((orders[name] for name in of if name in orders), RequestOrder.LEAST_CERTAIN)


def _clearest(detector: str | None) -> str:
    """Order requests by the first of the detector's signals that a request has by itself."""
    for name in DETECTORS[detector].signals if detector and detector in DETECTORS else ():
        if name == SIMILARITY:
            return "e.similarity"
        if name == "error":
            return "(r.status >= 500) DESC NULLS LAST"
        if SIGNALS[name].kind in _SHOWN:
            return f"r.{name} DESC NULLS LAST"
    return LEAST_CERTAIN

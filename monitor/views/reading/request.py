"""Single requests as people see them, beside the nearest training examples."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from sqlalchemy import Connection

from monitor.domain import Interval
from monitor.evaluate.neighbours import RequestBeside, beside_training
from monitor.store.records.requests import (
    RequestFilter,
    RequestOrder,
    RequestPlace,
    is_any,
    newest_part,
    place,
    read_page,
)
from monitor.views.reading.score import number
from monitor.views.request import RequestView
from monitor.views.score import NeighbourBody

_NONE_SORTED: Final[Mapping[RequestOrder, str]] = {
    RequestOrder.LEAST_SIMILAR: "was compared with training: that needs embeddings"
    " (`[probes.embedding]`, or `embedding` in records) and a reference with training texts",
    RequestOrder.LEAST_CERTAIN: "has log-probabilities: ask the engine for `logprobs`",
    RequestOrder.LONGEST: "says how long its answer was: send `output_tokens`",
    RequestOrder.SLOWEST: "says how long it took: send `latency_ms`",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsAfter:
    """Where the next page of a list begins, and the interval that all its pages list."""

    window: Interval
    place: RequestPlace


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsFound:
    """A page of requests; ``next`` is None on the last."""

    items: Sequence[RequestView]
    next: RequestsAfter | None
    window: Interval
    why_empty: str | None


def request(one: RequestBeside) -> RequestView:
    """Write a request beside its nearest training example."""
    row = one.request
    return RequestView.of(
        row,
        mean_nll=number(row.mean_nll),
        latency_ms=number(row.latency_ms),
        similarity=number(row.similarity),
        nearest=one.nearest and NeighbourBody.of(one.nearest),
    )


def read_requests(
    tx: Connection,
    wanted: RequestFilter,
    asked: Interval,
    *,
    order: RequestOrder,
    after: RequestsAfter | None,
    limit: int,
) -> RequestsFound:
    """Read a page of the requests of an interval, or of the one that ``after`` names.

    Nearest training examples are sought for the page's own rows: each index is read once.
    """
    window = after.window if after else _window(tx, wanted, asked)
    rows = read_page(
        tx, wanted, window, order=order, after=after.place if after else None, limit=limit + 1
    )
    shown, more = rows[:limit], len(rows) > limit
    return RequestsFound(
        items=[request(one) for one in beside_training(tx, shown, wanted.versions)],
        next=RequestsAfter(window=window, place=place(shown[-1], order)) if more else None,
        window=window,
        why_empty=None if shown else _why_empty(tx, wanted, window, order),
    )


def _window(tx: Connection, wanted: RequestFilter, asked: Interval) -> Interval:
    if wanted.id is not None:
        return asked
    return newest_part(tx, wanted.versions[0].adapter_id, asked)


def _why_empty(tx: Connection, wanted: RequestFilter, window: Interval, order: RequestOrder) -> str:
    if not is_any(tx, RequestFilter(versions=wanted.versions), window):
        whose = " or ".join(one.label for one in wanted.versions)
        return (
            f"No record of {whose} lies in this range. Choose a longer one, or see with"
            " `driftline status` whether records arrive."
        )
    if not is_any(tx, wanted, window):
        return (
            "No request of this range matches the filter. Leave a part of it out, or choose a"
            " longer range."
        )
    why = _NONE_SORTED.get(order)
    return f"No such request {why}. Choose another order." if why else "Nothing comes after this."

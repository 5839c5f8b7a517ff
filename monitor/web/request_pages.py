"""The request explorer: an adapter's requests one by one, beside its training."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Annotated, Any, Final

from fastapi import Query
from fastapi.responses import Response
from sqlalchemy import Connection

from detectors.signals import TOPICS
from monitor.api.paths import AdapterName
from monitor.api.ranges import AGES, TimeRange
from monitor.api.requests import Asked, RequestsAsked, is_cut, next_cursor
from monitor.domain import Interval, Version
from monitor.store.records.requests import MOST_LISTED, RequestOrder, newest_part
from monitor.store.registry import versions
from monitor.views.reading import scatter
from monitor.views.reading.histogram import NoHistogram
from monitor.web import wording
from monitor.web.frame import Frame, PageGroup
from monitor.web.queries import address
from monitor.web.sections import Section, drawn

TEXTS: Final[Mapping[str, Any]] = {"longest": 600, "whole": 20_000}
"""Characters of a text that are shown at once, and when it is opened; the API has all of it."""
MOST_PLACED: Final = 20_000
"""At most so many of the newest requests are placed in the scatter: .2 s."""
ORDERS: Final[Mapping[RequestOrder, str]] = {
    RequestOrder.NEWEST: "newest",
    RequestOrder.LEAST_SIMILAR: "least similar to training",
    RequestOrder.LEAST_CERTAIN: "least certain",
    RequestOrder.LONGEST: "longest answer",
    RequestOrder.SLOWEST: "slowest",
}
Axis = Annotated[int, Query(ge=0, le=len(TOPICS))]
"""An axis of the training texts, from 1; 0: the one on which requests moved most."""


class RequestPages(PageGroup):
    """The page of an adapter's requests."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/adapters/{adapter}/requests", self.show)

    def show(self, adapter: AdapterName, query: Asked, x: Axis = 0, y: Axis = 0) -> Response:
        """Show a page of an adapter's requests, and where those of the range lie."""
        range_ = query.range(self._parts.clock())

        def read(tx: Connection) -> dict[str, Any]:
            listed = query.versions(tx, adapter)
            found = query.read(tx, listed, range_.shown)
            return {
                "found": found,
                "listed": listed,
                "known": versions.named(tx, adapter),
                "cut": is_cut(found, range_.shown),
            }

        seen = self._parts.database.run(read)
        place, chosen = f"/adapters/{wording.path_part(adapter)}/requests", kept(query, x, y)
        further = next_cursor(seen["found"], query.order)
        in_range = {**chosen, "from": query.since.strip(), "to": query.until.strip()}
        return self._frame.page(
            "requests.html",
            name=adapter,
            place=place,
            query=query,
            range=range_,
            ages=AGES,
            orders=ORDERS,
            kept=chosen,
            asked=in_range,
            more=address(place, in_range, cursor=further) if further else None,
            first=address(place, in_range) if query.cursor else None,
            longer=address(place, {**chosen, "from": AGES[-1]}),
            most=MOST_LISTED,
            sections=self._sections(seen["listed"][0], range_, (x or None, y or None)),
            **TEXTS,
            **seen,
        )

    def _sections(self, of: Version, range_: TimeRange, axes: scatter.Axes) -> Mapping[str, Any]:
        placed = partial(_placed, of=of, within=range_.shown, axes=axes)
        read = partial(self._parts.database.run, placed)
        section = Section(name="requests_scatter", title="Where requests lie", read=read)
        return drawn(self._frame, [section], of=of, axes=axes)


def kept(query: RequestsAsked, x: int, y: int) -> dict[str, str]:
    """Return what links to another range of the same list keep of its address."""
    wanted = {
        "version": query.version,
        "serving": "true" if query.serving else "",
        "order": query.order.value,
        "failed": "true" if query.failed else "",
        "finish": query.finish,
        "id": query.id,
        "x": str(x or ""),
        "y": str(y or ""),
    }
    return {name: value for name, value in wanted.items() if value}


def _placed(
    tx: Connection, *, of: Version, within: Interval, axes: scatter.Axes
) -> Mapping[str, Any]:
    newest = newest_part(tx, of.adapter_id, within, most=MOST_PLACED)
    try:
        found = scatter.read(tx, of, newest, axes=axes)
    except NoHistogram as why:
        return {"found": None, "why_not": str(why)}
    return {"found": found, "why_not": None, "cut": newest.start > within.start}

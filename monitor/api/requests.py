"""``/adapters/{a}/requests``: single requests, page by page in an order that people choose."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query
from pydantic import AfterValidator
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Reader
from monitor.api.bodies import without_nul
from monitor.api.paging import Cursor
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.ranges import TimeRange, read_range
from monitor.domain import Interval, Version
from monitor.store.records.requests import RequestFilter, RequestOrder, RequestPlace
from monitor.store.traffic import fleet
from monitor.views.reading.request import RequestsAfter, RequestsFound, read_requests
from monitor.views.request import RequestList
from monitor.views.score import WindowBody

router: Final = APIRouter(prefix="/v1/adapters/{adapter}", tags=["requests"])

USUAL: Final = "24h"
DEFAULT_ROWS: Final = 25
LARGEST_ROWS: Final = 200
_LONGEST_ID: Final = 256

Rows = Annotated[int, Query(ge=1, le=LARGEST_ROWS, description="Most requests of one page.")]
Text = Annotated[str, AfterValidator(without_nul)]


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestsAsked:
    """The parameters of a list of requests, as its address has them; an empty text means any."""

    version: Annotated[Text, Query(max_length=128, description="That in charge.")] = ""
    serving: Annotated[
        bool, Query(description="Of all versions with traffic now, in place of `version`.")
    ] = False
    since: Annotated[
        Text, Query(alias="from", max_length=64, description="A time in UTC, or an age: `24h`.")
    ] = ""
    until: Annotated[Text, Query(alias="to", max_length=64, description="The same; now.")] = ""
    order: RequestOrder = RequestOrder.NEWEST
    failed: Annotated[
        bool, Query(description="Only those with a status of 400 and more, or without an answer.")
    ] = False
    finish: Annotated[Text, Query(max_length=128, description="Their finish reason.")] = ""
    id: Annotated[Text, Query(max_length=_LONGEST_ID, description="Exactly this id.")] = ""
    cursor: Cursor = None
    limit: Rows = DEFAULT_ROWS

    def range(self, now: datetime) -> TimeRange:
        """Return the range of time; raises ``RangeRefused`` for one that cannot be shown."""
        return read_range(self.since.strip(), self.until.strip(), usual=USUAL, now=now)

    def versions(self, tx: Connection, adapter: str) -> Sequence[Version]:
        """Return the versions whose requests are listed, that in charge where none is named."""
        if self.serving:
            lookup.adapter(tx, adapter)
        found = fleet.serving(tx, adapter) if self.serving else []
        return found or [lookup.shown(tx, adapter, self.version or None)]

    def read(self, tx: Connection, versions: Sequence[Version], shown: Interval) -> RequestsFound:
        """Read the page that is asked for."""
        wanted = RequestFilter(
            versions=versions,
            failed=self.failed,
            finish=self.finish or None,
            id=self.id.strip() or None,
        )
        after = _after(self.cursor, self.order)
        return read_requests(tx, wanted, shown, order=self.order, after=after, limit=self.limit)


Asked = Annotated[RequestsAsked, Depends()]


@router.get("/requests")
def get_requests(_key: Reader, parts: Parts, adapter: AdapterName, query: Asked) -> RequestList:
    """List single requests of an adapter, each beside its nearest training example.

    Texts come only where they are stored. `cursor` keeps the interval of the first page, so pages
    neither repeat nor leave out a request while others arrive.
    """
    shown = query.range(parts.clock()).shown

    def read(tx: Connection) -> RequestsFound:
        return query.read(tx, query.versions(tx, adapter), shown)

    found = parts.database.run(read)
    return RequestList.of(
        found,
        window=WindowBody.of(found.window),
        cut=is_cut(found, shown),
        next=next_cursor(found, query.order),
    )


def is_cut(found: RequestsFound, asked_for: Interval) -> bool:
    """Whether the beginning of the range was left out."""
    return found.window.start > asked_for.start


def next_cursor(found: RequestsFound, order: RequestOrder) -> str | None:
    """Write where the next page begins; None on the last."""
    if found.next is None:
        return None
    window, place = found.next.window, found.next.place
    times = (one.isoformat() for one in (window.start, window.end, place.at))
    return paging.encode(order.value, *times, repr(place.value), place.id)


def _after(cursor: str | None, order: RequestOrder) -> RequestsAfter | None:
    if cursor is None:
        return None
    of, start, end, at, value, name = paging.decode(cursor, kinds=(str,) * 6)
    if of != order.value:
        raise paging.refused()
    return RequestsAfter(
        window=Interval(start=paging.moment(start), end=paging.moment(end)),
        place=RequestPlace(value=paging.value(value), at=paging.moment(at), id=str(name)),
    )

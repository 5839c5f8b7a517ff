"""``GET /adapters/{a}/new``: groups among the requests that are unlike training."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.moments import Bound
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.evaluate.newness import LONGEST, NotCompared, new_since, read_newness
from monitor.views.reading.score import new as new_view
from monitor.views.score import NewBody

router: Final = APIRouter(prefix="/adapters/{adapter}", tags=["scores"])


@router.get("/new")
def get_new(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    *,
    version: Annotated[Name | None, Query(description="That in charge.")] = None,
    since: Annotated[
        Bound | None,
        Query(description="The onset of drifting inputs, else a day ago; at most 30 days."),
    ] = None,
) -> NewBody:
    """Group the recent requests that are unlike training, and say what is typical of them."""
    now = parts.clock()
    if since is not None and not now - LONGEST <= since < now:
        raise Problem(422, "`since` is at most 30 days ago, and not to come.", kind="invalid")

    def read(tx: Connection) -> NewBody:
        shown = lookup.shown(tx, adapter, version)
        start = since or new_since(tx, shown, now=now)
        return new_view(shown, read_newness(tx, shown, since=start, until=now))

    try:
        return parts.database.run(read)
    except NotCompared as error:
        raise Problem(409, f"{error}.", kind="not-compared") from error

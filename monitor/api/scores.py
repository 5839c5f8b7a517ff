"""``/scores``, of all or of one adapter, and ``/new``: what detectors and new requests say."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Response
from sqlalchemy import Connection

from monitor.api import lookup, paging
from monitor.api.access import Reader
from monitor.api.answering import answered
from monitor.api.bodies import Name
from monitor.api.moments import Bound
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.evaluate.newness import LONGEST, new_since, read_newness
from monitor.store.evaluation import evaluations
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.views.reading.score import new as new_view
from monitor.views.reading.score import score
from monitor.views.score import NewBody, ScoreBody
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1/adapters/{adapter}", tags=["scores"])
of_fleet: Final = APIRouter(prefix="/v1", tags=["scores"])

DEFAULT_SPAN: Final = timedelta(days=1)

Since = Annotated[Bound | None, Query(description="First window end; a day before `until`.")]
OneName = Annotated[Name | None, Query()]


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoresAsked:
    """Which windows a list of scores is of, and which page of it."""

    since: Since = None
    until: Annotated[Bound | None, Query(description="Window ends before; now.")] = None
    cursor: Cursor = None
    limit: Limit = DEFAULT_LIMIT

    def listed(
        self,
        parts: ApiParts,
        *,
        adapter: str | None,
        detector: str | None,
        version: str | None = None,
    ) -> Response:
        """Answer with the scores asked for, of one adapter or of all."""
        before = _position(self.cursor)
        upper = self.until or parts.clock() + timedelta(seconds=1)

        def read(tx: Connection) -> list[ScoreRow]:
            of = lookup.adapter(tx, adapter) if adapter else None
            return evaluations.score_history(
                tx,
                adapter_id=of.id if of else None,
                version_id=lookup.version(tx, of.name, version).id if of and version else None,
                detector=detector,
                since=self.since or upper - DEFAULT_SPAN,
                until=upper,
                before=before,
                limit=self.limit + 1,
            )

        rows = parts.database.run(read)
        return answered(paging.page(rows, self.limit, score, place=_place))


Asked = Annotated[ScoresAsked, Depends()]


@of_fleet.get("/scores", response_model=Page[ScoreBody])
def get_scores_of_all(
    _key: Reader, parts: Parts, query: Asked, adapter: OneName = None, detector: OneName = None
) -> Response:
    """List scores of every adapter's windows that ended in ``[since, until)``, newest first."""
    return query.listed(parts, adapter=adapter, detector=detector)


@router.get("/scores", response_model=Page[ScoreBody])
def get_scores(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    query: Asked,
    *,
    detector: OneName = None,
    version: OneName = None,
) -> Response:
    """List scores of windows that ended in ``[since, until)``, newest first."""
    return query.listed(parts, adapter=adapter, detector=detector, version=version)


def _place(row: ScoreRow) -> tuple[str | int, ...]:
    return row.window.end.isoformat(), row.detector, row.version_id


def _position(cursor: str | None) -> tuple[datetime, str, int] | None:
    if cursor is None:
        return None
    at, detector, version_id = paging.decode(cursor, kinds=(str, str, int))
    return paging.moment(at), str(detector), int(version_id)


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

    return parts.database.run(read)

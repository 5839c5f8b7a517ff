"""``/adapters/{a}/report``: have Evidently's report drawn, and read it."""

from __future__ import annotations

import gzip
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Final

from fastapi import APIRouter, Query
from fastapi.responses import Response
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Operator, Reader
from monitor.api.lookup import Number, VersionQuery
from monitor.api.moments import Bound
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.domain import Interval, Version
from monitor.report.render import POLICY
from monitor.store import audit
from monitor.store.evaluation import reports
from monitor.store.evaluation.reports import Form, ReportId, ReportRow
from monitor.views.reading.report import report
from monitor.views.report import ReportBody

router: Final = APIRouter(prefix="/v1/adapters/{adapter}/report", tags=["reports"])

DEFAULT_SPAN: Final = timedelta(days=1)
LONGEST: Final = timedelta(days=90)
HEADERS: Final = {
    "page": {"Content-Security-Policy": f"sandbox allow-scripts; {POLICY}"},
    "snapshot": {"Content-Disposition": 'attachment; filename="evidently-snapshot.json"'},
}
"""Evidently's page runs its own scripts, so it gets an origin of its own: no cookie, no request."""
_KINDS: Final = {"page": "text/html; charset=utf-8", "snapshot": "application/json"}


@router.post("", status_code=202)
def post_report(
    key: Operator,
    parts: Parts,
    adapter: AdapterName,
    *,
    version: VersionQuery = None,
    since: Annotated[Bound | None, Query(description="First record; a day before `until`.")] = None,
    until: Annotated[Bound | None, Query(description="Records before; now.")] = None,
) -> ReportBody:
    """Have Evidently compare a version's records with its reference; a worker draws the report."""

    def work(tx: Connection) -> ReportBody:
        of = lookup.shown(tx, adapter, version)
        number = ask(tx, of, spanned(since, until, now=parts.clock()), by=key.name)
        return report(_known(tx, of, number), of)

    return parts.database.run(work)


@router.get("")
def get_report(
    _key: Reader, parts: Parts, adapter: AdapterName, *, version: VersionQuery = None
) -> ReportBody:
    """Show the report of a version that was requested last, and how far it is."""

    def read(tx: Connection) -> ReportBody:
        of = lookup.shown(tx, adapter, version)
        found = reports.newest(tx, of.id)
        if not found:
            raise Problem(404, f"No report of {of.label} is kept.", kind="unknown-report")
        return report(found[0], of)

    return parts.database.run(read)


@router.get("/{number}/{form}", response_class=Response)
def get_report_body(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    number: Number,
    form: Form,
    *,
    version: VersionQuery = None,
) -> Response:
    """Return a report as Evidently's page of HTML, or as the snapshot that its own UI loads."""

    def read(tx: Connection) -> Response:
        of = lookup.shown(tx, adapter, version)
        return drawn(tx, _known(tx, of, number), form)

    return parts.database.run(read)


def ask(tx: Connection, of: Version, span: Interval, *, by: str) -> ReportId:
    """Request a report, and write down who did."""
    number = reports.ask(tx, of.id, span)
    details = {"report": number, "start": span.start.isoformat(), "end": span.end.isoformat()}
    audit.append(tx, actor=by, act="report.request", subject=of.label, details=details)
    return number


def spanned(since: datetime | None, until: datetime | None, *, now: datetime) -> Interval:
    """Return whole minutes, so that two people who ask at once get one report."""
    end = (until or now).replace(second=0, microsecond=0)
    if until is None:
        end += timedelta(minutes=1)
    start = (since or end - DEFAULT_SPAN).replace(second=0, microsecond=0)
    if not timedelta() < end - start <= LONGEST:
        raise Problem(
            422,
            f"The range has at most {LONGEST.days} days, and begins before it ends.",
            kind="invalid-request",
        )
    return Interval(start=start, end=end)


def drawn(tx: Connection, row: ReportRow, form: Form) -> Response:
    """Answer with what Evidently drew."""
    packed = reports.body(tx, row.id, form)
    if packed is None:
        why = row.error or "it is not done yet"
        raise Problem(HTTPStatus.CONFLICT, f"There is no such report: {why}.", kind="no-report")
    return Response(gzip.decompress(packed), headers=HEADERS[form], media_type=_KINDS[form])


def _known(tx: Connection, of: Version, number: int) -> ReportRow:
    found = reports.fetch(tx, of.id, number)
    if found is None:
        raise Problem(404, f"No report {number} of {of.label} is kept.", kind="unknown-report")
    return found

"""Evidently's report of an adapter: asked for, being drawn, opened, downloaded."""

from __future__ import annotations

from collections.abc import Callable
from http import HTTPStatus

from fastapi import Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from monitor.api.lookup import Number
from monitor.api.lookup import shown as shown_version
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.api.ranges import RangeRefused, read_range
from monitor.api.reports import ask, drawn, spanned
from monitor.domain import Version
from monitor.store import teams
from monitor.store.evaluation import reports
from monitor.store.evaluation.reports import Form, ReportRow
from monitor.views.reading.report import report
from monitor.web import wording
from monitor.web.forms import Fields, may_not
from monitor.web.frame import Frame, PageGroup
from monitor.web.queries import VersionQuery


class ReportPages(PageGroup):
    """The pages of an adapter's reports."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._post("/adapters/{adapter}/report", self.ask)
        self._get("/adapters/{adapter}/report/{number}", self.show)
        self._get("/adapters/{adapter}/report/{number}/{form}", self.open)

    def show(
        self, adapter: AdapterName, number: Number, *, version: VersionQuery = None
    ) -> Response:
        """Show how far a report is, and its facts and links once it is done."""

        def read(_tx: Connection, of: Version, row: ReportRow) -> Response:
            return self._frame.page("report.html", report=report(row, of))

        return self._of(adapter, version, number, read)

    def open(
        self, adapter: AdapterName, number: Number, form: Form, *, version: VersionQuery = None
    ) -> Response:
        """Answer with Evidently's page, or with its snapshot."""
        return self._of(adapter, version, number, lambda tx, _of, row: drawn(tx, row, form))

    def ask(self, request: Request, adapter: AdapterName, fields: Fields) -> Response:
        """Request a report of the range that the form names, if the session's key may operate."""
        key = self._frame.sender(request)
        refused = may_not(request, key)
        if refused is not None:
            raise Problem(HTTPStatus.FORBIDDEN, refused)
        now = self._parts.clock()
        try:
            asked = read_range(fields.get("from", ""), fields.get("to", ""), usual="24h", now=now)
        except RangeRefused as why:
            raise Problem(HTTPStatus.BAD_REQUEST, str(why)) from why
        until = asked.shown.end if asked.fixed else None
        span = spanned(asked.shown.start, until, now=now)

        def request_it(tx: Connection) -> str:
            of = shown_version(tx, adapter, fields.get("version") or None)
            number = ask(tx, of, span, by=key.name)
            place = f"/adapters/{wording.path_part(of.adapter)}/report/{number}"
            return f"{place}?version={wording.path_part(of.name)}"

        with teams.unbound():
            place = self._parts.database.run(request_it)
        return RedirectResponse(place, status_code=HTTPStatus.SEE_OTHER)

    def _of(
        self,
        adapter: str,
        version: str | None,
        number: int,
        read: Callable[[Connection, Version, ReportRow], Response],
    ) -> Response:
        def found(tx: Connection) -> Response:
            of = shown_version(tx, adapter, version or None)
            row = reports.fetch(tx, of.id, number)
            if row is None:
                raise Problem(
                    HTTPStatus.NOT_FOUND, "Reports are kept for a day: have it drawn again."
                )
            return read(tx, of, row)

        return self._parts.database.run(found)

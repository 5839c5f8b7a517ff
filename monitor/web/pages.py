"""The pages, and the permissions to see them."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from http import HTTPStatus
from typing import Any, Final

from fastapi import Depends, HTTPException, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from monitor.api.access import KeyGate, address_of
from monitor.api.parts import Dashboard
from monitor.api.problems import Problem
from monitor.domain import Scope
from monitor.oidc.settings import BACK
from monitor.store import audit
from monitor.store.people import keys
from monitor.web import budget
from monitor.web.adapter_pages import AdapterPages
from monitor.web.canary_pages import CanaryPages
from monitor.web.fleet_pages import FleetPages
from monitor.web.forms import Fields, is_from_elsewhere
from monitor.web.frame import Frame, PageGroup
from monitor.web.inbox_pages import InboxPages
from monitor.web.incident_pages import IncidentPages
from monitor.web.parts import WebParts
from monitor.web.queries import PageNumber
from monitor.web.report_pages import ReportPages
from monitor.web.request_pages import RequestPages
from monitor.web.runbooks import read_runbooks
from monitor.web.service_pages import ServicePages
from monitor.web.sessions import COOKIE, Session
from monitor.web.silence_pages import SilencePages
from monitor.web.traffic_pages import TrafficPages
from monitor.web.version_pages import ReferencePages, VersionPages

GROUPS: Final[Sequence[type[PageGroup]]] = (
    FleetPages,
    AdapterPages,
    RequestPages,
    ReportPages,
    ReferencePages,
    InboxPages,
    IncidentPages,
    TrafficPages,
    SilencePages,
    ServicePages,
    VersionPages,
    CanaryPages,
)


def create_pages(parts: WebParts) -> Dashboard:
    """Build the routes of all pages, to be served at the root, and the page of errors."""
    frame = Frame(parts)
    pages = Pages(frame)
    if parts.oidc is not None:
        from monitor.web.logins import OidcLogins  # noqa: PLC0415 (brings cryptography)

        logins = OidcLogins(frame, parts.oidc, pages.login_page)
        pages.router.get("/login/begin")(logins.begin)
        pages.router.get(BACK)(logins.back)
    routers = (frame.assets.router(), *(one(frame).router for one in GROUPS), pages.router)
    routes = [route for router in routers for route in router.routes]
    return Dashboard(routes=routes, problem=pages.problem)


class Pages(PageGroup):
    """The pages of the login, the budget, the API and the runbooks."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._page = frame.page
        self.router.get("/login")(self.login_form)
        self.router.get("/docs", dependencies=[Depends(frame.visitor)])(self.docs)
        self.router.get("/runbooks")(self.runbooks)
        self.router.get("/runbooks/{name}")(self.runbook)
        self._get("/budget", self.budget)
        self._post("/login", self.login)
        self._post("/logout", self.logout)

    def problem(self, problem: Problem) -> Response:
        """Show an error in the words of the API."""
        return self._page(
            "problem.html",
            status=problem.status_code,
            headers=problem.headers,
            title=HTTPStatus(problem.status_code).phrase,
            detail=problem.detail,
        )

    def budget(self, page: PageNumber = 1) -> Response:
        """Show each detector's share of the budget, the blind detectors first."""
        now = self._parts.clock()
        seen = self._parts.database.run(
            lambda tx: budget.read_budget(tx, self._parts.outlook, now=now, page=page)
        )
        return self._page("budget.html", **seen)

    def docs(self, request: Request) -> Response:
        """List the endpoints by their first tag, as ``/openapi.json`` describes them."""
        groups: defaultdict[str, list[tuple[str, str, Any]]] = defaultdict(list)
        for path, methods in request.app.openapi()["paths"].items():
            for method, operation in methods.items():
                groups[operation.get("tags", ["other"])[0]].append((method, path, operation))
        return self._page("docs.html", groups=groups)

    def runbooks(self) -> Response:
        """List the runbooks, without a login: people follow links to them from messages."""
        return self._page("runbooks.html", runbooks=read_runbooks().values())

    def runbook(self, name: str) -> Response:
        """Show one of them."""
        found = read_runbooks().get(name)
        if found is None:
            return self._frame.missing(f"runbook {name}")
        return self._page("runbook.html", runbook=found)

    def login_form(self) -> Response:
        """Ask for a key."""
        return self.login_page()

    def login_page(
        self,
        *,
        refused: str | None = None,
        status: int = 200,
        headers: Mapping[str, str] | None = None,
    ) -> Response:
        """Show the ways to log in, and why the last try failed."""
        return self._page(
            "login.html",
            status=status,
            headers=headers,
            refused=refused,
            provider=self._parts.oidc is not None,
        )

    def login(self, request: Request, fields: Fields) -> Response:
        """Take the key and begin a session."""
        if is_from_elsewhere(request):
            return self.login_page(status=403, refused="This form was sent by another site.")
        gate: KeyGate = request.app.state.gate  # so that a pasted key counts like any other
        try:
            key = gate.admit(fields.get("key", ""), address=address_of(request))
        except HTTPException as refused:
            return self.login_page(
                status=refused.status_code, headers=refused.headers, refused=refused.detail
            )
        if not keys.permits(key, Scope.READ):
            return self.login_page(status=403, refused=f"The key {key.name!r} may not read.")
        return self._frame.logged_in(request, key, now=self._parts.clock())

    def logout(self, request: Request) -> Response:
        """End the session."""
        session = self._frame.signed_in(request)
        if session is not None and not is_from_elsewhere(request):
            self._frame.sessions.end(session)
            self._forget(session)
        answer = RedirectResponse("/login", status_code=HTTPStatus.SEE_OTHER)
        answer.delete_cookie(COOKIE, httponly=True, samesite="lax")
        return answer

    def _forget(self, session: Session) -> None:
        """Revoke the key of a login by a provider, which was made for this session alone."""
        key = self._frame.key(session)
        if key is not None and key.person is not None:
            now = self._parts.clock()

            def work(tx: Connection) -> None:
                keys.revoke(tx, key.id, now=now)
                audit.append(tx, actor=key.name, act="logout", subject=key.id)

            self._parts.database.run(work)

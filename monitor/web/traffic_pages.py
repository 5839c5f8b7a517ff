"""The pages of routes, where a person can approve actions and stop them all."""

from __future__ import annotations

from http import HTTPStatus

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from monitor.api.lookup import Number
from monitor.api.paths import AdapterName
from monitor.domain import ActionId
from monitor.store import teams
from monitor.store.errors import NotFound
from monitor.store.traffic import actions, flags
from monitor.traffic.fallback.breaker import ActionNotOpen
from monitor.web import traffic, wording
from monitor.web.forms import Fields, may_not, no_reason
from monitor.web.frame import Frame, PageGroup
from monitor.web.queries import Before, PageNumber, SearchText


class TrafficPages(PageGroup):
    """The pages of routes, and their buttons."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/routes", self.routes)
        self._get("/routes/{adapter}", self.route)
        self._post("/actions/{action}/approve", self.approve)
        self._post("/kill-switch", self.kill_switch)

    def routes(self, request: Request, q: SearchText = "", page: PageNumber = 1) -> Response:
        """Show adapters' routes, the moved ones first."""
        return self._routes(request, text=q, page=page)

    def route(self, request: Request, adapter: AdapterName, before: Before = None) -> Response:
        """Show one adapter's route, its history and its actions."""
        now = self._parts.clock()
        seen = self._parts.database.run(
            lambda tx: traffic.read_route(tx, adapter, self._parts, now=now, before=before)
        )
        if seen is None:
            return self._frame.missing(f"adapter {adapter}")
        may_act = self._frame.may_operate(request)
        return self._frame.page("route.html", now=now, before=before, may_act=may_act, **seen)

    def approve(self, request: Request, action: Number) -> Response:
        """Carry out an action that waits for approval, and show the result."""
        key = self._frame.sender(request)
        refused = may_not(request, key)
        if refused is not None:
            return self._routes(request, refused=refused, status=HTTPStatus.FORBIDDEN)
        try:
            with teams.unbound():
                self._parts.approver.approve(
                    ActionId(action), actor=key.name, now=self._parts.clock()
                )
        except NotFound:
            return self._frame.missing(f"action {action}")
        except ActionNotOpen as why:
            refused = f"Nothing was done: {why}."
            return self._routes(request, refused=refused, status=HTTPStatus.CONFLICT)
        found = self._parts.database.run(lambda tx: actions.fetch(tx, ActionId(action)))
        return RedirectResponse(
            f"/routes/{wording.path_part(found.adapter)}#action-{action}",
            status_code=HTTPStatus.SEE_OTHER,
        )

    def kill_switch(self, request: Request, fields: Fields) -> Response:
        """Stop every automatic action, or permit them again."""
        key = self._frame.fleet_sender(request)
        refused = may_not(request, key) or no_reason(fields)
        if refused is None and fields.get("set") not in {"on", "off"}:
            refused = "Say whether it shall be on or off."
        if refused is not None:
            return self._routes(request, refused=refused, status=HTTPStatus.FORBIDDEN)
        self._parts.database.run(
            lambda tx: flags.set_kill_switch(
                tx, on=fields["set"] == "on", reason=fields["reason"], actor=key.name
            )
        )
        return RedirectResponse("/routes#kill-switch", status_code=HTTPStatus.SEE_OTHER)

    def _routes(
        self,
        request: Request,
        *,
        text: str = "",
        page: int = 1,
        refused: str | None = None,
        status: int = HTTPStatus.OK,
    ) -> Response:
        now = self._parts.clock()
        seen = self._parts.database.run(
            lambda tx: traffic.read_routes(tx, self._parts, now=now, text=text, page=page)
        )
        return self._frame.page(
            "routes.html",
            status=status,
            now=now,
            refused=refused,
            asked=text,
            may_act=(may_act := self._frame.may_operate(request)),
            may_stop=may_act and not teams.bound(),
            **seen,
        )

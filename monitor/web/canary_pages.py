"""The pages of canaries: their state, people's orders, and the form that begins one."""

from __future__ import annotations

from collections.abc import Mapping
from http import HTTPStatus
from typing import Final

from fastapi import Request
from fastapi.responses import RedirectResponse, Response

from monitor.api.lookup import Number
from monitor.store import teams
from monitor.store.errors import NotFound
from monitor.store.traffic.canaries import CanaryId, OneAtATime
from monitor.store.traffic.routes import GenerationConflict
from monitor.traffic.trial.prechecks import Precheck
from monitor.traffic.trial.settings import FEWEST
from monitor.traffic.trial.states import NotPossible, OrderKind
from monitor.web import canaries, intervals
from monitor.web.beginning import CanaryForm, read_asked, read_beginning, read_wish
from monitor.web.forms import Fields, may_not, no_reason
from monitor.web.frame import Frame, PageGroup
from monitor.web.queries import Before

FRAME: Final = {"width": intervals.BAND_WIDTH, "height": intervals.BAND_HEIGHT}

FORCE: Final = "force"
"""Promotes a canary that is not proven."""
ORDERS: Final = {
    "pause": OrderKind.PAUSE,
    "resume": OrderKind.RESUME,
    "abort": OrderKind.ABORT,
    "promote": OrderKind.PROMOTE,
    FORCE: OrderKind.PROMOTE,
}


class CanaryPages(PageGroup):
    """The pages of canaries, and their forms."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/canaries", self.canaries)
        self._post("/canaries", self.begin)
        self._get("/canaries/new", self.plan)
        self._get("/canaries/{canary}", self.canary)
        self._post("/canaries/{canary}/order", self.order)

    def canaries(self, before: Before = None) -> Response:
        """Show the canaries under way and those that ended."""
        active, ended, older = self._parts.database.run(
            lambda tx: canaries.read_list(tx, before=before)
        )
        return self._frame.page(
            "canaries.html",
            active=active,
            ended=ended,
            older=older,
            before=before,
            now=self._parts.clock(),
        )

    def canary(self, request: Request, canary: Number) -> Response:
        """Show one of them."""
        return self._canary(request, canary)

    def plan(self, request: Request) -> Response:
        """Plan a canary at its adapter's traffic, and offer to begin it."""
        return self._plan(request, request.query_params)

    def begin(self, request: Request, fields: Fields) -> Response:
        """Begin a canary, and show it."""
        key = self._frame.form_sender(request)
        refused = may_not(request, key)
        if refused is not None:
            return self._plan(request, fields, refused=refused, status=HTTPStatus.FORBIDDEN)
        try:
            wish = self._parts.database.run(lambda tx: read_wish(tx, fields))
            with teams.unbound():
                made = self._parts.orders.start(wish, by=key.name, now=self._parts.clock())
        except (ValueError, NotFound) as why:
            status = HTTPStatus.UNPROCESSABLE_ENTITY
            return self._plan(request, fields, refused=f"Not begun: {why}.", status=status)
        except (NotPossible, GenerationConflict, OneAtATime) as why:
            status = HTTPStatus.CONFLICT
            return self._plan(request, fields, refused=f"Not begun: {why}.", status=status)
        return RedirectResponse(f"/canaries/{made.id}", status_code=HTTPStatus.SEE_OTHER)

    def order(self, request: Request, canary: Number, fields: Fields) -> Response:
        """Pause, resume, promote or abort a canary."""
        key = self._frame.sender(request)
        refused = may_not(request, key) or no_reason(fields)
        kind = ORDERS.get(fields.get("order", ""))
        if refused is None and kind is None:
            refused = "Say what shall become of it."
        if kind is None or refused is not None:
            return self._canary(request, canary, refused=refused, status=HTTPStatus.FORBIDDEN)
        try:
            with teams.unbound():
                self._parts.orders.order(
                    CanaryId(canary),
                    kind,
                    by=key.name,
                    now=self._parts.clock(),
                    why=fields["reason"],
                    force=fields["order"] == FORCE,
                )
        except NotFound:
            return self._canary(request, canary)
        except (NotPossible, GenerationConflict) as why:
            refused = f"Nothing was done: {why}."
            return self._canary(request, canary, refused=refused, status=HTTPStatus.CONFLICT)
        return RedirectResponse(f"/canaries/{canary}", status_code=HTTPStatus.SEE_OTHER)

    def _plan(
        self,
        request: Request,
        fields: Mapping[str, str],
        *,
        refused: str | None = None,
        status: int = HTTPStatus.OK,
    ) -> Response:
        now = self._parts.clock()
        try:
            asked = read_asked(fields)
        except ValueError as why:
            asked = CanaryForm()
            refused, status = refused or f"No plan: {why}.", HTTPStatus.UNPROCESSABLE_ENTITY
        seen = self._parts.database.run(
            lambda tx: read_beginning(tx, asked, self._parts.orders, now=now)
        )
        settings = self._parts.orders.settings
        return self._frame.page(
            "beginning.html",
            status=status,
            glance=seen,
            steps=settings.plan().steps,
            shadow=settings.plan(shadow=True).steps[0],
            fewest=FEWEST,
            checks=list(Precheck),
            now=now,
            refused=refused,
            may_act=self._frame.may_operate(request),
        )

    def _canary(
        self, request: Request, canary: int, *, refused: str | None = None, status: int = 200
    ) -> Response:
        now = self._parts.clock()
        try:
            seen = self._parts.database.run(
                lambda tx: canaries.read_canary(
                    tx, CanaryId(canary), settings=self._parts.orders.settings, now=now
                )
            )
        except NotFound:
            return self._frame.missing(f"canary {canary}")
        return self._frame.page(
            "canary.html",
            status=status,
            glance=seen,
            now=now,
            refused=refused,
            rack=canaries.RACK,
            frame=FRAME,
            may_act=self._frame.may_operate(request),
        )

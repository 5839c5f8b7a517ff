"""The pages of canaries."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request
from fastapi import Path as PathPart
from fastapi.responses import Response

from monitor.store.canaries import CanaryId
from monitor.store.errors import NotFound
from monitor.web import canaries, intervals
from monitor.web.frame import Frame

LARGEST_NUMBER: Final = 2**63 - 1

Number = Annotated[int, PathPart(ge=1, le=LARGEST_NUMBER)]
Before = Annotated[int | None, Query(ge=1, le=LARGEST_NUMBER)]

RACK: Final = {
    "width": intervals.RACK_WIDTH,
    "zero": intervals.rack_x(0.0),
    "margin": intervals.rack_x(1.0),
}
FRAME: Final = {"width": intervals.BAND_WIDTH, "height": intervals.BAND_HEIGHT}


def canary_pages(frame: Frame) -> APIRouter:
    """Build the router of these pages."""
    pages = CanaryPages(frame)
    router = APIRouter()
    reader = [Depends(frame.session)]
    router.add_api_route("/canaries", pages.canaries, methods=["GET"], dependencies=reader)
    router.add_api_route("/canaries/{canary}", pages.canary, methods=["GET"], dependencies=reader)
    return router


class CanaryPages:
    """The handlers; plain ``def`` ones run in the thread pool."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._parts = frame.parts

    def canaries(self, before: Before = None) -> Response:
        """Show those under way and those that ended."""
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
        return self._canary(request, CanaryId(canary))

    def _canary(
        self, request: Request, canary: CanaryId, *, refused: str | None = None, status: int = 200
    ) -> Response:
        now = self._parts.clock()
        try:
            seen = self._parts.database.run(lambda tx: canaries.read_canary(tx, canary, now=now))
        except NotFound:
            return self._frame.page(
                "missing.html", status=404, name=f"canary {canary}", version=None
            )
        return self._frame.page(
            "canary.html",
            status=status,
            glance=seen,
            now=now,
            refused=refused,
            rack=RACK,
            frame=FRAME,
            may_act=self._frame.may_operate(request),
        )

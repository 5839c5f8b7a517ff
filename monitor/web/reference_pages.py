"""The page of references: what each version is compared with, and what waits for a person."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Depends, Request
from fastapi.responses import Response

from monitor.store.references import references
from monitor.views.reference import ReferenceBody
from monitor.web.frame import Frame
from monitor.web.queries import PageNumber, neighbours

SHOWN: Final = 50


def reference_pages(frame: Frame) -> APIRouter:
    """Build the router of this page."""
    router = frame.router()

    def show(request: Request, page: PageNumber = 1) -> Response:
        """Show each version's newest reference: those that wait stand first."""
        first = (page - 1) * SHOWN
        found = frame.parts.database.run(
            lambda tx: references.newest_of_versions(tx, limit=SHOWN + 1, offset=first)
        )
        around: dict[str, Any] = neighbours("/references", {}, page=page, last=len(found) <= SHOWN)
        return frame.page(
            "references.html",
            now=frame.parts.clock(),
            found=[
                ReferenceBody.of(one, adapter=adapter, version=version)
                for adapter, version, one in found[:SHOWN]
            ],
            may_operate=frame.may_operate(request),
            **around,
        )

    reader = [Depends(frame.reader)]
    router.add_api_route("/references", show, methods=["GET"], dependencies=reader)
    return router

"""The page of references: what each version is compared with, and what waits for a person."""

from __future__ import annotations

from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response

from monitor.store.references import references
from monitor.views.reference import ReferenceBody
from monitor.web.frame import Frame, PageGroup
from monitor.web.queries import PageNumber, neighbours

SHOWN: Final = 50


class ReferencePages(PageGroup):
    """The page of references."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/references", self.show)

    def show(self, request: Request, page: PageNumber = 1) -> Response:
        """Show each version's newest reference: those that wait stand first."""
        first = (page - 1) * SHOWN
        found = self._parts.database.run(
            lambda tx: references.newest_of_versions(tx, limit=SHOWN + 1, offset=first)
        )
        around: dict[str, Any] = neighbours("/references", {}, page=page, last=len(found) <= SHOWN)
        return self._frame.page(
            "references.html",
            now=self._parts.clock(),
            found=[
                ReferenceBody.of(one, adapter=adapter, version=version)
                for adapter, version, one in found[:SHOWN]
            ],
            may_operate=self._frame.may_operate(request),
            **around,
        )

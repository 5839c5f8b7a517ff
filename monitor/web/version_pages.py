"""The page that compares two versions of an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Final

from fastapi import Query, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from monitor.api.paths import AdapterName
from monitor.store.references import references
from monitor.store.traffic import fleet
from monitor.views.reading import version
from monitor.views.reference import ReferenceBody
from monitor.views.version import VersionStanding
from monitor.web.frame import Frame, PageGroup
from monitor.web.queries import PageNumber, neighbours

Name = Annotated[str, Query(max_length=128)]


class VersionPages(PageGroup):
    """The page of two versions of an adapter."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/adapters/{adapter}/versions", self.show)

    def show(self, adapter: AdapterName, left: Name = "", right: Name = "") -> Response:
        """Show two versions beside each other: the one in charge and the newest other one."""
        now = self._parts.clock()
        settings = self._parts.outlook.settings

        def read(tx: Connection) -> list[VersionStanding] | None:
            row = fleet.adapter(tx, adapter, now=now)
            return None if row is None else version.beside(tx, row, settings=settings)

        known = self._parts.database.run(read)
        if not known:
            return self._frame.missing(f"adapter {adapter}")
        one, other = chosen(known, left, right)
        return self._frame.page(
            "versions.html",
            name=adapter,
            known=known,
            left=one,
            right=other,
            numbers=list(dict.fromkeys((*one.numbers, *other.numbers))),
            metadata=sorted({*one.metadata, *other.metadata}),
        )


def chosen(
    known: Sequence[VersionStanding], left: str, right: str
) -> tuple[VersionStanding, VersionStanding]:
    """Return the two versions that are asked for; what is not known gives the usual one."""
    by_name = {one.version: one for one in known}
    in_charge = next((one for one in known if one.in_charge), known[0])
    first = by_name.get(left, in_charge)
    others = [one for one in known if one is not first] or [first]
    return first, by_name.get(right, others[0])


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

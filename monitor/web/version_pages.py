"""The page that compares two versions of an adapter."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Query
from fastapi.responses import Response
from sqlalchemy import Connection

from monitor.store.traffic import fleet
from monitor.views.reading import version
from monitor.views.version import VersionStanding
from monitor.web import wording
from monitor.web.frame import Frame, PageGroup

Name = Annotated[str, Query(max_length=128)]


class VersionPages(PageGroup):
    """The page of two versions of an adapter."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/adapters/{adapter}/versions", self.show)

    def show(self, adapter: str, left: Name = "", right: Name = "") -> Response:
        """Show two versions beside each other: the one in charge and the newest other one."""
        name = wording.name_of(adapter)
        now = self._parts.clock()
        settings = self._parts.outlook.settings

        def read(tx: Connection) -> list[VersionStanding] | None:
            row = fleet.adapter(tx, name, now=now)
            return None if row is None else version.beside(tx, row, settings=settings)

        known = self._parts.database.run(read)
        if not known:
            return self._frame.missing(f"adapter {name}")
        one, other = chosen(known, left, right)
        return self._frame.page(
            "versions.html",
            name=name,
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

"""The page of an adapter: how it is, what moved, and what is known of it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from http import HTTPStatus
from typing import Annotated, Any, Final

from fastapi import Query, Request
from fastapi.responses import RedirectResponse, Response
from sqlalchemy import Connection

from monitor.api.paths import AdapterName
from monitor.api.ranges import AGES, RangeRefused, TimeRange, age_of, read_range
from monitor.domain import Version
from monitor.reference.accept import NotApprovable, approve
from monitor.store import teams
from monitor.store.evaluation.verdicts import VerdictRow, current
from monitor.store.people import changes
from monitor.store.people.changes import StoredChange
from monitor.store.references import references
from monitor.store.registry import versions
from monitor.store.traffic import fleet
from monitor.store.traffic.fleet import FleetRow
from monitor.views.coverage import CoverageBody
from monitor.views.reading import coverage
from monitor.web import wording
from monitor.web.adapter_sections import AdapterSections
from monitor.web.forms import Fields, may_not
from monitor.web.frame import Frame, PageGroup
from monitor.web.newness import NewSections
from monitor.web.notices import Notices, read_notices
from monitor.web.parts import WebParts
from monitor.web.queries import VersionQuery
from monitor.web.sections import drawn

YOUNG: Final = timedelta(hours=1)
BEFORE: Final = 1.25
"""The range is this many times the age of what began, so that it shows normal times too."""
Text = Annotated[str, Query(max_length=64)]


@dataclass(frozen=True, slots=True, kw_only=True)
class AdapterSubject:
    """The adapter that a page is about, seen through one of its versions."""

    row: FleetRow
    version: Version | None
    judged: VerdictRow | None
    least_covered: CoverageBody | None
    under_way: StoredChange | None
    """The engine or base change for which probing waits."""
    notices: Notices

    @property
    def in_charge(self) -> bool:
        return self.version == self.row.version


class AdapterPages(PageGroup):
    """The page of an adapter, and the approval of its reference."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/adapters/{adapter}", self.show)
        self._post("/adapters/{adapter}/approve", self.approve)
        self._new = NewSections(frame.parts.database)

    def show(
        self,
        request: Request,
        adapter: AdapterName,
        *,
        version: VersionQuery = None,
        since: Annotated[str, Query(alias="from", max_length=64)] = "",
        until: Annotated[str, Query(alias="to", max_length=64)] = "",
        signal: Text = "",
    ) -> Response:
        """Show one adapter, over the range of time that its address asks for."""
        asked = {"since": since.strip(), "until": until.strip()}
        return self._page(request, adapter, version, asked, signal=signal)

    def approve(self, request: Request, adapter: AdapterName, fields: Fields) -> Response:
        """Approve the reference that the form shows, if the session's key may operate."""
        key = self._frame.sender(request)
        name, refused = fields.get("version", ""), may_not(request, key)
        if refused is not None:
            status = HTTPStatus.FORBIDDEN
            return self._page(request, adapter, name, {}, refused=refused, status=status)
        try:
            with teams.unbound():
                self._parts.database.run(lambda tx: _approved(tx, adapter, fields, by=key.name))
        except NotApprovable as why:
            status = HTTPStatus.CONFLICT
            return self._page(request, adapter, name, {}, refused=str(why), status=status)
        place = f"/adapters/{wording.path_part(adapter)}?version={wording.path_part(name)}"
        return RedirectResponse(place, status_code=HTTPStatus.SEE_OTHER)

    def _page(
        self,
        request: Request,
        name: str,
        version: str | None,
        asked: Mapping[str, str],
        *,
        signal: str = "",
        refused: str | None = None,
        status: int = 200,
    ) -> Response:
        now = self._parts.clock()
        seen = self._parts.database.run(
            lambda tx: read_subject(tx, name, self._parts, version=version, now=now)
        )
        if seen is None:
            return self._frame.missing(f"adapter {name}", version=version)
        usual = usual_age(seen, now=now)
        try:
            shown = read_range(asked.get("since", ""), asked.get("until", ""), usual=usual, now=now)
        except RangeRefused as why:
            refused, status = f"{why} Below are the last {usual}.", HTTPStatus.BAD_REQUEST
            shown = read_range("", "", usual=usual, now=now)
        common: dict[str, Any] = {
            "seen": seen,
            "now": now,
            "range": shown,
            "ages": AGES,
            "asked": {**asked, "signal": signal},
            "shown_version": _shown_version(seen),
            "may_operate": self._frame.may_operate(request),
        }
        return self._frame.page(
            "adapter.html",
            status=status,
            refused=refused,
            sections=self._drawn(seen, shown, signal, common),
            **common,
        )

    def _drawn(
        self, seen: AdapterSubject, shown: TimeRange, signal: str, common: Mapping[str, Any]
    ) -> Mapping[str, Any]:
        if seen.version is None:
            return {}
        sections = AdapterSections(
            parts=self._parts,
            new=self._new,
            row=seen.row,
            version=seen.version,
            range=shown,
            signal=signal,
            now=common["now"],
        )
        return drawn(self._frame, sections.all(), **common)


def usual_age(seen: AdapterSubject, *, now: datetime) -> str:
    """Return the range for who asks for none: the last day, of a new version the last hour.

    Where something began before that, a longer one that shows its beginning.
    """
    if seen.version is None:
        return AGES[1]
    young = now - seen.version.registered_at < YOUNG
    onset = seen.judged.verdict.onset if seen.judged else None
    ages = AGES if young else AGES[1:]
    if onset is None:
        return ages[0]
    needed = BEFORE * (now - onset.start)
    return next((age for age in ages if age_of(age) >= needed), ages[-1])


def read_subject(
    tx: Connection, name: str, parts: WebParts, *, version: str | None, now: datetime
) -> AdapterSubject | None:
    """Read whom a page is about; None when there is no such adapter or version."""
    row = fleet.adapter(tx, name, now=now)
    if row is None:
        return None
    shown = versions.fetch(tx, adapter=name, name=version) if version else row.version
    if version and shown is None:
        return None
    judged = current(tx, version_id=shown.id) if shown else None
    return AdapterSubject(
        row=row,
        version=shown,
        judged=judged,
        least_covered=coverage.least_covered(judged),
        under_way=changes.open_change(tx, name, at=now),
        notices=read_notices(tx, parts.kill_switch),
    )


def _shown_version(seen: AdapterSubject) -> str:
    """Return the query that keeps a link on the version shown."""
    if seen.version is None or seen.in_charge:
        return ""
    return f"&version={wording.path_part(seen.version.name)}"


def _approved(tx: Connection, adapter: str, fields: Mapping[str, str], *, by: str) -> None:
    of = versions.fetch(tx, adapter=adapter, name=fields.get("version", ""))
    known = references.of_version(tx, of.id) if of else []
    wanted = (one for one in known if str(one.generation) == fields.get("generation"))
    found = next(wanted, None)
    if of is None or found is None:
        raise NotApprovable("There is no such reference: look at the page again.")
    approve(tx, of, found, by=by)

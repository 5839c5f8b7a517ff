"""The page of the fleet: all adapters, worst first, searched and filtered here."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Annotated, Any, Final
from urllib.parse import urlencode

from fastapi import APIRouter, Depends, Query, Request
from fastapi.responses import Response
from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.store.evaluation import verdicts
from monitor.store.incidents import fleet_incidents, incidents
from monitor.store.traffic import canaries, fleet
from monitor.store.traffic.fleet import FleetRow
from monitor.views.incident import MemberBody
from monitor.views.reading import adapter, canary, incident
from monitor.views.reading.adapter import FleetWanted
from monitor.web.frame import Frame
from monitor.web.hours import VerdictHours, first_hour, stretches
from monitor.web.notices import read_notices

SHOWN: Final = 50
MOST_OPEN: Final = 1000

Text = Annotated[str, Query(max_length=256)]
PageNumber = Annotated[int, Query(ge=1, le=1_000_000)]


def fleet_pages(frame: Frame) -> APIRouter:
    """Build the router of this page."""
    pages = FleetPages(frame)
    router = frame.router()
    router.add_api_route("/", pages.show, methods=["GET"], dependencies=[Depends(frame.session)])
    return router


class FleetPages:
    """The handlers; they run in the thread pool."""

    def __init__(self, frame: Frame) -> None:
        self._frame = frame
        self._parts = frame.parts

    def show(
        self,
        request: Request,
        *,
        q: Text = "",
        verdict: Text = "",
        owner: Text = "",
        tier: Text = "",
        base: Text = "",
        page: PageNumber = 1,
    ) -> Response:
        """Show adapters, worst first. An empty field of the form means any."""
        now = self._parts.clock()
        kinds = [VerdictKind(verdict)] if verdict in set(VerdictKind) else []
        wanted = FleetWanted(
            text=q, verdicts=kinds, owner=owner or None, tier=tier or None, base=base or None
        )
        asked = {"q": q, "verdict": "".join(kinds), "owner": owner, "tier": tier, "base": base}
        seen = self._parts.database.run(lambda tx: self._read(tx, wanted, page=page, now=now))
        return self._frame.page(
            "fleet.html",
            now=now,
            base_url=str(request.base_url).rstrip("/"),
            asked=asked,
            previous=_link(asked, page - 1) if page > 1 else None,
            more=_link(asked, page + 1) if page * SHOWN < seen["of"] else None,
            **seen,
        )

    def _read(
        self, tx: Connection, wanted: FleetWanted, *, page: int, now: datetime
    ) -> dict[str, Any]:
        everyone = fleet.fleet(tx, now=now)
        found = [row for row in everyone if wanted.accepts(row)]
        opened = incidents.incident_list(tx, open_only=True, limit=MOST_OPEN)
        shown = found[(page - 1) * SHOWN : page * SHOWN]
        under_way = canaries.canary_list(tx, active_only=True, limit=MOST_OPEN)
        return {
            "adapters": [adapter.summary(row) for row in shown],
            "hours": _hours(tx, shown, now=now),
            "first_hour": first_hour(now),
            "of": len(found),
            "steps": _steps(everyone, heard=bool(self._parts.channels)),
            "counts": Counter(row.verdict.value for row in everyone),
            "choices": _choices(everyone),
            "told": {row.adapter: incident.summary(row) for row in reversed(opened) if row.adapter},
            "of_fleet": [
                (
                    incident.summary(row),
                    [MemberBody.of(one) for one in fleet_incidents.members(tx, row.id)],
                )
                for row in opened
                if row.base_model is not None
            ],
            "canaries": {row.adapter: canary.summary(row) for row in under_way},
            "notices": read_notices(tx, self._parts.kill_switch),
        }


def _hours(
    tx: Connection, shown: Sequence[FleetRow], *, now: datetime
) -> dict[str, Sequence[VerdictHours]]:
    """Read the verdicts of the last day, by adapter."""
    since = first_hour(now)
    changed = verdicts.kind_changes(tx, [row.adapter.id for row in shown], since=since)
    return {
        row.adapter.name: stretches(
            changed.get(row.version.id, ()), row.verdict, begun=row.version.registered_at, now=now
        )
        for row in shown
        if row.version is not None
    }


def _steps(rows: Sequence[FleetRow], *, heard: bool) -> Mapping[str, bool]:
    """Return which of the first steps are done; once records are compared, all are."""
    begun = any(row.reference.state is not None for row in rows)
    return {
        "registered": any(row.version is not None for row in rows),
        "sent": any(row.records_last_hour or row.judged for row in rows),
        "referenced": begun,
        "heard": heard or begun,
    }


def _choices(rows: Sequence[FleetRow]) -> Mapping[str, Sequence[str]]:
    """Return what the form offers: what matches at least one adapter."""
    bases = {row.version.base_model for row in rows if row.version}
    return {
        "verdict": [kind for kind in fleet.WORST_FIRST if any(row.verdict is kind for row in rows)],
        "owner": sorted({row.adapter.owner for row in rows if row.adapter.owner}),
        "tier": sorted({row.adapter.tier for row in rows}),
        "base": sorted(base for base in bases if base),
    }


def _link(asked: Mapping[str, str], page: int) -> str:
    """Return the address of another page with the same filter."""
    wanted = {**asked, "page": str(page) if page > 1 else ""}
    return f"/?{urlencode({name: value for name, value in wanted.items() if value})}"

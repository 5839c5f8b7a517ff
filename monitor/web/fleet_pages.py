"""The page of the fleet: all adapters, searched, filtered, sorted and grouped here."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from fastapi import Request
from fastapi.responses import Response
from sqlalchemy import Connection

from alerts.types import VerdictKind
from monitor.domain import ReferenceState
from monitor.store.evaluation import verdicts
from monitor.store.incidents import fleet_incidents, incidents
from monitor.store.records import capture_counts
from monitor.store.traffic import canaries, fleet
from monitor.store.traffic.fleet import FleetRow
from monitor.views.incident import MemberBody
from monitor.views.reading import adapter, canary, incident
from monitor.views.reading.adapter import FleetWanted, share_compared
from monitor.web.frame import Frame, PageGroup
from monitor.web.hours import VerdictHours, first_hour, stretches
from monitor.web.notices import read_notices
from monitor.web.queries import PageNumber, SearchText, address, neighbours
from monitor.web.traffic import waiting

SHOWN: Final = 50
MOST_OPEN: Final = 1000

ORDERS: Final[Mapping[str, Callable[[FleetRow], Any]]] = {
    "name": lambda row: row.adapter.name.casefold(),
    "compared": share_compared,
    "score": lambda row: -row.judged.drift_score if row.judged else 1.0,
    "records": lambda row: -row.records_last_hour,
    "evaluated": lambda row: -row.judged.updated_at.timestamp() if row.judged else 0.0,
}
"""By what the reader may sort; without it the worst come first."""
GROUPS: Final[Mapping[str, Callable[[FleetRow], str]]] = {
    "owner": lambda row: row.adapter.owner or "no owner",
    "tier": lambda row: row.adapter.tier,
    "base model": lambda row: _base(row) or "no base model",
}
REFERENCES: Final = ("none", "building", "failed", "provisional", "approved")
COVERED: Final[Mapping[str, float]] = {"not all": 1.0, "less than half": 0.5}


class FleetPages(PageGroup):
    """The page of all adapters."""

    def __init__(self, frame: Frame) -> None:
        super().__init__(frame)
        self._get("/", self.show)

    def show(
        self,
        request: Request,
        *,
        q: SearchText = "",
        verdict: SearchText = "",
        owner: SearchText = "",
        tier: SearchText = "",
        base: SearchText = "",
        compared: SearchText = "",
        reference: SearchText = "",
        sort: SearchText = "",
        group: SearchText = "",
        page: PageNumber = 1,
    ) -> Response:
        """Show adapters, worst first. An empty or unknown field means any."""
        now = self._parts.clock()
        kinds = [VerdictKind(verdict)] if verdict in set(VerdictKind) else []
        wanted = FleetWanted(
            text=q,
            verdicts=kinds,
            owner=owner or None,
            tier=tier or None,
            base=base or None,
            covered_below=COVERED.get(compared),
        )
        asked = {
            "q": q,
            "verdict": "".join(kinds),
            "owner": owner,
            "tier": tier,
            "base": base,
            "compared": compared if compared in COVERED else "",
            "reference": reference if reference in REFERENCES else "",
            "group": group if group in GROUPS else "",
            "sort": sort if sort in ORDERS else "",
        }
        seen = self._parts.database.run(
            lambda tx: self._read(tx, wanted, asked, page=page, now=now)
        )
        seen |= neighbours("/", asked, page=page, last=page * SHOWN >= seen["of"])
        return self._frame.page(
            "fleet.html",
            now=now,
            base_url=str(request.base_url).rstrip("/"),
            asked=asked,
            sorts={one: address("/", asked, sort=one) for one in ("", *ORDERS)},
            **seen,
        )

    def _read(
        self,
        tx: Connection,
        wanted: FleetWanted,
        asked: Mapping[str, str],
        *,
        page: int,
        now: datetime,
    ) -> dict[str, Any]:
        everyone, heard = fleet.fleet(tx, now=now), bool(self._parts.known_channels)
        found = [
            row
            for row in everyone
            if wanted.accepts(row) and asked["reference"] in {"", _reference(row)}
        ]
        if order := ORDERS.get(asked["sort"]):
            found.sort(key=order)
        grouped = GROUPS.get(asked["group"])
        if grouped:
            found.sort(key=grouped)
        opened = incidents.incident_list(tx, open_only=True, limit=MOST_OPEN)
        shown = found[(page - 1) * SHOWN : page * SHOWN]
        under_way = canaries.canary_list(tx, active_only=True, limit=MOST_OPEN)
        of_fleet = [
            (
                incident.summary(row),
                [MemberBody.of(one) for one in fleet_incidents.members(tx, row.id)],
            )
            for row in opened
            if row.base_model is not None
        ]
        return {
            "adapters": [adapter.summary(row) for row in shown],
            "groups": _groups(found, shown, grouped) if grouped else {},
            "hours": _hours(tx, shown, now=now),
            "first_hour": first_hour(now),
            "of": len(found),
            "steps": _steps(tx, everyone, heard=heard),
            "counts": Counter(row.verdict.value for row in everyone),
            "choices": _choices(everyone),
            "told": {row.adapter: incident.summary(row) for row in reversed(opened) if row.adapter},
            "asking": {f"{one.adapter}@{one.version}" for one in waiting(tx, None)},
            "of_fleet": of_fleet,
            "joined": {
                member.adapter: shared
                for shared, members in of_fleet
                for member in members
                if member.left_at is None
            },
            "canaries": {row.adapter: canary.summary(row) for row in under_way},
            "notices": read_notices(
                tx, self._parts.kill_switch, unheard=bool(everyone) and not heard
            ),
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


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupHeading:
    """Stands above the first adapter of a group on a page; counts the whole group."""

    name: str
    counts: Counter[str]


def _groups(
    found: Sequence[FleetRow], shown: Sequence[FleetRow], group: Callable[[FleetRow], str]
) -> Mapping[str, GroupHeading]:
    """Return the headings by the adapter that each stands above."""
    counts: defaultdict[str, Counter[str]] = defaultdict(Counter)
    for row in found:
        counts[group(row)][row.verdict.value] += 1
    above: dict[str, GroupHeading] = {}
    for name, rows in groupby(shown, key=group):
        above[next(rows).adapter.name] = GroupHeading(name=name, counts=counts[name])
    return above


def _reference(row: FleetRow) -> str:
    """Return one of :data:`REFERENCES`."""
    glance = row.reference
    if glance.state is None:
        return "none"
    if glance.state is not ReferenceState.READY:
        return glance.state.value
    return "approved" if glance.approved else "provisional"


def _base(row: FleetRow) -> str | None:
    return row.version.base_model if row.version else None


def _steps(tx: Connection, rows: Sequence[FleetRow], *, heard: bool) -> Mapping[str, bool]:
    """Return which of the first steps are done; none, once only a channel is missing.

    Then a notice says so.
    """
    found = {
        "registered": any(row.version is not None for row in rows),
        "sent": any(row.judged for row in rows) or capture_counts.any_ever(tx),
        "referenced": any(row.reference.state is ReferenceState.READY for row in rows),
    }
    return found | {"heard": heard} if not all(found.values()) else {}


def _choices(rows: Sequence[FleetRow]) -> Mapping[str, Sequence[str]]:
    """Return what the form offers: what matches at least one adapter."""
    bases = {_base(row) for row in rows}
    return {
        "verdict": [kind for kind in fleet.WORST_FIRST if any(row.verdict is kind for row in rows)],
        "owner": sorted({row.adapter.owner for row in rows if row.adapter.owner}),
        "tier": sorted({row.adapter.tier for row in rows}),
        "base": sorted(base for base in bases if base),
        "compared": list(COVERED),
        "reference": [one for one in REFERENCES if any(_reference(row) == one for row in rows)],
        "group": list(GROUPS),
        "sort": list(ORDERS),
    }

"""The data of the pages, read in one transaction each and shaped for the templates."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from sqlalchemy import Connection

from monitor.store.incidents import fleet_incidents, incidents, receivers
from monitor.store.incidents.fleet_incidents import Member
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.traffic import canaries, fleet
from monitor.store.traffic.canaries import CanaryRow
from monitor.store.traffic.fleet import FleetRow
from monitor.traffic.killswitch import KillSwitch, SwitchReading
from monitor.views.coverage import CoverageBody
from monitor.views.reading import coverage
from monitor.web.fleet_filter import FleetChoices, FleetFilter, choices_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Notices:
    """Notices about the whole service, shown above every page."""

    kill_switch: SwitchReading
    undelivered_for: timedelta
    dead: int
    degraded: Sequence[str]
    """Channels that have accepted no message for ten minutes."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetIncident:
    """An incident of all adapters on a base model, and its members."""

    row: IncidentRow
    members: Sequence[Member]


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetGlance:
    """The fleet, worst first."""

    rows: Sequence[FleetRow]
    """The rows of the page shown."""
    of: int
    """Number of adapters that match the filter."""
    wanted: FleetFilter
    choices: FleetChoices
    counts: Mapping[str, int]
    """Number of adapters by verdict, over the whole fleet."""
    open_incidents: Mapping[str, IncidentRow]
    fleet_incidents: Sequence[FleetIncident]
    canaries: Mapping[str, CanaryRow]
    """The canaries under way, by adapter."""
    covered: Mapping[str, CoverageBody | None]
    """By adapter, the detector with the lowest compared share."""
    notices: Notices


def read_fleet(
    tx: Connection, kill_switch: KillSwitch, wanted: FleetFilter, *, now: datetime
) -> FleetGlance:
    """Read the first page: counts of all adapters, and a page of those that match."""
    everyone = fleet.fleet(tx, now=now)
    found = [row for row in everyone if wanted.accepts(row)]
    rows = wanted.shown(found)
    opened = incidents.incident_list(tx, open_only=True, limit=1000)
    return FleetGlance(
        rows=rows,
        of=len(found),
        wanted=wanted,
        choices=choices_of(everyone),
        counts=Counter(row.verdict.value for row in everyone),
        open_incidents={row.adapter: row for row in reversed(opened) if row.adapter is not None},
        fleet_incidents=[
            FleetIncident(row=row, members=fleet_incidents.members(tx, row.id))
            for row in opened
            if row.base_model is not None
        ],
        canaries={
            row.adapter: row for row in canaries.canary_list(tx, active_only=True, limit=1000)
        },
        covered={row.adapter.name: coverage.least_covered(row.judged) for row in rows},
        notices=read_notices(tx, kill_switch),
    )


def read_notices(tx: Connection, kill_switch: KillSwitch) -> Notices:
    """Read what is shown above every page."""
    channels = receivers.health(tx)
    return Notices(
        kill_switch=kill_switch.read(tx),
        undelivered_for=max((one.oldest for one in channels.values()), default=timedelta()),
        dead=sum(one.dead for one in channels.values()),
        degraded=sorted(name for name, one in channels.items() if one.degraded),
    )

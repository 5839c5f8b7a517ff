"""Look-ups of the names and numbers in a path, or the 404 that says which one is unknown."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated

from fastapi import Path, Query
from sqlalchemy import Connection

from monitor.api.bodies import Name
from monitor.api.parts import ApiParts
from monitor.api.paths import LARGEST_NUMBER
from monitor.api.problems import Problem
from monitor.domain import Adapter, IncidentId, Version
from monitor.incident.reading import IncidentStory, read_story
from monitor.store.errors import NotFound
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.registry import adapters, versions
from monitor.store.traffic import canaries, fleet
from monitor.store.traffic.canaries import CanaryId, CanaryRow

VersionQuery = Annotated[
    Name | None, Query(description="The version in charge where it is left out.")
]
Number = Annotated[int, Path(ge=1, le=LARGEST_NUMBER)]
IncidentNumber = Annotated[
    int, Path(ge=1, le=LARGEST_NUMBER, description="As in the incident's link.")
]


def adapter(tx: Connection, name: str) -> Adapter:
    """Return the adapter called ``name``."""
    found = adapters.fetch(tx, name)
    if found is None:
        raise no_adapter(name)
    return found


def no_adapter(name: str) -> Problem:
    """Return the 404 for an unknown adapter."""
    return Problem(404, f"No adapter is called {name!r}.", kind="unknown-adapter")


def version(tx: Connection, of: str, name: str) -> Version:
    """Return version ``name`` of the adapter ``of``."""
    adapter(tx, of)
    found = versions.fetch(tx, adapter=of, name=name)
    if found is None:
        raise Problem(404, f"{of!r} has no version {name!r}.", kind="unknown-version")
    return found


def shown(tx: Connection, of: str, name: str | None) -> Version:
    """Return version ``name`` of the adapter ``of``; None: the one in charge."""
    if name is not None:
        return version(tx, of, name)
    found = fleet.in_charge(tx, adapter(tx, of).name)
    if found is None:
        raise Problem(409, f"{of!r} has no version yet.", kind="no-version")
    return found


def canary(tx: Connection, number: int) -> CanaryRow:
    """Return the canary of this number."""
    try:
        return canaries.fetch(tx, CanaryId(number))
    except NotFound as error:
        raise no_canary(number) from error


def no_canary(number: int) -> Problem:
    """Return the 404 for an unknown canary."""
    return Problem(404, f"There is no canary {number}.", kind="unknown-canary")


def incident(tx: Connection, number: int) -> IncidentRow:
    """Return the incident of this number."""
    found = incidents.incident(tx, IncidentId(number))
    if found is None:
        raise _no_incident(number)
    return found


def story(tx: Connection, number: int, parts: ApiParts, *, now: datetime) -> IncidentStory:
    """Return the same incident with all related facts."""
    margin = parts.outlook.live_interval
    found = read_story(tx, IncidentId(number), margin=margin, now=now)
    if found is None:
        raise _no_incident(number)
    return found


def _no_incident(number: int) -> Problem:
    return Problem(404, f"There is no incident {number}.", kind="unknown-incident")

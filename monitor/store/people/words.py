"""Read people's latest acts on a version: earlier measurements do not outweigh them."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import ChangeKind, Version
from monitor.store.tables.incidents import fleet_members, incidents
from monitor.store.tables.registry import changes
from monitor.store.tables.traffic import route_history
from monitor.store.traffic.actions import AUTOMATIC

_OF_THE_MODEL: Final = frozenset({ChangeKind.ENGINE, ChangeKind.BASE, ChangeKind.ADAPTER})


@dataclass(frozen=True, slots=True, kw_only=True)
class LatestWords:
    """When somebody last set the route, judged an incident, or ended a change; None if never."""

    route: datetime | None = None
    mark: datetime | None = None
    change: datetime | None = None

    @property
    def of_the_model(self) -> datetime | None:
        """The latest act about the model itself, regardless of traffic."""
        return _latest(self.mark, self.change)

    @property
    def last(self) -> datetime | None:
        """The latest act of all."""
        return _latest(self.route, self.of_the_model)

    def since(self, at: datetime) -> str | None:
        """Describe the acts at or after a time; None if there are none."""
        said = {
            "the route was set": self.route,
            "an incident was judged": self.mark,
            "a change was declared": self.change,
        }
        found = [f"{what} at {when:%H:%M:%S}" for what, when in said.items() if when and when >= at]
        return ", ".join(found) or None


def read(tx: Connection, version: Version) -> LatestWords:
    """Read people's latest acts on a version."""
    query = sa.select(_route_set(version), _judged(version), _changed(version))
    route, mark, change = tx.execute(query).one()
    return LatestWords(route=route, mark=mark, change=change)


def by_a_person(actor: str) -> bool:
    """True if a person set the route, and not Driftline itself."""
    return actor != AUTOMATIC and not actor.startswith(f"{AUTOMATIC}:")


def _route_set(version: Version) -> sa.ScalarSelect[datetime]:
    return (
        sa.select(route_history.c.since)
        .where(
            route_history.c.adapter_id == version.adapter_id,
            route_history.c.actor != AUTOMATIC,
            ~route_history.c.actor.startswith(f"{AUTOMATIC}:", autoescape=True),
        )
        .order_by(route_history.c.generation.desc())
        .limit(1)
        .scalar_subquery()
    )


def _judged(version: Version) -> sa.ScalarSelect[datetime]:
    shared = sa.select(fleet_members.c.incident_id).where(fleet_members.c.version_id == version.id)
    own = incidents.c.version_id == version.id
    query = sa.select(sa.func.max(incidents.c.marked_at))
    return query.where(own | incidents.c.id.in_(shared)).scalar_subquery()


def _changed(version: Version) -> sa.ScalarSelect[datetime]:
    concerned = changes.c.adapters.is_(None) | (
        sa.literal(version.adapter) == sa.any_(changes.c.adapters)
    )
    query = sa.select(sa.func.max(changes.c.ended_at)).where(
        concerned, changes.c.kind.in_([kind.value for kind in _OF_THE_MODEL])
    )
    return query.scalar_subquery()


def _latest(*times: datetime | None) -> datetime | None:
    return max((one for one in times if one is not None), default=None)

"""Store incidents: the states of the machine in :mod:`alerts.incident`.

One row for each number of a key. The newest row of a key holds its state; an open incident has no
``closed_at``. :mod:`monitor.store.incidents.fleet_incidents` stores who belongs to a fleet's.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any, Final, Self

import sqlalchemy as sa
from sqlalchemy import ColumnElement, Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from alerts.incident import IncidentPhase
from alerts.types import Blame
from monitor.domain import AdapterId, IncidentId, Mark, VerdictSeverity, Version, VersionId
from monitor.store.rows import shaped, stored
from monitor.store.tables.incidents import incidents
from monitor.store.tables.registry import adapters, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredKey:
    """A version and a kind, or a base model and a kind: at most one open incident each.

    The base is empty for versions that were registered without one.
    """

    kind: str
    adapter_id: AdapterId | None = None
    version_id: VersionId | None = None
    base_model: str | None = None

    @classmethod
    def of(cls, version: Version, kind: str) -> Self:
        """The key of a version's incident."""
        return cls(kind=kind, adapter_id=version.adapter_id, version_id=version.id)

    @classmethod
    def on(cls, base: str, kind: str) -> Self:
        """The key of the incident of all adapters on a base model."""
        return cls(kind=kind, base_model=base)

    @property
    def columns(self) -> dict[str, Any]:
        """The columns that are filled in a row of this key."""
        return {name: value for name, value in asdict(self).items() if value is not None}

    @property
    def rows(self) -> ColumnElement[bool]:
        """The condition that holds for the rows of this key."""
        return sa.and_(*(incidents.c[name] == value for name, value in self.columns.items()))


@dataclass(frozen=True, slots=True, kw_only=True)
class NewestIncident:
    """The newest incident of a key; ``state`` is the machine's, as JSON."""

    id: IncidentId
    number: int
    state: Mapping[str, object]
    open: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRow:
    """An incident as people see it; ``kind`` and ``phase`` are words of ``alerts``.

    base_model
        The base of a fleet incident, which has neither adapter nor version.
    part_of
        The fleet incident that it belongs to.
    marked
        A person's judgement (:class:`monitor.domain.Mark`); None if nobody judged it.
    closing
        Why it ended, a word of ``alerts``; None while it is open, and if it recovered.
    """

    id: IncidentId
    adapter_id: AdapterId | None
    adapter: str | None
    version_id: VersionId | None
    version: str | None
    base_model: str | None
    part_of: IncidentId | None
    kind: str
    number: int
    phase: str
    severity: VerdictSeverity
    blame: Blame
    summary: str
    opened_at: datetime
    closed_at: datetime | None
    acknowledged_by: str | None
    acknowledged_until: datetime | None
    marked: Mark | None
    marked_by: str | None
    marked_at: datetime | None
    marked_because: str | None
    closing: str | None

    @property
    def closing_beside_mark(self) -> str | None:
        """Why it ended, unless its mark says the same."""
        return None if self.closing == self.marked else self.closing


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentUpdate:
    """The changes of one step of the machine; ``state`` is the whole state as JSON."""

    number: int
    phase: str
    state: Mapping[str, object]
    severity: VerdictSeverity
    blame: Blame
    summary: str
    opened_at: datetime
    closed_at: datetime | None

    @property
    def columns(self) -> dict[str, Any]:
        """The columns of a new row, besides those of its key."""
        return stored(incidents, self, state=dict(self.state), **_in_hand(self.state))

    @property
    def replacing(self) -> dict[str, Any]:
        """The columns to replace on conflict: one that ended keeps its summary and known blame."""
        kept = {"number", "opened_at"}
        if self.closed_at is not None:
            kept |= {"summary", "blame"} if self.blame is Blame.UNKNOWN else {"summary"}
        return {name: said for name, said in self.columns.items() if name not in kept}


def lock_states(tx: Connection, version: Version) -> dict[str, Mapping[str, object]]:
    """Lock and return the state of each kind of incident of a version.

    Locks the version's row instead of the incidents': a key's first incident has no row yet, and
    two evaluations must not both open it.
    """
    guard = (
        sa.select(versions.c.id).where(versions.c.id == version.id).with_for_update(key_share=True)
    )
    tx.execute(guard).one()
    return states(tx, version)


def states(tx: Connection, version: Version) -> dict[str, Mapping[str, object]]:
    """Return the state of each kind of incident of a version."""
    later = incidents.alias("later")
    superseded = sa.exists().where(
        later.c.adapter_id == incidents.c.adapter_id,
        later.c.version_id == incidents.c.version_id,
        later.c.kind == incidents.c.kind,
        later.c.number > incidents.c.number,
    )
    newest = sa.select(incidents.c.kind, incidents.c.state).where(
        incidents.c.adapter_id == version.adapter_id,
        incidents.c.version_id == version.id,
        ~superseded,
    )
    return {row.kind: row.state for row in tx.execute(newest)}


def under_way(tx: Connection, of: Collection[Version]) -> frozenset[VersionId]:
    """Name the versions with an incident that an observation may change, or of a fleet's."""
    ids = {
        "adapters": [version.adapter_id for version in of],
        "versions": [version.id for version in of],
        "over": IncidentPhase.OK.value,
    }
    return frozenset(map(VersionId, tx.execute(_UNDER_WAY, ids).scalars()))


_UNDER_WAY: Final = sa.text(
    "SELECT version_id FROM incidents"
    " WHERE adapter_id = ANY(:adapters) AND version_id = ANY(:versions) AND phase <> :over"
    " UNION SELECT m.version_id FROM fleet_members m JOIN incidents i ON i.id = m.incident_id"
    " WHERE m.version_id = ANY(:versions) AND m.left_at IS NULL AND i.closed_at IS NULL"
)


def any_open(tx: Connection, version: Version) -> bool:
    """True if a version has any open incident."""
    query = sa.select(incidents.c.id).where(
        incidents.c.adapter_id == version.adapter_id,
        incidents.c.version_id == version.id,
        incidents.c.closed_at.is_(None),
    )
    return tx.execute(query.limit(1)).first() is not None


def open_one(tx: Connection, version: Version, *, kind: str) -> IncidentId | None:
    """Return a version's open incident of a kind."""
    query = sa.select(incidents.c.id).where(
        incidents.c.adapter_id == version.adapter_id,
        incidents.c.version_id == version.id,
        incidents.c.kind == kind,
        incidents.c.closed_at.is_(None),
    )
    found = tx.execute(query).scalar_one_or_none()
    return None if found is None else IncidentId(found)


def newest(tx: Connection, key: StoredKey) -> NewestIncident | None:
    """Return the newest incident of a key; None if there never was one."""
    query = (
        sa.select(incidents.c.id, incidents.c.number, incidents.c.state, incidents.c.closed_at)
        .where(key.rows)
        .order_by(incidents.c.number.desc())
        .limit(1)
    )
    row = tx.execute(query).mappings().one_or_none()
    return None if row is None else shaped(NewestIncident, row, open=row["closed_at"] is None)


def put(tx: Connection, key: StoredKey, update: IncidentUpdate) -> IncidentId:
    """Store an incident's new state; a reopened one becomes open again under its number."""
    statement = (
        insert(incidents)
        .values(**key.columns, **update.columns)
        .on_conflict_do_update(
            index_elements=[*key.columns, "number"],
            # the index of fleet incidents is a partial one
            index_where=None if key.base_model is None else incidents.c.base_model.is_not(None),
            set_=update.replacing,
        )
        .returning(incidents.c.id)
    )
    return IncidentId(tx.execute(statement).scalar_one())


def put_state(
    tx: Connection, key: StoredKey, *, number: int, phase: str, state: Mapping[str, object]
) -> None:
    """Store a state that nobody is told about (a first clear of several, an expired ack)."""
    statement = (
        incidents.update()
        .where(key.rows, incidents.c.number == number)
        .values(phase=phase, state=dict(state), **_in_hand(state))
    )
    tx.execute(statement)


def put_state_of(
    tx: Connection, incident_id: IncidentId, *, phase: str, state: Mapping[str, object]
) -> None:
    """Store such a state by the incident's id."""
    tx.execute(
        incidents.update()
        .where(incidents.c.id == incident_id)
        .values(phase=phase, state=dict(state), **_in_hand(state))
    )


def put_told(tx: Connection, incident_id: IncidentId, *, blame: Blame, summary: str) -> None:
    """Store the new blame and summary of an incident that stays open."""
    tx.execute(
        incidents.update()
        .where(incidents.c.id == incident_id)
        .values(blame=blame.value, summary=summary)
    )


def mark(
    tx: Connection, incident_id: IncidentId, mark: Mark, *, by: str, because: str, at: datetime
) -> None:
    """Store a person's judgement of an incident, also for its parts."""
    its_parts = (incidents.c.part_of == incident_id) & incidents.c.marked.is_(None)
    tx.execute(
        incidents.update()
        .where((incidents.c.id == incident_id) | its_parts)
        .values(marked=mark.value, marked_by=by, marked_at=at, marked_because=because)
    )


def incident(tx: Connection, incident_id: IncidentId) -> IncidentRow | None:
    """Return one incident."""
    row = tx.execute(SELECT.where(incidents.c.id == incident_id)).mappings().one_or_none()
    return from_row(row) if row else None


def incident_list(
    tx: Connection,
    *,
    open_only: bool = False,
    adapter_id: AdapterId | None = None,
    limit: int = 100,
) -> list[IncidentRow]:
    """List incidents, newest first."""
    query = SELECT.order_by(incidents.c.id.desc()).limit(limit)
    if open_only:
        query = query.where(incidents.c.closed_at.is_(None))
    if adapter_id is not None:
        query = query.where(incidents.c.adapter_id == adapter_id)
    return [from_row(row) for row in tx.execute(query).mappings()]


SELECT: Final = (
    sa.select(
        *(column for column in incidents.c if column.name != "state"),
        adapters.c.name.label("adapter"),
        versions.c.name.label("version"),
        incidents.c.state["closing"].astext.label("closing"),
    )
    .outerjoin(adapters, adapters.c.id == incidents.c.adapter_id)
    .outerjoin(versions, versions.c.id == incidents.c.version_id)
)


def _in_hand(state: Mapping[str, Any]) -> dict[str, object]:
    """Return the acknowledgement's columns of an open incident; a closed one keeps its own."""
    if state.get("phase") == "ok":
        return {}
    ack = state.get("ack")
    return {
        "acknowledged_by": ack["by"] if ack else None,
        "acknowledged_until": datetime.fromisoformat(ack["until"]) if ack else None,
    }


def from_row(row: RowMapping) -> IncidentRow:
    """Read a row of :data:`SELECT`."""
    severity, blame = VerdictSeverity(row["severity"]), Blame(row["blame"])
    marked = row["marked"] and Mark(row["marked"])
    return shaped(IncidentRow, row, severity=severity, blame=blame, marked=marked)

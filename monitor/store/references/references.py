"""References: their life from building to ready or failed, and what they froze.

    create ─ stage items ─ seal ─ claim ─ add vectors, progress ... ─ ready
                 │                   │                                 └─ failed
                 └─ discard          └─ lease over: claimed again, from where it stood

A worker on a building reference holds its lease and its epoch; every write names the epoch, so a
worker that lost its lease writes nothing more (:class:`LeaseLost`).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import JSONB, distinct_on

from monitor.domain import AdapterId, Reference, ReferenceId, ReferenceState, VersionId
from monitor.store import audit, wakeups
from monitor.store.errors import Conflict, NotFound, StoreError
from monitor.store.registry import versions as registry
from monitor.store.rows import shaped, stored
from monitor.store.tables.references import reference_items, reference_vectors, references
from monitor.store.tables.registry import adapters, versions

LEASE: Final = timedelta(minutes=2)
MAX_CLAIMS: Final = 5
"""The number of builders that may die while building one reference."""

FEEDBACK_FROM: Final = "feedback_from"
"""Key of a note: all feedback on records before this time belongs to the reference."""

MEASURED: Final = "measured"
"""Key of a note: by detector, the share of the baseline's requests that it measured."""

_LEFT_OUT: Final = "left_out"
_R: Final = references.c


class LeaseLost(StoreError):  # noqa: N818 - a normal outcome of two workers
    """Another worker has taken the reference over, or it was deleted."""


class ReferenceSource(StrEnum):
    """The origin of a reference."""

    UPLOAD = "upload"
    FREEZE = "freeze"
    AUTO = "auto"
    ACCEPT = "accept"

    @property
    def learned(self) -> bool:
        """True if it is replaced automatically once its records cover enough."""
        return self in {ReferenceSource.AUTO, ReferenceSource.ACCEPT}


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceClaim:
    """The right to work on a building reference while its epoch stands."""

    reference_id: ReferenceId
    version_id: VersionId
    epoch: int
    claims: int = 0
    source: ReferenceSource
    request: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class BuiltReference:
    """The results of building a reference, stored when it becomes ready."""

    n_training: int
    n_baseline: int
    span_days: float
    encoder: str | None
    strata: Sequence[str]
    hourly_rate: float
    approved_by: str | None
    notes: Mapping[str, Any] = field(default_factory=dict)
    """Merged into ``request``: checksums, counts of unused lines."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReferenceDetails:
    """A reference with details for its own page and the evaluation."""

    reference: Reference
    source: ReferenceSource
    created_by: str
    hourly_rate: float
    request: Mapping[str, Any]

    @property
    def feedback_from(self) -> datetime | None:
        """Feedback on records since this time is evidence; None if on all records."""
        noted = self.request.get(FEEDBACK_FROM)
        return None if noted is None else datetime.fromisoformat(noted)

    @property
    def measured(self) -> Mapping[str, float]:
        """By detector, the share of the baseline's requests that it measured."""
        return dict(self.request.get(MEASURED, {}))


def create(
    connection: Connection,
    *,
    version_id: VersionId,
    source: ReferenceSource,
    cause: str,
    created_by: str,
    request: Mapping[str, Any],
    held: bool = False,
    after: int | None = None,
) -> ReferenceClaim:
    """Open the next generation of a version's reference, in state ``building``.

    With ``held``, its lines are still to come: no builder takes it before :func:`seal`, unless its
    maker's lease ends. With ``after``, it is made only if that is the newest generation (0 for
    none), else Conflict is raised.
    """
    # one maker at a time: two would take the same generation
    lock = sa.select(versions.c.id).where(versions.c.id == version_id).with_for_update()
    connection.execute(lock)
    newest = sa.select(sa.func.coalesce(sa.func.max(_R.generation), 0)).where(
        _R.version_id == version_id
    )
    generation = int(connection.execute(newest).scalar_one())
    if after is not None and after != generation:
        raise Conflict(f"generation {generation} has been made since {after} was seen")
    statement = references.insert().returning(_R.id, _R.epoch)
    values = {
        "version_id": version_id,
        "generation": generation + 1,
        "state": ReferenceState.BUILDING.value,
        "source": source.value,
        "cause": cause,
        "created_by": created_by,
        "request": dict(request) | ({"held": True} if held else {}),
        "lease_until": sa.func.now() + LEASE if held else None,
    }
    row = connection.execute(statement.values(values)).one()
    if not held:
        wakeups.notify(connection, wakeups.REFERENCES)
    return ReferenceClaim(
        reference_id=ReferenceId(row.id),
        version_id=version_id,
        epoch=row.epoch,
        source=source,
        request=request,
    )


def seal(
    connection: Connection,
    claim: ReferenceClaim,
    *,
    n_training: int = 0,
    n_baseline: int = 0,
    left_out: int = 0,
) -> Reference:
    """Release a reference whose lines are complete to the builders; this is audited.

    ``left_out`` counts the further baseline lines that were sent but are not used.
    """
    noted = {_LEFT_OUT: left_out} if left_out else {}
    _write(
        connection,
        claim,
        lease_until=None,
        request=_R.request.op("-")(sa.cast("held", sa.Text)).op("||")(sa.cast(noted, JSONB)),
        n_training=n_training,
        n_baseline=n_baseline,
    )
    wakeups.notify(connection, wakeups.REFERENCES)
    made = details(connection, claim.reference_id)
    audit.append(
        connection,
        actor=made.created_by,
        act="reference.create",
        subject=registry.fetch_by_id(connection, claim.version_id).label,
        details={
            "generation": made.reference.generation,
            "source": made.source.value,
            "cause": made.reference.cause,
        },
    )
    return made.reference


def discard(connection: Connection, claim: ReferenceClaim) -> None:
    """Remove a building reference and its lines, as if it had never been sent."""
    hold(connection, claim)
    _forget(connection, claim)
    connection.execute(references.delete().where(_R.id == claim.reference_id))


def claim_building(connection: Connection) -> ReferenceClaim | None:
    """Claim the oldest reference that waits for a builder, or whose builder died."""
    waiting = (
        sa.select(_R.id)
        .where(_R.state == ReferenceState.BUILDING.value)
        .where(sa.or_(_R.lease_until.is_(None), _R.lease_until < sa.func.now()))
        .order_by(_R.created_at, _R.id)
        .limit(1)
        .with_for_update(skip_locked=True)
    )
    named = (_R.id.label("reference_id"), _R.failures.label("claims"))
    statement = (
        references.update()
        .where(_R.id.in_(waiting.scalar_subquery()))
        .values(lease_until=sa.func.now() + LEASE, epoch=_R.epoch + 1, failures=_R.failures + 1)
        .returning(*named, _R.version_id, _R.epoch, _R.source, _R.request)
    )
    row = connection.execute(statement).mappings().one_or_none()
    if row is None:
        return None
    return shaped(ReferenceClaim, row, source=ReferenceSource(row["source"]))


def next_due(connection: Connection) -> timedelta | None:
    """Return the time until a reference can be claimed; None where none waits."""
    building = _R.state == ReferenceState.BUILDING.value
    return wakeups.first(connection, wakeups.freed(_R.lease_until), building)


def progress(connection: Connection, claim: ReferenceClaim, *, share: float) -> None:
    """Store the progress, in [0, 1], and renew the lease."""
    _write(connection, claim, progress=share, lease_until=sa.func.now() + LEASE, error=None)


def note_encoder(connection: Connection, claim: ReferenceClaim, *, encoder: str) -> None:
    """Store the training index's encoder, for a builder that may take over."""
    _write(connection, claim, encoder=encoder)


def ready(connection: Connection, claim: ReferenceClaim, outcome: BuiltReference) -> None:
    """Put a built reference in force and delete the texts it was built from.

    An automatic approval is audited, as a person's is.
    """
    _write(
        connection,
        claim,
        state=ReferenceState.READY.value,
        ready_at=sa.func.now(),
        progress=1.0,
        error=None,
        lease_until=None,
        request=dict(claim.request) | dict(outcome.notes),
        **stored(references, outcome, strata=list(outcome.strata)),
    )
    _delete_items(connection, claim)
    if outcome.approved_by is not None:
        audit.append(
            connection,
            actor="driftline",
            act="reference.approve",
            subject=registry.fetch_by_id(connection, claim.version_id).label,
            details={
                "generation": details(connection, claim.reference_id).reference.generation,
                "cause": f"{outcome.approved_by}: {outcome.n_baseline:,} records"
                f" of {outcome.span_days:.1f} days",
            },
        )


def failed(connection: Connection, claim: ReferenceClaim, *, error: str) -> None:
    """Mark a reference as failed; its texts are deleted, the error stays."""
    _write(connection, claim, state=ReferenceState.FAILED.value, error=error, lease_until=None)
    _forget(connection, claim)


def postpone(
    connection: Connection, claim: ReferenceClaim, *, error: str, wait: timedelta, count: bool
) -> None:
    """Release a reference for a while, and store the reason.

    Without ``count`` the attempt does not count as a failure.
    """
    tried = _R.failures if count else sa.func.greatest(_R.failures - 1, 0)
    _write(
        connection,
        claim,
        error=error,
        lease_until=sa.func.now() + wait,
        failures=tried,
    )


def approve(connection: Connection, reference_id: ReferenceId, *, by: str) -> bool:
    """Approve a ready reference by hand; False if there is none or it is approved."""
    statement = (
        references.update()
        .where(_R.id == reference_id, _R.state == ReferenceState.READY.value)
        .where(_R.approved_by.is_(None))
        .values(approved_by=by)
    )
    return connection.execute(statement).rowcount == 1


def get(connection: Connection, reference_id: ReferenceId) -> Reference | None:
    """Read one reference."""
    query = sa.select(references).where(_R.id == reference_id)
    row = connection.execute(query).mappings().one_or_none()
    return None if row is None else _reference(row)


def details(connection: Connection, reference_id: ReferenceId) -> ReferenceDetails:
    """Read one reference with its rate and its request; raises NotFound."""
    query = sa.select(references).where(_R.id == reference_id)
    row = connection.execute(query).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no reference with id {reference_id}")
    source = ReferenceSource(row["source"])
    return shaped(ReferenceDetails, row, reference=_reference(row), source=source)


def of_version(connection: Connection, version_id: VersionId) -> list[Reference]:
    """Read a version's references, newest generation first."""
    query = sa.select(references).where(_R.version_id == version_id).order_by(_R.generation.desc())
    return [_reference(row) for row in connection.execute(query).mappings()]


def newest_of_versions(
    connection: Connection, *, limit: int, offset: int = 0
) -> list[tuple[str, str, Reference]]:
    """Read each version's newest reference, with the names of its adapter and version.

    Those that failed come first, then those that are being built or wait for approval; of equals
    the newest.
    """
    newest = sa.select(references).ext(distinct_on(_R.version_id))
    one = newest.order_by(_R.version_id, _R.generation.desc()).subquery("one")
    rank = sa.case(
        (one.c.state == ReferenceState.FAILED.value, 0),
        (one.c.state == ReferenceState.BUILDING.value, 1),
        (one.c.approved_by.is_(None), 2),
        else_=3,
    )
    query = (
        sa.select(one, adapters.c.name.label("adapter"), versions.c.name.label("version"))
        .join(versions, versions.c.id == one.c.version_id)
        .join(adapters, adapters.c.id == versions.c.adapter_id)
        .order_by(rank, one.c.created_at.desc(), one.c.id)
        .limit(limit)
        .offset(offset)
    )
    rows = connection.execute(query).mappings()
    return [(row["adapter"], row["version"], _reference(row)) for row in rows]


def current(connection: Connection, version_id: VersionId) -> Reference | None:
    """Read the reference in force: the newest that is ready.

    While a newer generation is being built it counts as provisional: somebody has said that it no
    longer fits.
    """
    return current_of(connection, [version_id]).get(version_id)


def current_of(
    connection: Connection, version_ids: Collection[VersionId]
) -> dict[VersionId, Reference]:
    """Read the references in force of those of some versions that have one."""
    newer = references.alias("newer")
    replaced = sa.exists().where(
        newer.c.version_id == _R.version_id,
        newer.c.state == ReferenceState.BUILDING.value,
        newer.c.generation > _R.generation,
    )
    wanted = sa.any_(sa.cast(list(version_ids), sa.ARRAY(sa.Integer)))
    query = (
        sa.select(references, replaced.label("replaced"))
        .ext(distinct_on(_R.version_id))
        .where(_R.version_id == wanted, _R.state == ReferenceState.READY.value)
        .order_by(_R.version_id, _R.generation.desc())
    )
    return {
        VersionId(row["version_id"]): _reference(row, approved_by=None)
        if row["replaced"]
        else _reference(row)
        for row in connection.execute(query).mappings()
    }


def approved_notes(
    connection: Connection, key: str, *, besides: AdapterId
) -> list[Mapping[str, Any]]:
    """Read a note of each other adapter's newest approved reference that has one."""
    query = (
        sa.select(versions.c.adapter_id, _R.request[key].label("note"))
        .join(versions, versions.c.id == _R.version_id)
        .where(
            _R.state == ReferenceState.READY.value,
            _R.approved_by.is_not(None),
            versions.c.adapter_id != besides,
            _R.request.has_key(key),
        )
        .order_by(_R.ready_at, _R.id)
    )
    # the newest of each adapter comes last and stays
    return list({row.adapter_id: row.note for row in connection.execute(query)}.values())


def current_index(connection: Connection, version_id: VersionId) -> ReferenceId | None:
    """Return the reference in force if it has a training index."""
    reference = current(connection, version_id)
    return reference.id if reference and reference.n_training else None


def hold(connection: Connection, claim: ReferenceClaim) -> None:
    """Renew the lease; raises LeaseLost if another worker has it."""
    _write(connection, claim, lease_until=sa.func.now() + LEASE)


def _write(connection: Connection, claim: ReferenceClaim, **values: Any) -> None:
    statement = (
        references.update()
        .where(_R.id == claim.reference_id, _R.epoch == claim.epoch)
        .where(_R.state == ReferenceState.BUILDING.value)
        .values(values)
    )
    if connection.execute(statement).rowcount != 1:
        raise LeaseLost(f"reference {claim.reference_id}: epoch {claim.epoch} no longer holds")


def _forget(connection: Connection, claim: ReferenceClaim) -> None:
    _delete_items(connection, claim)
    connection.execute(
        reference_vectors.delete().where(reference_vectors.c.reference_id == claim.reference_id)
    )


def _delete_items(connection: Connection, claim: ReferenceClaim) -> None:
    connection.execute(
        reference_items.delete().where(reference_items.c.reference_id == claim.reference_id)
    )


def _reference(row: RowMapping, **changed: Any) -> Reference:
    shown = {
        "state": ReferenceState(row["state"]),
        "strata": tuple(row["strata"]),
        "left_out": row["request"].get(_LEFT_OUT, 0),
    }
    return shaped(Reference, row, **(shown | changed))

"""Store each version's verdict in force, and the transitions that led to it."""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from types import MappingProxyType
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import insert

from alerts.types import Blame, VerdictKind
from monitor.domain import (
    AdapterId,
    EvaluationId,
    Interval,
    Transition,
    TransitionId,
    Verdict,
    VerdictSeverity,
    VersionId,
)
from monitor.policy.memory import Memory, verdict_of
from monitor.store.evaluation import movements
from monitor.store.rows import named, shaped, stored
from monitor.store.tables.evaluations import transitions, verdicts
from monitor.store.tables.registry import versions


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictRow:
    """A version's verdict in force."""

    version_id: VersionId
    adapter_id: AdapterId
    adapter: str
    version: str
    verdict: Verdict
    drift_score: float
    updated_at: datetime
    stored: Mapping[str, Any]

    @property
    def memory(self) -> Memory:
        """Decode the policy's memory; lists of a fleet do without."""
        return Memory.from_json(self.stored)


@dataclass(frozen=True, slots=True, kw_only=True)
class TransitionRow:
    """A stored change of verdict, as pages and messages show it."""

    id: TransitionId
    version: str
    at: datetime
    before: VerdictKind
    after: VerdictKind
    severity: VerdictSeverity
    blame: Blame
    reason: str
    onset: Interval | None


@dataclass(frozen=True, slots=True, kw_only=True)
class KindChange:
    """When a version's verdict changed, from one kind to another."""

    at: datetime
    before: VerdictKind
    after: VerdictKind


_BANDS: Mapping[VerdictKind, tuple[float, float]] = MappingProxyType(
    {
        VerdictKind.CRITICAL: (80.0, 100.0),
        VerdictKind.DRIFTING: (60.0, 80.0),
        VerdictKind.ERROR: (50.0, 60.0),
        VerdictKind.BLIND: (40.0, 50.0),
    }
)


def drift_score(kind: VerdictKind, size: float) -> float:
    """Return 0 to 100, for sorting adapters by verdict; never use it as a threshold.

    ``size`` in [0, 100] is how large the largest effect surely is: it orders adapters of one
    verdict. A critical one has 80 to 100, a drifting one 60 to 80, an error 50 to 60, a
    blind one 40 to 50, every other at most 40.

    >>> drift_score(VerdictKind.CRITICAL, 10.0) > drift_score(VerdictKind.DRIFTING, 100.0)
    True
    >>> drift_score(VerdictKind.STABLE, 67.0)
    26.8
    """
    least, most = _BANDS.get(kind, (0.0, 40.0))
    return round(least + (most - least) * size / 100.0, 1)


_SELECT = named(verdicts)


_OF_THESE: Final = _SELECT.where(
    verdicts.c.version_id == sa.any_(sa.bindparam("ids", type_=sa.ARRAY(sa.Integer)))
)
_IN_ORDER: Final = _OF_THESE.order_by(verdicts.c.version_id)
_LOCKED: Final = _IN_ORDER.with_for_update(of=verdicts)
_FREE: Final = _IN_ORDER.with_for_update(of=verdicts, skip_locked=True)


def current(tx: Connection, *, version_id: VersionId, lock: bool = False) -> VerdictRow | None:
    """Return the verdict in force; ``lock`` makes another evaluation of the version wait."""
    return current_of(tx, [version_id], lock=lock).get(version_id)


def current_of(
    tx: Connection, version_ids: Collection[VersionId], *, lock: bool = False
) -> dict[VersionId, VerdictRow]:
    """Return the verdicts in force of those of some versions that have one."""
    rows = tx.execute(_LOCKED if lock else _OF_THESE, {"ids": list(version_ids)}).mappings()
    return {VersionId(row["version_id"]): _verdict_row(row) for row in rows}


def fleet(tx: Connection) -> list[VerdictRow]:
    """Return the verdicts of all versions that have one."""
    return [_verdict_row(row) for row in tx.execute(_SELECT).mappings()]


def of_adapter(tx: Connection, *, adapter_id: AdapterId) -> list[VerdictRow]:
    """Return the verdicts of an adapter's versions that have one."""
    query = _SELECT.where(verdicts.c.adapter_id == adapter_id)
    return [_verdict_row(row) for row in tx.execute(query).mappings()]


def lock_free(tx: Connection, version_ids: Collection[VersionId]) -> dict[VersionId, VerdictRow]:
    """Lock those of some versions' verdicts that nobody else holds; the others are left out."""
    rows = tx.execute(_FREE, {"ids": list(version_ids)}).mappings()
    return {VersionId(row["version_id"]): _verdict_row(row) for row in rows}


def claim_row(tx: Connection, *, version_id: VersionId, adapter_id: AdapterId) -> VerdictRow | None:
    """Lock the version's verdict row, creating an empty one for its first evaluation.

    Returns None if the version had no verdict before.
    """
    known = current(tx, version_id=version_id, lock=True)
    if known is not None:
        return known
    made = tx.execute(_FIRST, {"version_id": version_id, "adapter_id": adapter_id}).first()
    return None if made else current(tx, version_id=version_id, lock=True)


_FIRST: Final = (
    insert(verdicts)
    .values(
        kind=VerdictKind.LEARNING.value,
        severity=VerdictSeverity.NONE.value,
        blame=Blame.UNKNOWN.value,
        reason="first evaluation",
        since=sa.func.now(),
        memory={},
    )
    .on_conflict_do_nothing()
    .returning(verdicts.c.version_id)
)


@dataclass(frozen=True, slots=True, kw_only=True)
class NewVerdict:
    """A judgement to be stored; ``size`` is that of :func:`drift_score`, None keeps the last."""

    version_id: VersionId
    verdict: Verdict
    memory: Memory
    size: float | None = None


def put(
    tx: Connection,
    *,
    version_id: VersionId,
    verdict: Verdict,
    memory: Memory,
    size: float | None,
) -> None:
    """Store one judgement."""
    put_all(tx, [NewVerdict(version_id=version_id, verdict=verdict, memory=memory, size=size)])


def put_all(tx: Connection, new: Sequence[NewVerdict]) -> None:
    """Store judgements of versions whose rows exist."""
    moved = [movements.encoded(one.verdict, one.memory) for one in new]
    rows = {
        "ids": [one.version_id for one in new],
        "kinds": [one.verdict.kind.value for one in new],
        "severities": [one.verdict.severity.value for one in new],
        "blames": [one.verdict.blame.value for one in new],
        "reasons": [one.verdict.reason for one in new],
        "sinces": [one.verdict.since for one in new],
        "memories": [json.dumps(one.memory.to_json()) for one in new],
        "moves": [json.dumps(one) if one else None for one in moved],
        "sizes": [one.size for one in new],
    }
    tx.execute(_PUT, rows)


_PUT: Final = sa.text(
    """
    UPDATE verdicts SET
        kind = new.kind, severity = new.severity, blame = new.blame, reason = new.reason,
        since = new.since, memory = new.memory::jsonb, moved = new.moved::jsonb, updated_at = now(),
        drift_score = coalesce(new.size, verdicts.drift_score)
    FROM unnest(CAST(:ids AS int[]), CAST(:kinds AS text[]), CAST(:severities AS text[]),
                CAST(:blames AS text[]), CAST(:reasons AS text[]), CAST(:sinces AS timestamptz[]),
                CAST(:memories AS text[]), CAST(:moves AS text[]), CAST(:sizes AS float8[]))
        AS new (version_id, kind, severity, blame, reason, since, memory, moved, size)
    WHERE verdicts.version_id = new.version_id
    """
)


def forget_probes(tx: Connection, concerned: sa.Select[tuple[int]]) -> None:
    """Lock these versions' verdicts and drop the probes' findings from what they remember.

    The next evaluation judges the rest.
    """
    query = _SELECT.where(verdicts.c.version_id.in_(concerned)).order_by(verdicts.c.version_id)
    for row in map(_verdict_row, tx.execute(query.with_for_update(of=verdicts)).mappings().all()):
        if row.memory.perplexity is None and row.memory.identity is None:
            continue
        memory = row.memory.without_probes()
        tx.execute(
            sa.update(verdicts)
            .where(verdicts.c.version_id == row.version_id)
            .values(memory=memory.to_json(), moved=movements.encoded(row.verdict, memory))
        )


def add_transition(
    tx: Connection, transition: Transition, *, evaluation_id: EvaluationId | None
) -> TransitionId:
    """Append a change of verdict; it has no evaluation if a person's word caused it."""
    after = transition.after
    row = tx.execute(
        sa.insert(transitions)
        .values(
            adapter_id=transition.version.adapter_id,
            version_id=transition.version.id,
            at=transition.at,
            before=transition.before.value,
            after=after.kind.value,
            onset_start=after.onset.start if after.onset else None,
            onset_end=after.onset.end if after.onset else None,
            evaluation_id=evaluation_id,
            **stored(transitions, after),
        )
        .returning(transitions.c.id)
    )
    return TransitionId(row.scalar_one())


def history(
    tx: Connection, *, adapter_id: AdapterId, since: datetime, limit: int = 500
) -> list[TransitionRow]:
    """Return the transitions of all versions of an adapter, newest first."""
    rows = tx.execute(
        sa.select(transitions, versions.c.name.label("version"))
        .join(versions, versions.c.id == transitions.c.version_id)
        .where(transitions.c.adapter_id == adapter_id, transitions.c.at >= since)
        .order_by(transitions.c.at.desc(), transitions.c.id.desc())
        .limit(limit)
    )
    return [
        shaped(
            TransitionRow,
            row,
            before=VerdictKind(row["before"]),
            after=VerdictKind(row["after"]),
            severity=VerdictSeverity(row["severity"]),
            blame=Blame(row["blame"]),
            onset=_onset(row["onset_start"], row["onset_end"]),
        )
        for row in rows.mappings()
    ]


def kind_changes(
    tx: Connection, adapter_ids: Sequence[AdapterId], *, since: datetime
) -> dict[VersionId, list[KindChange]]:
    """Return the changes of adapters' verdicts since a time, by version, oldest first."""
    c = transitions.c
    query = (
        sa.select(c.version_id, c.at, c.before, c.after)
        .where(c.adapter_id.in_(adapter_ids), c.at >= since)
        .order_by(c.at, c.id)
    )
    found: dict[VersionId, list[KindChange]] = {}
    for row in tx.execute(query):
        change = KindChange(at=row.at, before=VerdictKind(row.before), after=VerdictKind(row.after))
        found.setdefault(VersionId(row.version_id), []).append(change)
    return found


def told_onset(
    tx: Connection, *, version_id: VersionId, opened_at: datetime, closed_at: datetime | None
) -> Interval | None:
    """Return the onset of the last change of verdict while an incident was open."""
    query = sa.select(transitions.c.onset_start, transitions.c.onset_end).where(
        transitions.c.version_id == version_id,
        transitions.c.at >= opened_at,
        transitions.c.onset_start.is_not(None),
        transitions.c.onset_end.is_not(None),
    )
    if closed_at is not None:
        query = query.where(transitions.c.at <= closed_at)
    row = tx.execute(query.order_by(transitions.c.at.desc()).limit(1)).one_or_none()
    return None if row is None else _onset(row.onset_start, row.onset_end)


def crossed_at(
    tx: Connection,
    *,
    version_id: VersionId,
    severity: VerdictSeverity,
    since: datetime,
    until: datetime | None,
) -> datetime | None:
    """Return when a version's verdict first had this severity in an interval."""
    query = sa.select(sa.func.min(transitions.c.at)).where(
        transitions.c.version_id == version_id,
        transitions.c.severity == severity.value,
        transitions.c.at >= since,
    )
    if until is not None:
        query = query.where(transitions.c.at <= until)
    found: datetime | None = tx.execute(query).scalar_one()
    return found


def _onset(start: datetime | None, end: datetime | None) -> Interval | None:
    if start is None or end is None:
        return None
    return Interval(start=start, end=end)


def _verdict_row(row: RowMapping) -> VerdictRow:
    kind = VerdictKind(row["kind"])
    columns: dict[str, Any] = {
        "kind": kind,
        "severity": VerdictSeverity(row["severity"]),
        "blame": Blame(row["blame"]),
        "reason": row["reason"],
        "since": row["since"],
    }
    remembered = verdict_of(row["memory"])
    return shaped(
        VerdictRow,
        row,
        verdict=replace(remembered, **columns) if remembered else Verdict(**columns),
        drift_score=drift_score(kind, row["drift_score"]),
        stored=row["memory"],
    )

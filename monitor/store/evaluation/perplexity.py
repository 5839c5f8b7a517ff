"""Store the runs of the perplexity probe, document by document."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import EvaluationKind, VersionId
from monitor.store import wakeups
from monitor.store.evaluation import identity, verdicts
from monitor.store.rows import shaped
from monitor.store.tables.evaluations import tasks
from monitor.store.tables.probes import perplexity_documents, perplexity_runs
from monitor.store.tables.registry import adapters, versions


class RunRole(StrEnum):
    """The reason for a run."""

    REGISTRATION = "registration"
    SCHEDULED = "scheduled"
    SUSPICION = "suspicion"
    CONFIRMATION = "confirmation"


class ScoredDocument(Protocol):
    """A document's result; ``age`` is how many seconds ago it was read."""

    @property
    def document(self) -> str: ...
    @property
    def sum_nll(self) -> float: ...
    @property
    def tokens(self) -> int: ...
    @property
    def bytes(self) -> int: ...
    @property
    def beside(self) -> bool: ...
    @property
    def age(self) -> float: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """The NLL sum in nats over ``tokens``; NaN if the document could not be scored.

    ``beside`` is true if a base model had to read it while its engine served other requests.
    ``read_at`` is by the database's clock; None in rows of an earlier release.
    """

    document: str
    sum_nll: float
    tokens: int
    bytes: int
    beside: bool = False
    read_at: datetime | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One run over a corpus; ``stopped`` says why it ended early, None if it did not.

    ``version_id`` None means a base model's run, which belongs to every version on it. ``at`` is
    when it was stored, ``made_by`` the process that made it.
    """

    id: int
    version_id: VersionId | None
    corpus: str
    model: str
    replica: str | None
    engine: str | None
    dtype: str | None
    source: str | None
    weights: str | None
    role: RunRole
    stopped: str | None
    at: datetime
    documents: tuple[StoredDocument, ...]
    made_by: str | None = None

    @property
    def began_at(self) -> datetime:
        """When its first document was read."""
        return min((d.read_at for d in self.documents if d.read_at is not None), default=self.at)


@dataclass(frozen=True, slots=True, kw_only=True)
class Subject:
    """The subject of runs: a model over a corpus; ``version_id`` is None for a base model."""

    version_id: VersionId | None
    model: str
    corpus: str


def insert_run(
    connection: Connection,
    subject: Subject,
    *,
    role: RunRole,
    documents: Sequence[ScoredDocument],
    engine: str | None = None,
    replica: str | None = None,
    dtype: str | None = None,
    source: str | None = None,
    weights: str | None = None,
    seconds: float | None = None,
    stopped: str | None = None,
    made_by: str | None = None,
) -> StoredRun:
    """Store a run with its documents; return it as stored."""
    statement = perplexity_runs.insert().returning(
        perplexity_runs.c.id, perplexity_runs.c.at, sa.func.clock_timestamp().label("now")
    )
    stored = {
        **asdict(subject),
        "replica": replica,
        "engine": engine,
        "dtype": dtype,
        "source": source,
        "weights": weights,
        "made_by": made_by,
    }
    values = {
        **stored,
        "seconds": seconds,
        "role": role.value,
        "state": "stopped" if stopped else "done",
        "reason": stopped,
    }
    row = connection.execute(statement, values).one()
    kept = tuple(_kept(one, now=row.now) for one in documents)
    if kept:
        rows = [{"run_id": row.id, **asdict(one)} for one in kept]
        connection.execute(perplexity_documents.insert(), rows)
    return StoredRun(**stored, id=row.id, role=role, stopped=stopped, at=row.at, documents=kept)


def _kept(one: ScoredDocument, *, now: datetime) -> StoredDocument:
    return StoredDocument(
        document=one.document,
        sum_nll=one.sum_nll,
        tokens=one.tokens,
        bytes=one.bytes,
        beside=one.beside,
        read_at=now - timedelta(seconds=one.age),
    )


def void_runs(tx: Connection, runs: Collection[int], *, because: str, at: datetime) -> None:
    """Retire non-registration runs, because their measurements no longer hold."""
    tx.execute(
        perplexity_runs.update()
        .where(
            perplexity_runs.c.id.in_(list(runs)),
            perplexity_runs.c.role != RunRole.REGISTRATION.value,
            perplexity_runs.c.retired_at.is_(None),
        )
        .values(retired_at=at, retired_because=because)
    )


def void_base(
    tx: Connection,
    model: str,
    *,
    corpus: str,
    because: str,
    at: datetime,
    since: datetime | None = None,
) -> None:
    """Retire all runs of a base model over a corpus, from a time on."""
    chosen = (
        perplexity_runs.c.version_id.is_(None)
        & (perplexity_runs.c.model == model)
        & (perplexity_runs.c.corpus == corpus)
        & perplexity_runs.c.retired_at.is_(None)
    )
    if since is not None:
        chosen &= perplexity_runs.c.at >= since
    tx.execute(
        perplexity_runs.update().where(chosen).values(retired_at=at, retired_because=because)
    )


def recent_runs(
    connection: Connection,
    subject: Subject,
    *,
    limit: int,
    roles: Collection[RunRole] = tuple(RunRole),
    since: datetime | None = None,
) -> list[StoredRun]:
    """Read the last runs that were neither stopped nor retired, newest first."""
    query = _of(subject).where(perplexity_runs.c.role.in_([role.value for role in roles]))
    if since is not None:
        query = query.where(perplexity_runs.c.at >= since)
    newest_first = query.order_by(perplexity_runs.c.at.desc(), perplexity_runs.c.id.desc())
    return _runs(connection, newest_first.limit(limit))


def registration_runs(connection: Connection, subject: Subject) -> list[StoredRun]:
    """Read the runs that later ones are compared with, oldest first.

    The differences among them are the noise floor.
    """
    query = _of(subject).where(perplexity_runs.c.role == RunRole.REGISTRATION.value)
    return _runs(connection, query.order_by(perplexity_runs.c.at, perplexity_runs.c.id))


def first_run(
    connection: Connection, subject: Subject, *, roles: Collection[RunRole], since: datetime
) -> StoredRun | None:
    """Read the first run since a time that was neither stopped nor retired."""
    query = _of(subject).where(
        perplexity_runs.c.role.in_([role.value for role in roles]), perplexity_runs.c.at >= since
    )
    oldest_first = query.order_by(perplexity_runs.c.at, perplexity_runs.c.id)
    return next(iter(_runs(connection, oldest_first.limit(1))), None)


def last_retired(connection: Connection, subject: Subject) -> datetime | None:
    """Return when a registration of a version was last retired; None if never."""
    query = sa.select(sa.func.max(perplexity_runs.c.retired_at)).where(
        perplexity_runs.c.version_id == subject.version_id,
        perplexity_runs.c.model == subject.model,
        perplexity_runs.c.corpus == subject.corpus,
    )
    found: datetime | None = connection.execute(query).scalar_one()
    return found


def versions_of(
    connection: Connection, models: Collection[str], *, corpus: str
) -> dict[str, VersionId]:
    """Return which of these served models are versions registered over a corpus."""
    query = sa.select(perplexity_runs.c.model, sa.func.max(perplexity_runs.c.version_id)).where(
        perplexity_runs.c.model.in_(models),
        perplexity_runs.c.corpus == corpus,
        perplexity_runs.c.version_id.is_not(None),
        perplexity_runs.c.role == RunRole.REGISTRATION.value,
        perplexity_runs.c.state == "done",
        perplexity_runs.c.retired_at.is_(None),
    )
    rows = connection.execute(query.group_by(perplexity_runs.c.model))
    return {model: VersionId(version_id) for model, version_id in rows}


def retire_version(
    connection: Connection,
    version_id: VersionId,
    *,
    corpora: Collection[str],
    because: str,
    at: datetime,
) -> int:
    """Retire a version's registration over these corpora; return the number of runs."""
    chosen = (perplexity_runs.c.version_id == version_id) & perplexity_runs.c.corpus.in_(corpora)
    return _retire(connection, chosen, because=because, at=at)


def retire_registrations(
    tx: Connection, *, adapters: Sequence[str] | None, because: str, at: datetime
) -> int:
    """Forget what was registered: the next probes of these adapters register anew.

    Their registrations and identity checks are retired (kept, but compared with no more),
    their open findings of perplexity and identity are dropped from what the verdicts
    remember, and their probes are due at once. ``adapters`` None is the whole fleet, its
    base models included. One transaction, so that one audited act is all or nothing.

    Verdicts are locked before tasks, as an evaluation's commit locks them, and tasks before
    runs: a probe that stores a registration under its task's lock is waited for, so that
    what it stored is retired too.

    Returns
    -------
    int
        How many registration runs were retired.
    """
    concerned = _versions_of_adapters(adapters)
    chosen: sa.ColumnElement[bool] = perplexity_runs.c.version_id.in_(concerned)
    if adapters is None:
        chosen = chosen | perplexity_runs.c.version_id.is_(None)
    return _register_anew(tx, concerned, chosen, because=because, at=at)


def register_anew(
    tx: Connection, version_ids: Collection[VersionId], *, bases: bool, because: str, at: datetime
) -> int:
    """Do the same for some versions and, with ``bases``, for every base model."""
    concerned = sa.select(versions.c.id).where(versions.c.id.in_(list(version_ids)))
    chosen: sa.ColumnElement[bool] = perplexity_runs.c.version_id.in_(concerned)
    if bases:
        chosen = chosen | perplexity_runs.c.version_id.is_(None)
    return _register_anew(tx, concerned, chosen, because=because, at=at)


def _register_anew(
    tx: Connection,
    concerned: sa.Select[tuple[int]],
    chosen: sa.ColumnElement[bool],
    *,
    because: str,
    at: datetime,
) -> int:
    verdicts.forget_probes(tx, concerned)
    _probe_anew(tx, concerned)
    retired = _retire(tx, chosen, because=because, at=at)
    identity.retire(tx, concerned, at=at)
    return retired


def _probe_anew(tx: Connection, concerned: sa.Select[tuple[int]]) -> None:
    """Make the probes due; one in progress compared with retired runs, and may not write."""
    now = sa.func.clock_timestamp()
    tx.execute(
        tasks.update()
        .where(
            tasks.c.version_id.in_(concerned),
            tasks.c.kind == EvaluationKind.PERPLEXITY.value,
        )
        .values(
            requested_at=now,
            next_due_at=sa.func.least(tasks.c.next_due_at, now),
            lease_until=None,
            lease_owner=None,
            epoch=tasks.c.epoch + 1,
        )
    )
    wakeups.notify(tx, wakeups.TASKS)


def drop_older(tx: Connection, *, than: datetime, most: int = 500) -> int:
    """Delete up to ``most`` runs before a time, with their documents; return their number.

    Their scores stay. Registrations in force stay at any age.
    """
    held = (perplexity_runs.c.role == RunRole.REGISTRATION.value) & (
        perplexity_runs.c.retired_at.is_(None)
    )
    oldest = (
        sa.select(perplexity_runs.c.id)
        .where(perplexity_runs.c.at < than, ~held)
        .order_by(perplexity_runs.c.id)
        .limit(most)
    )
    return tx.execute(
        sa.delete(perplexity_runs).where(perplexity_runs.c.id.in_(oldest.scalar_subquery()))
    ).rowcount


def _versions_of_adapters(names: Sequence[str] | None) -> sa.Select[tuple[int]]:
    query = sa.select(versions.c.id)
    if names is None:
        return query
    named = sa.select(adapters.c.id).where(adapters.c.name.in_(names))
    return query.where(versions.c.adapter_id.in_(named))


def _retire(
    connection: Connection, chosen: sa.ColumnElement[bool], *, because: str, at: datetime
) -> int:
    done = connection.execute(
        perplexity_runs.update()
        .where(
            chosen,
            perplexity_runs.c.role == RunRole.REGISTRATION.value,
            perplexity_runs.c.state == "done",
            perplexity_runs.c.retired_at.is_(None),
        )
        .values(retired_at=at, retired_because=because)
    )
    return done.rowcount


def _of(subject: Subject) -> sa.Select[Any]:
    # IS NULL, not "= NULL", for base models; both read an index of their own
    return sa.select(perplexity_runs).where(
        perplexity_runs.c.version_id.is_(None)
        if subject.version_id is None
        else perplexity_runs.c.version_id == subject.version_id,
        perplexity_runs.c.model == subject.model,
        perplexity_runs.c.corpus == subject.corpus,
        perplexity_runs.c.state == "done",
        perplexity_runs.c.retired_at.is_(None),
    )


def _runs(connection: Connection, query: sa.Select[Any]) -> list[StoredRun]:
    rows = connection.execute(query).mappings().all()
    documents = _documents(connection, [row["id"] for row in rows])
    return [
        shaped(
            StoredRun,
            row,
            role=RunRole(row["role"]),
            stopped=row["reason"],
            documents=tuple(documents.get(row["id"], ())),
        )
        for row in rows
    ]


def _documents(connection: Connection, runs: Sequence[int]) -> dict[int, list[StoredDocument]]:
    query = (
        sa.select(perplexity_documents)
        .where(perplexity_documents.c.run_id.in_(runs))
        .order_by(perplexity_documents.c.run_id, perplexity_documents.c.document)
    )
    found: dict[int, list[StoredDocument]] = {}
    for row in connection.execute(query).mappings():
        found.setdefault(row["run_id"], []).append(shaped(StoredDocument, row))
    return found

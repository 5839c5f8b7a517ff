"""Runs of the perplexity probe, document by document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Protocol

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import VersionId
from monitor.store.tables import perplexity_documents, perplexity_runs


class RunRole(StrEnum):
    """Why a run was made."""

    REGISTRATION = "registration"
    SCHEDULED = "scheduled"
    SUSPICION = "suspicion"
    CONFIRMATION = "confirmation"


class ScoredDocument(Protocol):
    """What is kept of a document; see :class:`StoredDocument`."""

    @property
    def document(self) -> str: ...
    @property
    def sum_nll(self) -> float: ...
    @property
    def tokens(self) -> int: ...
    @property
    def bytes(self) -> int: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredDocument:
    """NLL sum in nats over ``tokens``; NaN where the document could not be scored."""

    document: str
    sum_nll: float
    tokens: int
    bytes: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredRun:
    """One run over a corpus. ``stopped`` says why it ended early, None where it did not."""

    id: int
    version_id: VersionId
    corpus: str
    model: str
    replica: str | None
    engine: str | None
    role: RunRole
    stopped: str | None
    at: datetime
    documents: tuple[StoredDocument, ...]


def insert_run(
    connection: Connection,
    *,
    version_id: VersionId,
    corpus: str,
    model: str,
    role: RunRole,
    documents: Sequence[ScoredDocument],
    engine: str | None = None,
    replica: str | None = None,
    stopped: str | None = None,
) -> int:
    """Keep a run with its documents; return its id."""
    statement = perplexity_runs.insert().returning(perplexity_runs.c.id)
    values = {
        "version_id": version_id,
        "corpus": corpus,
        "model": model,
        "replica": replica,
        "engine": engine,
        "role": role.value,
        "state": "stopped" if stopped else "done",
        "reason": stopped,
    }
    run_id = int(connection.execute(statement, values).scalar_one())
    if documents:
        rows = [
            {
                "run_id": run_id,
                "document": one.document,
                "sum_nll": one.sum_nll,
                "tokens": one.tokens,
                "bytes": one.bytes,
            }
            for one in documents
        ]
        connection.execute(perplexity_documents.insert(), rows)
    return run_id


def recent_runs(
    connection: Connection,
    version_id: VersionId,
    *,
    corpus: str,
    limit: int,
    include_stopped: bool = False,
) -> list[StoredRun]:
    """Read a version's last runs over a corpus, newest first."""
    query = _of(version_id, corpus).order_by(
        perplexity_runs.c.at.desc(), perplexity_runs.c.id.desc()
    )
    if not include_stopped:
        query = query.where(perplexity_runs.c.state == "done")
    return _runs(connection, query.limit(limit))


def registration_runs(
    connection: Connection, version_id: VersionId, *, corpus: str
) -> list[StoredRun]:
    """Read the runs that later ones are compared with, oldest first.

    Their differences among each other are the noise floor.
    """
    query = (
        _of(version_id, corpus)
        .where(perplexity_runs.c.role == RunRole.REGISTRATION.value)
        .where(perplexity_runs.c.state == "done")
        .order_by(perplexity_runs.c.at, perplexity_runs.c.id)
    )
    return _runs(connection, query)


def _of(version_id: VersionId, corpus: str) -> sa.Select[Any]:
    return sa.select(perplexity_runs).where(
        perplexity_runs.c.version_id == version_id, perplexity_runs.c.corpus == corpus
    )


def _runs(connection: Connection, query: sa.Select[Any]) -> list[StoredRun]:
    rows = connection.execute(query).all()
    documents = _documents(connection, [row.id for row in rows])
    return [
        StoredRun(
            id=row.id,
            version_id=VersionId(row.version_id),
            corpus=row.corpus,
            model=row.model,
            replica=row.replica,
            engine=row.engine,
            role=RunRole(row.role),
            stopped=row.reason,
            at=row.at,
            documents=tuple(documents.get(row.id, ())),
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
    for row in connection.execute(query):
        found.setdefault(row.run_id, []).append(
            StoredDocument(
                document=row.document, sum_nll=row.sum_nll, tokens=row.tokens, bytes=row.bytes
            )
        )
    return found

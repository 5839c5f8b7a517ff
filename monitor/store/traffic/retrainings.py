"""Store requests to retrain an adapter, and list the records that each refers to."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping

from monitor.domain import AdapterId, Interval, Version, VersionId
from monitor.store.errors import NotFound
from monitor.store.rows import named, shaped, stored
from monitor.store.tables.retrainings import retrainings


class RetrainCause(StrEnum):
    """The cause of a retraining request."""

    INPUT = "input"
    MAX_AGE = "max_age"
    PERSON = "person"


@dataclass(frozen=True, slots=True, kw_only=True)
class NewRetraining:
    """A retraining request to store.

    window
        The interval of the requests to retrain on.
    below
        Requests less similar to training than this are new; None if nothing was compared.
    replay_share
        The share of earlier training examples to mix in, in [0, 1].
    evidence
        The verdict and the new requests, as the event reports them.
    """

    version: Version
    cause: RetrainCause
    reason: str
    window: Interval
    below: float | None
    replay_share: float
    evidence: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class RetrainingRow:
    """A stored request; the retrained version has ``version`` as its parent."""

    id: int
    adapter_id: AdapterId
    adapter: str
    version_id: VersionId
    version: str
    cause: RetrainCause
    reason: str
    window: Interval
    below: float | None
    replay_share: float
    evidence: Mapping[str, Any]
    created_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Meant:
    """One record of a manifest; ``similarity`` to training is None if unknown.

    ``feedback`` holds the newest number by name. ``prompt`` and ``output`` are None unless they
    were asked for and are kept.
    """

    id: str
    at: datetime
    similarity: float | None
    feedback: Mapping[str, float]
    prompt: str | None = None
    output: str | None = None


def add(tx: Connection, new: NewRetraining, *, now: datetime) -> RetrainingRow:
    """Append a request."""
    statement = (
        retrainings.insert()
        .values(
            adapter_id=new.version.adapter_id,
            version_id=new.version.id,
            window_start=new.window.start,
            window_end=new.window.end,
            created_at=now,
            **stored(retrainings, new, evidence=dict(new.evidence)),
        )
        .returning(retrainings.c.id)
    )
    return fetch(tx, tx.execute(statement).scalar_one())


def fetch(tx: Connection, number: int) -> RetrainingRow:
    """Return a request that must exist; raises ``NotFound``."""
    row = tx.execute(_SELECT.where(retrainings.c.id == number)).mappings().one_or_none()
    if row is None:
        raise NotFound(f"there is no retraining request {number}")
    return _row(row)


def newest_at(tx: Connection) -> dict[AdapterId, datetime]:
    """Return when each adapter's retraining was last requested."""
    query = sa.select(retrainings.c.adapter_id, sa.func.max(retrainings.c.created_at))
    found = tx.execute(query.group_by(retrainings.c.adapter_id))
    return {AdapterId(adapter): at for adapter, at in found}


def request_list(
    tx: Connection,
    *,
    adapter_id: AdapterId | None = None,
    before_id: int | None = None,
    limit: int = 100,
) -> list[RetrainingRow]:
    """List requests, newest first; ``before_id`` ended the previous page."""
    query = _SELECT.order_by(retrainings.c.id.desc()).limit(limit)
    if adapter_id is not None:
        query = query.where(retrainings.c.adapter_id == adapter_id)
    if before_id is not None:
        query = query.where(retrainings.c.id < before_id)
    return [_row(row) for row in tx.execute(query).mappings()]


def manifest(
    tx: Connection,
    request: RetrainingRow,
    *,
    after: tuple[datetime, str] | None,
    unlike: bool,
    limit: int,
    with_text: bool = False,
) -> Sequence[Meant]:
    """List a request's records after the position ``after``, oldest first.

    ``unlike`` leaves out those like training, and those never compared; ``with_text`` those whose
    text is not kept. Records dropped by retention are missing.
    """
    at, name = after or (request.window.start, "")
    bound = {
        "adapter": request.adapter_id,
        "version": request.version_id,
        "at": at,
        "id": name,
        "end": request.window.end,
        "unlike": unlike,
        "below": request.below,
        "limit": limit,
    }
    query = _WITH_TEXT if with_text else _MANIFEST
    return [Meant(**row) for row in tx.execute(query, bound).mappings()]


_LISTED: Final = """
    SELECT r.id, r.at, e.similarity::float8 AS similarity,
      COALESCE((SELECT jsonb_object_agg(f.name, f.value) FROM feedback f
        WHERE f.adapter_id = r.adapter_id AND f.at = r.at AND f.record_id = r.id
          AND f.at >= :at AND f.at < :end), '{{}}') AS feedback{columns}
    FROM records r{join}
    LEFT JOIN record_embeddings e
      ON e.adapter_id = r.adapter_id AND e.at = r.at AND e.id = r.id
     AND e.at >= :at AND e.at < :end
    WHERE r.adapter_id = :adapter AND r.version_id = :version
      AND r.at >= :at AND r.at < :end AND (r.at, r.id) > (:at, :id)
      AND (NOT :unlike OR e.similarity < CAST(:below AS float8))
    ORDER BY r.at, r.id
    LIMIT :limit
"""
_MANIFEST: Final = sa.text(_LISTED.format(columns="", join=""))
_WITH_TEXT: Final = sa.text(
    _LISTED.format(
        columns=", t.prompt, t.output",
        join="""
    JOIN record_texts t
      ON t.adapter_id = r.adapter_id AND t.at = r.at AND t.id = r.id
     AND t.at >= :at AND t.at < :end""",
    )
)
_SELECT: Final = named(retrainings)


def _row(row: RowMapping) -> RetrainingRow:
    window = Interval(start=row["window_start"], end=row["window_end"])
    return shaped(RetrainingRow, row, window=window, cause=RetrainCause(row["cause"]))

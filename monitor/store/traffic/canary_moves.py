"""Read the history of canaries from the audit, which keeps every move for good."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import BigInteger, Connection

from monitor.domain import AdapterId
from monitor.store.tables.people import audit
from monitor.store.tables.registry import adapters, versions
from monitor.store.tables.traffic import canaries
from monitor.store.traffic.canaries import CanaryId

MADE: Final = "made"
"""The act of a canary's beginning; every other act is the phase that it entered."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryMove:
    """One audit entry about a canary; ``act`` is ``MADE`` or the phase after it."""

    id: int
    at: datetime
    actor: str
    act: str
    details: Mapping[str, Any]
    canary: CanaryId
    adapter: str
    version: str


def canary_moves(
    tx: Connection,
    *,
    adapter_id: AdapterId | None = None,
    acts: Collection[str] = (),
    since: datetime | None = None,
    before_id: int,
    limit: int,
) -> list[CanaryMove]:
    """List entries before ``before_id``, newest first: of one adapter, of acts, since a time."""
    query = _SELECT.where(audit.c.id < before_id).order_by(audit.c.id.desc()).limit(limit)
    if adapter_id is not None:
        query = query.where(canaries.c.adapter_id == adapter_id)
    if acts:
        query = query.where(audit.c.act.in_([f"{_PREFIX}{act}" for act in acts]))
    if since is not None:
        query = query.where(audit.c.at >= since)
    return [
        CanaryMove(**{**row, "act": row["act"].removeprefix(_PREFIX)})
        for row in tx.execute(query).mappings()
    ]


_PREFIX: Final = "canary."
_ID: Final = sa.cast(audit.c.details["canary"].astext, BigInteger)
_SELECT: Final = (
    sa.select(
        *(audit.c[name] for name in ("id", "at", "actor", "act", "details")),
        canaries.c.id.label("canary"),
        adapters.c.name.label("adapter"),
        versions.c.name.label("version"),
    )
    .join(canaries, canaries.c.id == _ID)
    .join(adapters, adapters.c.id == canaries.c.adapter_id)
    .join(versions, versions.c.id == canaries.c.version_id)
    # literals: with bound values the planner could not tell that the index covers them
    .where(sa.literal_column("\"left\"(audit.act, 7) = 'canary.'"))
)

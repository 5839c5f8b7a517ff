"""When the probes of versions last had an answer, and why the last try had none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import EvaluationKind, VersionId
from monitor.store.tables import adapters, evaluations, latest_scores, tasks, versions


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRow:
    """How the perplexity probe of a version fares.

    answered_at
        When one last ended with an answer; None: none ever did.
    stopped
        Why the newest try ended without one; None: it had one, or none was made.
    """

    version_id: VersionId
    adapter: str
    version: str
    registered_at: datetime
    answered_at: datetime | None
    stopped: str | None


def probe_rows(tx: Connection, *, version_id: VersionId | None = None) -> Sequence[ProbeRow]:
    """Give the versions that are probed, one of them or all; a row each, no history."""
    newest = (latest_scores.c.version_id == versions.c.id) & (
        latest_scores.c.detector == EvaluationKind.PERPLEXITY.value
    )
    query = (
        sa.select(
            versions.c.id.label("version_id"),
            adapters.c.name.label("adapter"),
            versions.c.name.label("version"),
            versions.c.registered_at,
            # the evaluation may be older than what is kept of them
            sa.func.coalesce(evaluations.c.finished_at, latest_scores.c.at).label("answered_at"),
            tasks.c.stopped,
        )
        .join_from(tasks, versions, versions.c.id == tasks.c.version_id)
        .join(adapters, adapters.c.id == versions.c.adapter_id)
        .outerjoin(latest_scores, newest)
        .outerjoin(evaluations, evaluations.c.id == latest_scores.c.evaluation_id)
        .where(tasks.c.kind == EvaluationKind.PERPLEXITY.value)
        .order_by(adapters.c.name, versions.c.id)
    )
    if version_id is not None:
        query = query.where(versions.c.id == version_id)
    return [ProbeRow(**row) for row in tx.execute(query).mappings()]

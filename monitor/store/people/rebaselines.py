"""Re-register perplexity after a change of engine or base: one audited act.

After such a change, every adapter on it reads the same documents with other numbers. Compared with
the old ones, the whole fleet would seem to have changed.
"""

from __future__ import annotations

from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store import audit
from monitor.store.evaluation import perplexity
from monitor.store.evaluation.perplexity import RunRole
from monitor.store.people.changes import StoredChange
from monitor.store.tables.probes import perplexity_runs
from monitor.store.tables.registry import adapters, versions

ACT: Final = "perplexity.rebaseline"


def rebaseline(tx: Connection, because: StoredChange, *, actor: str, at: datetime) -> int:
    """Retire the registrations of the change's adapters; return the number of versions.

    Their next probe registers them again; until then their perplexity is not judged.
    """
    count = _registered(tx, because)
    runs = perplexity.retire_registrations(
        tx,
        adapters=because.adapters,
        because=f"{because.kind.value} change {because.id}: {because.title}",
        at=at,
    )
    audit.append(
        tx,
        actor=actor,
        act=ACT,
        subject=f"change {because.id}",
        details={
            "versions": count,
            "runs": runs,
            "kind": because.kind.value,
            "title": because.title,
            "adapters": None if because.adapters is None else list(because.adapters),
        },
    )
    return count


def _registered(tx: Connection, because: StoredChange) -> int:
    """Count the versions whose perplexity is compared with a registration."""
    query = (
        sa.select(sa.func.count(sa.distinct(perplexity_runs.c.version_id)))
        .join(versions, versions.c.id == perplexity_runs.c.version_id)
        .join(adapters, adapters.c.id == versions.c.adapter_id)
        .where(
            perplexity_runs.c.role == RunRole.REGISTRATION.value,
            perplexity_runs.c.retired_at.is_(None),
        )
    )
    if because.adapters is not None:
        query = query.where(adapters.c.name.in_(because.adapters))
    return int(tx.execute(query).scalar_one())

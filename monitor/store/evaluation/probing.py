"""Read when versions' probes last had a result, and why the last try had none."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection
from sqlalchemy.dialects.postgresql import distinct_on

from monitor.domain import EvaluationKind, VersionId
from monitor.policy.rounds import ProbeCost
from monitor.store.evaluation.perplexity import RunRole
from monitor.store.tables.evaluations import evaluations, latest_scores, tasks
from monitor.store.tables.probes import perplexity_runs
from monitor.store.tables.registry import adapters, versions

ONE_PROBE: Final = timedelta(hours=1)
"""A version's runs closer together than this belong to one probe."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ProbeRow:
    """The state of a version's perplexity probe.

    answered_at
        When a probe last had a result; None if none ever did.
    stopped
        Why the newest try had no result; None if it had one, or none was made.
    """

    version_id: VersionId
    adapter: str
    version: str
    registered_at: datetime
    answered_at: datetime | None
    stopped: str | None


def probe_rows(tx: Connection, *, version_id: VersionId | None = None) -> Sequence[ProbeRow]:
    """Return a row for each probed version, one of them or all, without history."""
    newest = (latest_scores.c.version_id == versions.c.id) & (
        latest_scores.c.detector == EvaluationKind.PERPLEXITY.value
    )
    query = (
        sa.select(
            versions.c.id.label("version_id"),
            adapters.c.name.label("adapter"),
            versions.c.name.label("version"),
            versions.c.registered_at,
            # the evaluation may be older than the oldest one kept
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


def measured(tx: Connection, *, since: datetime) -> list[ProbeCost]:
    """Return the cost of each version's newest probe to its engine; none if it asked none."""
    whole = [RunRole.REGISTRATION.value, RunRole.SCHEDULED.value, RunRole.SUSPICION.value]
    newest = (
        sa.select(
            perplexity_runs.c.version_id,
            perplexity_runs.c.replica,
            perplexity_runs.c.seconds,
            perplexity_runs.c.at,
        )
        .ext(distinct_on(perplexity_runs.c.version_id, perplexity_runs.c.corpus))
        .where(
            perplexity_runs.c.version_id.is_not(None),
            perplexity_runs.c.replica.is_not(None),
            perplexity_runs.c.seconds.is_not(None),
            perplexity_runs.c.role.in_(whole),
            perplexity_runs.c.state == "done",
            perplexity_runs.c.at >= since,
        )
        .order_by(
            perplexity_runs.c.version_id,
            perplexity_runs.c.corpus,
            perplexity_runs.c.at.desc(),
        )
        .subquery()
    )
    last = sa.func.max(newest.c.at).over(partition_by=newest.c.version_id)
    dated = sa.select(newest, last.label("last")).subquery()
    # a replaced corpus is not asked any more
    rows = tx.execute(
        sa.select(
            dated.c.version_id,
            sa.func.max(dated.c.replica).label("replica"),
            sa.func.sum(dated.c.seconds).label("seconds"),
        )
        .where(dated.c.at > dated.c.last - ONE_PROBE)
        .group_by(dated.c.version_id)
    )
    return [
        ProbeCost(version_id=VersionId(row.version_id), engine=row.replica, seconds=row.seconds)
        for row in rows
    ]

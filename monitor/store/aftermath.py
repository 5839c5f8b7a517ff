"""What happened after an action was decided: to the verdict, the route and the incident."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store.actions import AUTOMATIC, ActionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """The first of each kind after the action; None: not so far, or not before ``until``.

    recovered_at
        The version became stable.
    rerouted_at, rerouted_by
        A person set another route.
    marked, marked_by
        What a person said of the incident that was open about the version then.
    verdict
        In force now.
    """

    recovered_at: datetime | None
    rerouted_at: datetime | None
    rerouted_by: str | None
    marked: str | None
    marked_by: str | None
    verdict: str | None


_QUERY: Final = sa.text(
    """
    WITH person AS (
        SELECT since, actor FROM route_history
        WHERE adapter_id = :adapter AND since > :at AND since <= :until
          AND actor <> :automatic AND actor NOT LIKE :automatic || ':%'
        ORDER BY generation LIMIT 1
    ), told AS (
        SELECT marked, marked_by FROM incidents
        WHERE adapter_id = :adapter AND version_id = :version AND kind = 'drift'
          AND opened_at <= :at AND (closed_at IS NULL OR closed_at >= :at)
        ORDER BY number DESC LIMIT 1
    )
    SELECT
        (
            SELECT min(at) FROM transitions
            WHERE adapter_id = :adapter AND version_id = :version AND at > :at AND at <= :until
              AND after = 'stable'
        ) AS recovered_at,
        (SELECT since FROM person) AS rerouted_at,
        (SELECT actor FROM person) AS rerouted_by,
        (SELECT marked FROM told) AS marked,
        (SELECT marked_by FROM told) AS marked_by,
        (SELECT kind FROM verdicts WHERE version_id = :version) AS verdict
    """
)


def after(tx: Connection, action: ActionRow, *, until: datetime) -> Aftermath:
    """Read it in one query."""
    bound = {
        "adapter": action.adapter_id,
        "version": action.version_id,
        "at": action.created_at,
        "until": until,
        "automatic": AUTOMATIC,
    }
    return Aftermath(**tx.execute(_QUERY, bound).mappings().one())

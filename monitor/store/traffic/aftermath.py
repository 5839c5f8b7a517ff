"""Read the events after an action: of the verdict, the route and the incident."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.store.traffic.actions import AUTOMATIC, ActionRow


@dataclass(frozen=True, slots=True, kw_only=True)
class Aftermath:
    """The first event of each kind after the action; None if there was none before ``until``.

    recovered_at
        When the version became stable.
    rerouted_at, rerouted_by
        When a person set another route, and who.
    marked, marked_by
        A person's judgement of the version's incident open at the time, and whose.
    verdict
        The verdict in force now.
    """

    recovered_at: datetime | None
    rerouted_at: datetime | None
    rerouted_by: str | None
    marked: str | None
    marked_by: str | None
    verdict: str | None


_QUERY: Final = sa.text(
    """
    SELECT
        (
            SELECT min(t.at) FROM transitions t
            WHERE t.adapter_id = a.adapter_id AND t.version_id = a.version_id
              AND t.at > a.created_at AND t.at <= :until AND t.after = 'stable'
        ) AS recovered_at,
        person.since AS rerouted_at,
        person.actor AS rerouted_by,
        told.marked,
        told.marked_by,
        (SELECT v.kind FROM verdicts v WHERE v.version_id = a.version_id) AS verdict
    FROM unnest(CAST(:actions AS bigint[])) WITH ORDINALITY AS asked (id, place)
    JOIN actions a ON a.id = asked.id
    LEFT JOIN LATERAL (
        SELECT h.since, h.actor FROM route_history h
        WHERE h.adapter_id = a.adapter_id AND h.since > a.created_at AND h.since <= :until
          AND h.actor <> :automatic AND h.actor NOT LIKE :automatic || ':%'
        ORDER BY h.generation LIMIT 1
    ) AS person ON true
    LEFT JOIN LATERAL (
        SELECT i.marked, i.marked_by FROM incidents i
        WHERE i.adapter_id = a.adapter_id AND i.version_id = a.version_id AND i.kind = 'drift'
          AND i.opened_at <= a.created_at
          AND (i.closed_at IS NULL OR i.closed_at >= a.created_at)
        ORDER BY i.number DESC LIMIT 1
    ) AS told ON true
    ORDER BY asked.place
    """
)


def after(tx: Connection, of: Sequence[ActionRow], *, until: datetime) -> list[Aftermath]:
    """Read the aftermath of some actions, in their order, in one query."""
    bound = {"actions": [action.id for action in of], "until": until, "automatic": AUTOMATIC}
    return [Aftermath(**row) for row in tx.execute(_QUERY, bound).mappings()]

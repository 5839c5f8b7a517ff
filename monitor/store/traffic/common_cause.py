"""Count the adapters that turned bad together, for the brake on traffic."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId


@dataclass(frozen=True, slots=True, kw_only=True)
class BaseFleet:
    """The adapters around one that turned critical.

    critical
        Adapters, including this one, that turned critical within one cycle of it.
    adapters
        Adapters that have a verdict.
    unseen
        Other, regularly evaluated adapters that were not evaluated since it turned.
    """

    critical: int
    adapters: int
    unseen: int


_COUNT: Final = sa.text(
    """
    SELECT
        (
            SELECT count(*) FROM (
                SELECT adapter_id FROM transitions
                WHERE after = 'critical' AND at BETWEEN :turned - :cycle AND :turned + :cycle
                UNION
                SELECT adapter_id FROM verdicts
                WHERE kind = 'critical' AND since BETWEEN :turned - :cycle AND :turned + :cycle
            ) AS together
        ) AS critical,
        (SELECT count(DISTINCT adapter_id) FROM verdicts) AS adapters,
        (
            SELECT count(*) FROM (
                SELECT s.adapter_id
                FROM tasks t JOIN versions s ON s.id = t.version_id
                WHERE t.kind = 'live' AND s.adapter_id <> :adapter_id
                  AND t.last_done_at >= :turned - 3 * :cycle
                GROUP BY s.adapter_id
                HAVING max(t.last_done_at) < :turned
            ) AS others
        ) AS unseen
    """
)


def company(
    tx: Connection, adapter_id: AdapterId, *, turned: datetime, cycle: timedelta
) -> BaseFleet:
    """Count the adapters that turned critical together with this one, at ``turned``.

    The span is fixed to that moment, not to now, so that waiting does not make a common cause look
    like a single one.
    """
    bound = {"adapter_id": adapter_id, "turned": turned, "cycle": cycle}
    return BaseFleet(**tx.execute(_COUNT, bound).mappings().one())

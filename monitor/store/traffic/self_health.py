"""Check that Driftline itself is well enough to be trusted about a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import VersionId
from monitor.policy import Memory
from monitor.store.rows import shaped


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfHealth:
    """Facts that speak against acting on a version's findings.

    database_clock
        The server's current time.
    failing
        Detectors that raised an error in their last evaluation.
    open_kinds
        Kinds of the version's open incidents about missing sight: no_data, error.
    reference_at
        When the reference in force became so; None without one.
    """

    database_clock: datetime
    failing: Sequence[str]
    open_kinds: Sequence[str]
    reference_at: datetime | None


_READ: Final = sa.text(
    """
    SELECT
        clock_timestamp() AS database_clock,
        (SELECT memory FROM verdicts WHERE version_id = :version) AS memory,
        ARRAY(
            SELECT kind FROM incidents
            WHERE adapter_id = :adapter AND version_id = :version AND closed_at IS NULL
              AND kind IN ('no_data', 'error') AND phase <> 'ok'
            ORDER BY kind
        ) AS open_kinds,
        (
            SELECT max(ready_at) FROM "references"
            WHERE version_id = :version AND state = 'ready'
        ) AS reference_at
    """
)


def of_version(tx: Connection, version_id: VersionId, *, adapter_id: int) -> SelfHealth:
    """Read these facts in one query."""
    bound = {"version": version_id, "adapter": adapter_id}
    row = tx.execute(_READ, bound).mappings().one()
    failing = sorted(Memory.from_json(row["memory"] or {}).failures)
    return shaped(SelfHealth, row, failing=failing)

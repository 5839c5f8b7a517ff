"""Whether Driftline itself is well enough to be believed about a version."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import VersionId


@dataclass(frozen=True, slots=True, kw_only=True)
class SelfHealth:
    """What speaks against acting on what was found of a version.

    database_clock
        Now, by the server's clock.
    failing
        Detectors that raised in their last evaluation.
    open_kinds
        Kinds of the version's open incidents about Driftline's own sight: no_data, error.
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
        ARRAY(
            SELECT jsonb_object_keys(memory -> 'failures') FROM verdicts
            WHERE version_id = :version AND jsonb_typeof(memory -> 'failures') = 'object'
            ORDER BY 1
        ) AS failing,
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
    """Read it in one query."""
    bound = {"version": version_id, "adapter": adapter_id}
    return SelfHealth(**tx.execute(_READ, bound).mappings().one())

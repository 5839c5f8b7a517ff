"""Store beside each verdict how its version moved, for the others on its base."""

from __future__ import annotations

from typing import Any, Final

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.types import Blame
from monitor.domain import AdapterId, Verdict, VerdictSeverity
from monitor.policy.common_cause import Moved, movement
from monitor.policy.memory import NUMPY_SCALAR, Memory


def encoded(verdict: Verdict, memory: Memory) -> dict[str, Any] | None:
    """Return what ``verdicts.moved`` holds of a version; None if only its inputs moved."""
    if verdict.severity is VerdictSeverity.NONE or verdict.blame is Blame.INPUT:
        return None
    found = movement(memory, at=verdict.since)
    return None if found is None else msgspec.to_builtins(found, enc_hook=NUMPY_SCALAR)


def on_base(tx: Connection, base: str, *, but: AdapterId) -> tuple[Moved, ...]:
    """Return the version in the worst state of each other adapter that moved on a base.

    An empty base selects versions without one. It costs one row, however many have moved.
    """
    found = tx.execute(_ON_BASE, {"base": base, "but": but}).scalar_one()
    return _MOVED.decode(found)


# an earlier release that runs beside this one ends a verdict without ending its ``moved``
_ON_BASE: Final = sa.text(
    """
    SELECT CAST(coalesce(jsonb_agg(jsonb_build_object(
        'version_id', one.version_id, 'paging', one.paging, 'movement', one.moved
    )), '[]') AS text)
    FROM (
        SELECT DISTINCT ON (v.adapter_id) v.version_id, v.severity = 'page' AS paging, v.moved
        FROM verdicts v JOIN versions s ON s.id = v.version_id
        WHERE coalesce(s.base_model, '') = :base AND v.moved IS NOT NULL AND v.adapter_id <> :but
          AND v.severity <> 'none' AND v.blame <> 'input'
        ORDER BY v.adapter_id, paging DESC, v.version_id
    ) AS one
    """
)
_MOVED: Final = msgspec.json.Decoder(tuple[Moved, ...])

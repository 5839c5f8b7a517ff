"""Read pairs of answers by shadow and version in charge, for judges."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import SHADOWED
from monitor.store.traffic.canaries import CanaryRow
from monitor.store.traffic.trials import APART


@dataclass(frozen=True, slots=True, kw_only=True)
class CopyPosition:
    """A position in the order of :func:`answered_twice`: by time, then id."""

    at: datetime
    id: str


@dataclass(frozen=True, slots=True, kw_only=True)
class AnsweredTwice:
    """A prompt and both answers, redacted; None if a text is not stored, or not yet.

    id, at
        Of the record of the version in charge.
    """

    id: str
    at: datetime
    prompt: str | None
    answer: str | None
    copy_answer: str | None


# as elsewhere, no query joins two partitions
_COPIES: Final = sa.text(
    "SELECT at, id FROM records WHERE adapter_id = :adapter AND version_id = :version"
    " AND at >= :since AND (at, id) > (:since, :after) AND right(id, :suffix) = :shadowed"
    " ORDER BY at, id LIMIT :limit"
)
_ANSWERED: Final = sa.text(
    "SELECT id, at FROM records WHERE adapter_id = :adapter AND version_id = :control"
    " AND at BETWEEN :earliest AND :latest AND id = ANY(:ids)"
)
_GIVEN: Final = sa.text(
    "SELECT record_id FROM feedback WHERE adapter_id = :adapter"
    " AND at BETWEEN :earliest AND :latest AND name = :name AND record_id = ANY(:ids)"
)
_TEXTS: Final = sa.text(
    "SELECT id, prompt, output FROM record_texts WHERE adapter_id = :adapter"
    " AND at BETWEEN :earliest AND :latest AND id = ANY(:ids)"
)


def answered_twice(
    tx: Connection,
    canary: CanaryRow,
    *,
    without: str | None = None,
    after: CopyPosition | None = None,
    limit: int,
) -> tuple[list[AnsweredTwice], CopyPosition | None]:
    """List prompts that both versions answered since a canary began, oldest first.

    Parameters
    ----------
    without
        Only those that lack feedback of this name, on either side.
    after
        Only copies after this one.
    limit
        The number of copies that are read, including those left out.

    Returns
    -------
    The prompts, and where to go on; None if there were no further copies.
    """
    bound: dict[str, Any] = {
        "adapter": canary.adapter_id,
        "version": canary.version_id,
        "control": canary.control_id,
        "since": after.at if after else canary.created_at,
        "after": after.id if after else "",
        "suffix": len(SHADOWED),
        "shadowed": SHADOWED,
        "limit": limit + 1,
    }
    rows = tx.execute(_COPIES, bound).all()
    copies = [row.id for row in rows[:limit]]
    if not copies:
        return [], None
    bound |= {"earliest": rows[0].at - APART, "latest": rows[-1].at + APART}
    ids = [one.removesuffix(SHADOWED) for one in copies]
    times = {row.id: row.at for row in tx.execute(_ANSWERED, bound | {"ids": ids})}
    both = bound | {"ids": ids + copies}
    given = set(tx.execute(_GIVEN, both | {"name": without}).scalars()) if without else set()
    texts = {row.id: row for row in tx.execute(_TEXTS, both)}
    found = [
        AnsweredTwice(
            id=one,
            at=times[one],
            prompt=texts[one].prompt if one in texts else None,
            answer=texts[one].output if one in texts else None,
            copy_answer=texts[copy].output if copy in texts else None,
        )
        for one, copy in zip(ids, copies, strict=True)
        if one in times and not given.issuperset((one, copy))
    ]
    return found, _place(rows, limit)


def _place(rows: Sequence[Any], limit: int) -> CopyPosition | None:
    return CopyPosition(at=rows[limit - 1].at, id=rows[limit - 1].id) if len(rows) > limit else None

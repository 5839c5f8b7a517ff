"""What a version on trial answered, beside the one in charge: feedback, and pairs of answers."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.domain import AdapterId, VersionId
from monitor.store.perplexity import RunRole
from monitor.store.records import MEASURED, derived, subject_codes
from monitor.store.tables import perplexity_runs

Floats = npt.NDArray[np.float64]

SHADOWED: Final = ":shadow"
"""Ends the id of a record of the shadow arm; before it stands the answered record's."""
APART: Final = timedelta(minutes=10)
"""A copy is answered at most so long after, or before, what it is a copy of."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenColumn:
    """Numbers of one name ``(n,)`` with their records' subjects; None where none has one."""

    values: Floats
    subjects: npt.NDArray[np.int64] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Prompts that both versions answered: signals of each side, arrays ``(n,)``."""

    trial: Mapping[str, Floats]
    control: Mapping[str, Floats]
    n: int


_FEEDBACK: Final = sa.text(
    "SELECT f.name, f.value, r.subject"
    " FROM feedback f JOIN records r"
    " ON r.adapter_id = f.adapter_id AND r.at = f.at AND r.id = f.record_id"
    " WHERE f.adapter_id = :adapter AND f.at >= :start AND f.at < :end"
    " AND r.adapter_id = :adapter AND r.at >= :start AND r.at < :end"
    " AND r.version_id = :version AND r.context_id = ANY(:contexts) AND f.name = ANY(:names)"
    " ORDER BY f.at, f.record_id"
)


def feedback(
    tx: Connection,
    *,
    adapter_id: AdapterId,
    version_id: VersionId,
    start: datetime,
    end: datetime,
    names: Sequence[str],
    context_ids: Sequence[int],
) -> dict[str, GivenColumn]:
    """Read what has been given so far for a version's records of ``[start, end)``.

    Only records of these contexts count. Cost: one index range of feedback and records.
    """
    bound = {
        "adapter": adapter_id,
        "version": version_id,
        "start": start,
        "end": end,
        "names": list(names),
        "contexts": list(context_ids),
    }
    rows = tx.execute(_FEEDBACK, bound).all() if names else []
    return {name: _given([row for row in rows if row.name == name]) for name in names}


def _given(rows: Sequence[sa.Row[Any]]) -> GivenColumn:
    hashes = [int.from_bytes(row.subject or b"", "big") for row in rows]
    return GivenColumn(
        values=np.array([row.value for row in rows], dtype=np.float64),
        subjects=subject_codes(np.array(hashes, dtype=np.uint64)),
    )


_SIGNALS: Final = (*MEASURED, "status")


def _side(alias: str, name: str) -> str:
    columns = (f"coalesce({alias}.{n}::int::float8, 'NaN')" if n in _FLAGS else
               f"coalesce({alias}.{n}::float8, 'NaN')" for n in _SIGNALS)  # fmt: skip
    return f"ARRAY[{', '.join(columns)}] AS {name}"


_FLAGS: Final = frozenset({"loop", "empty", "truncated", "refusal", "invalid", "missing"})
_PAIRS: Final = sa.text(
    f"SELECT o.id, {_side('s', 'trial')}, {_side('o', 'control')}"
    " FROM records s JOIN records o"
    " ON o.adapter_id = s.adapter_id AND o.id = left(s.id, length(s.id) - :suffix)"
    " WHERE s.adapter_id = :adapter AND s.version_id = :version AND s.at >= :start AND s.at < :end"
    " AND o.adapter_id = :adapter AND o.version_id = :control"
    " AND o.at >= :earliest AND o.at < :latest AND right(s.id, :suffix) = :shadowed"
    " ORDER BY o.at, o.id"
)
_PAIRED_FEEDBACK: Final = sa.text(
    "SELECT record_id, name, value FROM feedback"
    " WHERE adapter_id = :adapter AND at >= :earliest AND at < :latest"
    " AND name = ANY(:names) AND record_id = ANY(:ids)"
)


def pairs(
    tx: Connection,
    *,
    adapter_id: AdapterId,
    version_id: VersionId,
    control_id: VersionId,
    start: datetime,
    end: datetime,
    names: Sequence[str] = (),
) -> Pairs:
    """Read the prompts of ``[start, end)`` that both versions answered.

    Signals are those of a window; feedback of these ``names`` stands beside them.
    """
    bound: dict[str, Any] = {
        "adapter": adapter_id,
        "version": version_id,
        "control": control_id,
        "start": start,
        "end": end,
        "earliest": start - APART,
        "latest": end + APART,
        "suffix": len(SHADOWED),
        "shadowed": SHADOWED,
    }
    rows = tx.execute(_PAIRS, bound).all()
    trial, control = _columns([row.trial for row in rows]), _columns([row.control for row in rows])
    if names and rows:
        ids = [row.id for row in rows]
        given = _paired_feedback(tx, bound, names, [*ids, *(f"{one}{SHADOWED}" for one in ids)])
        for name in names:
            trial[name] = _laid_out(given, name, [f"{one}{SHADOWED}" for one in ids])
            control[name] = _laid_out(given, name, ids)
    return Pairs(trial=trial, control=control, n=len(rows))


def _columns(rows: Sequence[Sequence[float]]) -> dict[str, Floats]:
    values = np.array(rows, dtype=np.float64).reshape(len(rows), len(_SIGNALS))
    columns = dict(zip(_SIGNALS, values.T, strict=True))
    status = columns.pop("status")
    return columns | derived(columns, status=status)


def _paired_feedback(
    tx: Connection, bound: Mapping[str, Any], names: Sequence[str], ids: Sequence[str]
) -> dict[tuple[str, str], float]:
    keys = ("adapter", "earliest", "latest")
    query = {key: bound[key] for key in keys} | {"names": list(names), "ids": list(ids)}
    return {(row.record_id, row.name): row.value for row in tx.execute(_PAIRED_FEEDBACK, query)}


def _laid_out(given: Mapping[tuple[str, str], float], name: str, ids: Sequence[str]) -> Floats:
    return np.array([given.get((one, name), np.nan) for one in ids], dtype=np.float64)


def common_corpora(tx: Connection, version_id: VersionId, control_id: VersionId) -> list[str]:
    """Name the corpora over which both versions were read, as they were registered."""
    rows = tx.execute(
        sa.select(perplexity_runs.c.corpus)
        .where(
            perplexity_runs.c.version_id.in_([version_id, control_id]),
            perplexity_runs.c.state == "done",
            perplexity_runs.c.role == RunRole.REGISTRATION.value,
            perplexity_runs.c.retired_at.is_(None),
        )
        .group_by(perplexity_runs.c.corpus)
        .having(sa.func.count(sa.distinct(perplexity_runs.c.version_id)) > 1)
        .order_by(perplexity_runs.c.corpus)
    )
    return list(rows.scalars())

"""Read a trial version's feedback and its answers paired with the control's."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import numpy as np
import numpy.typing as npt
import sqlalchemy as sa
from sqlalchemy import Connection

from detectors.signals import SignalKind, of_kind
from monitor.domain import SHADOWED, AdapterId, VersionId
from monitor.store.evaluation.perplexity import RunRole
from monitor.store.records.columns import MEASURED, derived, subject_codes
from monitor.store.tables.probes import perplexity_runs

Floats = npt.NDArray[np.float64]

APART: Final = timedelta(minutes=10)
"""The longest time between a copy's answer and its original's, either way."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GivenColumn:
    """Numbers of one name ``(n,)`` with their records' subjects; None if none is known."""

    values: Floats
    subjects: npt.NDArray[np.int64] | None


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pairs:
    """Prompts that both versions answered: each side's signals, arrays ``(n,)``.

    ``subjects`` are the senders' codes ``(n,)``; None if none is known.
    """

    trial: Mapping[str, Floats]
    control: Mapping[str, Floats]
    subjects: npt.NDArray[np.int64] | None
    n: int


# No query here joins two partitions: in the first hours of a day the new ones have no statistics
# yet, and then the planner scans every record for every number (5 s for 5,000 of each).
_RECORDS: Final = sa.text(
    "SELECT at, id, subject FROM records WHERE adapter_id = :adapter AND version_id = :version"
    " AND at >= :start AND at < :end AND context_id = ANY(:contexts)"
)
_FEEDBACK: Final = sa.text(
    "SELECT at, record_id, name, value FROM feedback"
    " WHERE adapter_id = :adapter AND at >= :start AND at < :end AND name = ANY(:names)"
    " ORDER BY at, record_id"
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
    """Read the feedback so far on a version's records of ``[start, end)``.

    Only records of these contexts count. Cost: one index range of feedback and of records.
    """
    if not names:
        return {}
    span: dict[str, Any] = {"adapter": adapter_id, "start": start, "end": end}
    own = span | {"version": version_id, "contexts": list(context_ids)}
    # all at once: an iterator over so many asks the driver for each
    subjects = {(at, id_): subject for at, id_, subject in tx.execute(_RECORDS, own).all()}
    found: dict[str, list[tuple[float, bytes | None]]] = {name: [] for name in names}
    for at, id_, name, value in tx.execute(_FEEDBACK, span | {"names": list(names)}).all():
        if (at, id_) in subjects:
            found[name].append((value, subjects[at, id_]))
    return {name: _given(rows) for name, rows in found.items()}


def _given(rows: Sequence[tuple[float, bytes | None]]) -> GivenColumn:
    return GivenColumn(
        values=np.array([value for value, _ in rows], dtype=np.float64),
        subjects=_codes([subject for _, subject in rows]),
    )


def _codes(subjects: Sequence[bytes | None]) -> npt.NDArray[np.int64] | None:
    hashes = [int.from_bytes(subject or b"", "big") for subject in subjects]
    return subject_codes(np.array(hashes, dtype=np.uint64))


_SIGNALS: Final = (*MEASURED, "status")


def _measured() -> str:
    flags = of_kind(SignalKind.FLAG)
    columns = (f"{name}::int" if name in flags else name for name in _SIGNALS)
    return ", ".join(f"coalesce(({column})::float8, 'NaN')" for column in columns)


_SHADOWS: Final = sa.text(
    f"SELECT left(id, length(id) - :suffix) AS id, ARRAY[{_measured()}] AS measured FROM records"
    " WHERE adapter_id = :adapter AND version_id = :version AND at >= :start AND at < :end"
    " AND right(id, :suffix) = :shadowed ORDER BY at, id"
)
_ANSWERED: Final = sa.text(
    f"SELECT id, subject, ARRAY[{_measured()}] AS measured FROM records"
    " WHERE adapter_id = :adapter AND version_id = :control"
    " AND at >= :earliest AND at < :latest AND id = ANY(:ids)"
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

    Signals are those of a window; feedback of these ``names`` is added.
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
    copies = {row.id: row.measured for row in tx.execute(_SHADOWS, bound)}
    answered = {row.id: row for row in tx.execute(_ANSWERED, bound | {"ids": list(copies)})}
    ids = [one for one in copies if one in answered]
    trial, control = (
        _columns([copies[one] for one in ids]),
        _columns([answered[one].measured for one in ids]),
    )
    if names and ids:
        shadows = [f"{one}{SHADOWED}" for one in ids]
        given = _paired_feedback(tx, bound, names, [*ids, *shadows])
        for name in names:
            trial[name] = _laid_out(given, name, shadows)
            control[name] = _laid_out(given, name, ids)
    subjects = _codes([answered[one].subject for one in ids])
    return Pairs(trial=trial, control=control, subjects=subjects, n=len(ids))


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
    """Return the corpora on which both versions were registered."""
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

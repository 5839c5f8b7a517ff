"""Evaluations and their scores: written once per window, read by pages and the API."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy import Connection, RowMapping
from sqlalchemy.dialects.postgresql import distinct_on, insert

from alerts.message import finite
from alerts.types import VerdictKind
from monitor.domain import UNMEASURED, AdapterId, EvaluationId, EvaluationKind, Interval, VersionId
from monitor.policy.coverage import Coverage, packed, summed, unpacked
from monitor.store.rows import named, shaped, stored
from monitor.store.tables.evaluations import evaluations, latest_scores, scores
from monitor.store.tables.registry import versions


@dataclass(frozen=True, slots=True, kw_only=True)
class ScoreRow:
    """One detector's score of one window, with the verdict it led to."""

    version_id: VersionId
    adapter: str
    version: str
    detector: str
    window: Interval
    value: float
    evidence_notice: float
    evidence_page: float
    effect: float
    effect_low: float
    effect_high: float
    n_reference: int
    n_window: int
    minimum_detectable: float
    winner: str | None
    verdict: str
    blame: str
    reason: str
    evaluation_id: EvaluationId
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluationRow:
    """One run of a version's detectors over one window; no coverage: it had no requests."""

    id: EvaluationId
    adapter: str
    version: str
    kind: EvaluationKind
    window: Interval
    state: str
    n_records: int
    n_late: int
    verdict: str | None
    reason: str | None
    coverage: tuple[Coverage, ...]
    started_at: datetime
    finished_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class NewEvaluation:
    """An evaluation to be written."""

    adapter_id: AdapterId
    version_id: VersionId
    kind: EvaluationKind
    window: Interval
    state: str
    epoch: int
    started_at: datetime
    reference_id: int | None = None
    n_records: int = 0
    n_late: int = 0
    verdict: str | None = None
    reason: str | None = None
    coverage: tuple[Coverage, ...] = ()


def add(
    tx: Connection, new: Sequence[NewEvaluation]
) -> dict[tuple[VersionId, datetime], EvaluationId]:
    """Store evaluations of one kind, and return their ids by version and end of window.

    Windows that already have one are not in the answer.
    """
    rows = [
        stored(
            evaluations,
            one,
            window_start=one.window.start,
            window_end=one.window.end,
            coverage=[packed(each) for each in one.coverage] or None,
        )
        for one in new
    ]
    return {
        (VersionId(row.version_id), row.window_end): EvaluationId(row.id)
        for row in (tx.execute(_ADD, rows) if rows else ())
    }


_ADD: Final = (
    insert(evaluations)
    .values(finished_at=sa.func.clock_timestamp())
    .on_conflict_do_nothing()
    .returning(evaluations.c.id, evaluations.c.version_id, evaluations.c.window_end)
)


def last_finished(
    tx: Connection, version_id: VersionId, *, kind: EvaluationKind
) -> datetime | None:
    """Return when the newest evaluation of this kind was written; None before the first."""
    query = (
        sa.select(evaluations.c.finished_at)
        .where(
            evaluations.c.version_id == version_id,
            evaluations.c.kind == kind.value,
            evaluations.c.state == "done",
        )
        .order_by(evaluations.c.window_end.desc())
        .limit(1)
    )
    found: datetime | None = tx.execute(query).scalar_one_or_none()
    return found


def daily_records(
    tx: Connection, version_ids: Sequence[VersionId], *, since: datetime
) -> dict[VersionId, float]:
    """Records a day that live windows since a time held; none where there was no window.

    By the time that was looked at: a version registered an hour ago has a rate, too.
    """
    length = sa.extract("epoch", evaluations.c.window_end - evaluations.c.window_start)
    query = (
        sa.select(
            evaluations.c.version_id,
            sa.func.sum(evaluations.c.n_records).label("n"),
            sa.func.sum(length).label("seconds"),
        )
        .where(
            evaluations.c.version_id.in_(version_ids),
            evaluations.c.kind == EvaluationKind.LIVE.value,
            evaluations.c.state == "done",
            evaluations.c.window_end > since,
        )
        .group_by(evaluations.c.version_id)
    )
    return {
        VersionId(row.version_id): 86_400.0 * row.n / max(1.0, float(row.seconds))
        for row in tx.execute(query)
    }


def coverage_since(
    tx: Connection, *, version_id: VersionId, since: datetime
) -> tuple[Coverage, ...]:
    """Sum up what of the requests of windows since a time each detector compared."""
    bodies = tx.execute(
        sa.select(evaluations.c.coverage).where(
            evaluations.c.version_id == version_id,
            # by name, so that the index leads to the windows of these hours and no others
            evaluations.c.kind.in_([EvaluationKind.HARD.value, EvaluationKind.LIVE.value]),
            evaluations.c.window_end > since,
            evaluations.c.coverage.is_not(None),
        )
    ).scalars()
    return summed(one for body in bodies for one in _coverage(body))


def drop_older(tx: Connection, *, than: datetime, most: int = 20_000) -> int:
    """Delete up to ``most`` evaluations of windows that ended before a time, the oldest.

    A version has 1,440 a day from its hard signals alone. Looks at the lowest ids only, so
    it costs the same whatever is kept; call it until it gives 0.
    """
    oldest = sa.select(evaluations.c.id).order_by(evaluations.c.id).limit(most)
    done = tx.execute(
        sa.delete(evaluations).where(
            evaluations.c.id.in_(oldest.scalar_subquery()), evaluations.c.window_end < than
        )
    )
    return done.rowcount


STEP: Final = timedelta(minutes=15)
"""How often a score that says the same joins the history of a version whose scores are thinned."""


def put_scores(
    tx: Connection, rows: Sequence[ScoreRow], *, thinned: Collection[VersionId] = ()
) -> None:
    """Move ``latest_scores`` on, and append scores to the history, in one transaction.

    Of ``thinned`` versions a stable score that follows a stable one is appended only if it is the
    detector's first of a quarter of an hour.
    """
    if not rows:
        return
    before = _newest(tx, {row.version_id for row in rows} & set(thinned))
    values = [_values(row) for row in rows]
    kept = [
        value
        for row, value in zip(rows, values, strict=True)
        if not _repeats(row, before.get((row.version_id, row.detector)))
    ]
    if kept:
        tx.execute(_APPEND, kept)
    tx.execute(_MOVE_ON, values)


def _newest(
    tx: Connection, version_ids: Collection[VersionId]
) -> dict[tuple[VersionId, str], tuple[datetime, str]]:
    """Return when each detector's newest window ended, and what its score said."""
    if not version_ids:
        return {}
    query = sa.select(
        latest_scores.c.version_id,
        latest_scores.c.detector,
        latest_scores.c.at,
        latest_scores.c.verdict,
    ).where(latest_scores.c.version_id.in_(version_ids))
    return {(VersionId(row[0]), row[1]): (row[2], row[3]) for row in tx.execute(query)}


def _repeats(row: ScoreRow, before: tuple[datetime, str] | None) -> bool:
    """True if a stable score follows a stable one of the same quarter of an hour."""
    stable = VerdictKind.STABLE.value
    if before is None or row.verdict != stable or before[1] != stable:
        return False
    return before[0].timestamp() // STEP.total_seconds() >= (
        row.window.end.timestamp() // STEP.total_seconds()
    )


_APPEND: Final = sa.insert(scores).returning(scores.c.version_id)  # so that it is one statement
_UPSERT: Final = insert(latest_scores)
_MOVE_ON: Final = _UPSERT.on_conflict_do_update(
    index_elements=["version_id", "detector"],
    set_={
        column.name: column
        for column in _UPSERT.excluded
        if column.name not in {"version_id", "detector"}
    },
    where=latest_scores.c.at <= _UPSERT.excluded["at"],
).returning(latest_scores.c.version_id)


def put_unmeasured(tx: Connection, version_id: VersionId, *, detector: str, reason: str) -> None:
    """Let a detector's newest score say ``unmeasured`` in place of ``stable``, and why.

    Its numbers stay, and its history says what was found when it was made.
    """
    tx.execute(
        sa.update(latest_scores)
        .where(
            latest_scores.c.version_id == version_id,
            latest_scores.c.detector == detector,
            latest_scores.c.verdict.in_([VerdictKind.STABLE.value, UNMEASURED]),
        )
        .values(verdict=UNMEASURED, reason=reason)
    )


def _values(row: ScoreRow) -> dict[str, Any]:
    window, details = row.window, finite(row.details)
    return stored(scores, row, at=window.end, window_start=window.start, details=details)


def latest_scores_of(tx: Connection, *, adapter_id: AdapterId | None = None) -> list[ScoreRow]:
    """Newest score of each (version, detector), of one adapter or of all."""
    query = named(latest_scores)
    if adapter_id is not None:
        query = query.where(versions.c.adapter_id == adapter_id)
    return [_score_row(row) for row in tx.execute(query).mappings()]


def scores_at(
    tx: Connection, *, version_id: VersionId, since: datetime, until: datetime
) -> list[ScoreRow]:
    """Newest score of each detector among windows that ended in ``(since, until]``."""
    query = (
        named(scores)
        .ext(distinct_on(scores.c.detector))
        .where(scores.c.version_id == version_id, scores.c.at > since, scores.c.at <= until)
        .order_by(scores.c.detector, scores.c.at.desc())
    )
    return [_score_row(row) for row in tx.execute(query).mappings()]


FIRST_LOOK: Final = timedelta(minutes=15)
"""How far back a history is read first; it goes on in pieces of twice the length each."""


def score_history(
    tx: Connection,
    *,
    adapter_id: AdapterId | None = None,
    since: datetime,
    until: datetime,
    detector: str | None = None,
    version_id: VersionId | None = None,
    before: tuple[datetime, str, int] | None = None,
    limit: int = 500,
) -> list[ScoreRow]:
    """Scores of windows that ended in ``[since, until)``, newest first, of an adapter or of all.

    ``before`` is the cursor: (end, detector, version id) of the last row seen. A short page costs
    little, however long the span and however many the adapters.
    """
    wanted = [
        column == value
        for column, value in (
            (versions.c.adapter_id, adapter_id),
            (latest_scores.c.version_id, version_id),
            (latest_scores.c.detector, detector),
        )
        if value is not None
    ]
    query = _histories(wanted)
    until = min(until, _end(tx, wanted) or since)
    if before is not None:
        key = sa.tuple_(scores.c.at, scores.c.detector, scores.c.version_id)
        query = query.where(key < sa.tuple_(*(sa.literal(part) for part in before)))
        until = min(until, before[0] + timedelta.resolution)
    found: list[ScoreRow] = []
    length = FIRST_LOOK
    while since < until and len(found) < limit:
        start = until - min(length, until - since)
        piece = query.where(scores.c.at >= start, scores.c.at < until).limit(limit - len(found))
        found += map(_score_row, tx.execute(piece).mappings())
        until, length = start, length * 2
    return found


def _histories(wanted: Sequence[sa.ColumnElement[bool]]) -> sa.Select[Any]:
    """Select scores, newest first; the key finds a time only by version and detector."""
    same = (latest_scores.c.version_id == scores.c.version_id) & (
        latest_scores.c.detector == scores.c.detector
    )
    newest_first = (scores.c.at.desc(), scores.c.detector.desc(), scores.c.version_id.desc())
    return named(scores).join(latest_scores, same).where(*wanted).order_by(*newest_first)


def _end(tx: Connection, wanted: Sequence[sa.ColumnElement[bool]]) -> datetime | None:
    """Return a moment past the newest score; None if there is none."""
    query = sa.select(sa.func.max(latest_scores.c.at)).join(
        versions, versions.c.id == latest_scores.c.version_id
    )
    newest: datetime | None = tx.execute(query.where(*wanted)).scalar_one()
    return newest and newest + timedelta.resolution


def scores_by_evaluation(
    tx: Connection, rows: Sequence[EvaluationRow]
) -> dict[EvaluationId, list[ScoreRow]]:
    """Return the scores that each evaluation wrote, by detector, in one statement."""
    found: dict[EvaluationId, list[ScoreRow]] = {row.id: [] for row in rows}
    if not rows:
        return found
    wrote = (evaluations.c.id == scores.c.evaluation_id) & (
        evaluations.c.version_id == scores.c.version_id
    )
    query = named(scores).join(evaluations, wrote & (evaluations.c.window_end == scores.c.at))
    ends = [row.window.end for row in rows]  # bounded in time: a plan opens no other partition
    wanted = query.where(evaluations.c.id.in_(found), scores.c.at.between(min(ends), max(ends)))
    for row in tx.execute(wanted.order_by(scores.c.detector)).mappings():
        score = _score_row(row)
        found[score.evaluation_id].append(score)
    return found


def evaluation_history(
    tx: Connection,
    *,
    adapter_id: AdapterId,
    version_id: VersionId | None = None,
    since: datetime | None = None,
    before_id: int | None = None,
    limit: int = 100,
) -> list[EvaluationRow]:
    """Evaluations of an adapter's versions that started at or after ``since``, newest first."""
    query = named(evaluations).where(evaluations.c.adapter_id == adapter_id)
    if version_id is not None:
        query = query.where(evaluations.c.version_id == version_id)
    if since is not None:
        query = query.where(evaluations.c.started_at >= since)
    if before_id is not None:
        query = query.where(evaluations.c.id < before_id)
    found = tx.execute(query.order_by(evaluations.c.id.desc()).limit(limit)).mappings()
    return [_evaluation_row(row) for row in found]


def evaluation_after(
    tx: Connection, *, version_id: VersionId, kind: EvaluationKind, started: datetime
) -> EvaluationRow | None:
    """Newest evaluation of this kind that began at or after ``started``."""
    query = (
        named(evaluations)
        .where(
            evaluations.c.version_id == version_id,
            evaluations.c.kind == kind.value,
            evaluations.c.started_at >= started,
            evaluations.c.state != "skipped",
        )
        .order_by(evaluations.c.id.desc())
        .limit(1)
    )
    row = tx.execute(query).mappings().first()
    return None if row is None else _evaluation_row(row)


def _score_row(row: RowMapping) -> ScoreRow:
    return shaped(ScoreRow, row, window=Interval(start=row["window_start"], end=row["at"]))


def _evaluation_row(row: RowMapping) -> EvaluationRow:
    return shaped(
        EvaluationRow,
        row,
        kind=EvaluationKind(row["kind"]),
        window=Interval(start=row["window_start"], end=row["window_end"]),
        coverage=_coverage(row["coverage"]),
    )


def _coverage(body: Sequence[Any] | None) -> tuple[Coverage, ...]:
    return tuple(map(unpacked, body or ()))

"""Scores and evaluations as people see them."""

from __future__ import annotations

import math
from collections.abc import Sequence

from sqlalchemy import Connection

from alerts.types import Blame, VerdictKind
from detectors.words import name_words
from monitor.domain import Version
from monitor.evaluate.newness import Group, Newness
from monitor.policy.coverage import from_json
from monitor.store.evaluation import evaluations
from monitor.store.evaluation.evaluations import EvaluationRow, ScoreRow
from monitor.views.reading import coverage
from monitor.views.score import (
    EvaluationBody,
    GroupBody,
    GrowthBody,
    NeighbourBody,
    NewBody,
    ScoreBody,
    WindowBody,
)


def number(value: float | None) -> float | None:
    """Give None for what JSON has no number for."""
    return value if value is not None and math.isfinite(value) else None


def score(row: ScoreRow) -> ScoreBody:
    """Write a score; ``evidence`` is the page process, the notice process is in ``details``.

    Where another adapter's weights answered, the reason ends with its name, if the reader sees it.
    """
    covered = row.details.get("coverage")
    sibling = (row.details.get("identity") or {}).get("sibling")
    return ScoreBody.of(
        row,
        title=name_words(row.detector),
        window=WindowBody.of(row.window),
        value=number(row.value),
        evidence=number(row.evidence_page),
        effect=number(row.effect),
        interval=(number(row.effect_low), number(row.effect_high)),
        minimum_detectable=number(row.minimum_detectable),
        blame=Blame(row.blame),
        reason=row.reason if sibling is None else f"{row.reason}; the other adapter: {sibling}",
        details={
            **{name: value for name, value in row.details.items() if name != "coverage"},
            "evidence_notice": number(row.evidence_notice),
            "winner": row.winner,
        },
        coverage=covered and coverage.body(from_json(covered), since={}),
    )


def written(tx: Connection, rows: Sequence[EvaluationRow]) -> list[EvaluationBody]:
    """Write evaluations with the scores they wrote."""
    scores = evaluations.scores_by_evaluation(tx, rows)
    return [
        EvaluationBody.of(
            row,
            evaluation=row.id,
            window=WindowBody.of(row.window),
            verdict=row.verdict and VerdictKind(row.verdict),
            coverage=coverage.bodies(row.coverage),
            scores=[score(one) for one in scores[row.id]],
        )
        for row in rows
    ]


def new(version: Version, found: Newness) -> NewBody:
    """Write what is new about a version."""
    return NewBody.of(
        found,
        adapter=version.adapter,
        version=version.name,
        window=WindowBody(start=found.since, end=found.until),
        groups=[_group(group) for group in found.groups],
    )


def _group(group: Group) -> GroupBody:
    growth = group.growth
    return GroupBody.of(
        group,
        growth=growth
        and GrowthBody(
            ratio=number(growth.ratio), interval=(growth.interval[0], number(growth.interval[1]))
        ),
        neighbours=[NeighbourBody.of(one) for one in group.neighbours],
    )

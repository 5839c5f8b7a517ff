"""The findings of a replay, as data for the terminal, for JSON and for the chart."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import numpy as np

import alerts.types as words
from alerts.types import VerdictKind
from detectors import DETECTORS
from detectors.signals import PROMPT, RecordPart, main_signal
from detectors.types import Process
from monitor.domain import Reference, Verdict
from monitor.evaluate.findings import Finding
from monitor.replay.log import Log
from monitor.replay.reference import Frozen
from monitor.replay.running import Crossed, Evaluation, Run, VerdictChange

HORIZON_DAYS: Final = 30.0
SHORTEST_SCALED: Final = 1.0
"""Days of log below which nothing is scaled to a month."""
_WORST: Final = (VerdictKind.CRITICAL, VerdictKind.DRIFTING, VerdictKind.BLIND)
_MOST_POINTS: Final = 1_500


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplayedTraffic:
    """The replayed records of one version."""

    records: int
    first_at: datetime
    last_at: datetime
    days: float
    other_settings: int
    """Records left out: the baseline has none with their settings."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """The number of records with the data that some detectors need.

    ``blind`` detectors can compare nothing else in this log; ``partial`` ones can.
    """

    name: str
    measured: int
    advice: str
    blind: tuple[str, ...]
    partial: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Point:
    """One window of a detector, for the chart; None means "no evidence at all"."""

    at: datetime
    value: float | None
    notice: float | None
    page: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class DetectorStory:
    """One detector over the whole log.

    ``notice`` and ``page`` are its first crossings; ``crossings`` counts all. ``absent``
    says why it could not be tested. ``highest`` is the largest notice evidence.
    """

    name: str
    absent: str | None
    notice: Crossed | None = None
    page: Crossed | None = None
    crossings: int = 0
    highest: float | None = None
    value: float | None = None
    detectable: float | None = None
    points: Sequence[Point] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetLine:
    """The messages that one budget would have sent in this log, also scaled to 30 days."""

    budget: float
    tickets: int
    pages: int
    days: float

    def monthly(self, count: int) -> float | None:
        """Scale to 30 days; None for a log of less than a day."""
        return count * HORIZON_DAYS / self.days if self.days >= SHORTEST_SCALED else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Story:
    """One version's replay.

    ``held_out`` and ``n_other_strata`` are those of the frozen reference; ``budget`` is the
    budget behind the verdicts.
    """

    label: str
    traffic: ReplayedTraffic
    reference: Reference
    held_out: bool
    n_other_strata: int
    sources: Sequence[Source]
    detectors: Sequence[DetectorStory]
    changes: Sequence[VerdictChange]
    budget: BudgetLine
    budgets: Sequence[BudgetLine]
    verdict: Verdict | None
    examples: Sequence[str] = ()

    @property
    def worst(self) -> VerdictKind:
        """The worst verdict that the log led to."""
        seen = {change.after.kind for change in self.changes}
        return next((kind for kind in _WORST if kind in seen), self._last)

    @property
    def _last(self) -> VerdictKind:
        return VerdictKind.LEARNING if self.verdict is None else self.verdict.kind


def traffic_of(log: Log) -> ReplayedTraffic:
    """Summarise the records."""
    return ReplayedTraffic(
        records=len(log),
        first_at=log.first_at,
        last_at=log.last_at,
        days=log.days,
        other_settings=log.other_settings,
    )


def sources_of(log: Log, frozen: Frozen, *, prompts: bool) -> list[Source]:
    """Count the records that carried each kind of data that detectors need.

    Without ``prompts`` no prompts were read, and they are left out.
    """
    counts = {name: int((~np.isnan(values)).sum()) for name, values in log.signals.items()}
    absent = frozen.calibrated.absent
    seeing = {
        d.name
        for d in DETECTORS.values()
        if d.name not in absent and any(map(counts.get, d.signals))
    }
    users: dict[RecordPart, list[str]] = {}
    for detector in DETECTORS.values():
        signal = main_signal(detector)
        if signal is not None and signal.part is not None:
            users.setdefault(signal.part, []).append(detector.name)
    return [
        _source(part, counts[part.shown_by], names, seeing)
        for part, names in users.items()
        if prompts or part is not PROMPT
    ]


def _source(
    part: RecordPart, measured: int, users: Sequence[str], seeing: Collection[str]
) -> Source:
    return Source(
        name=part.name,
        measured=measured,
        advice=part.advice,
        blind=tuple(one for one in users if one not in seeing),
        partial=tuple(one for one in users if one in seeing),
    )


def detectors_of(run: Run, frozen: Frozen, names: Sequence[str]) -> list[DetectorStory]:
    """Return each detector's story."""
    absent = frozen.calibrated.absent
    return [
        DetectorStory(name=name, absent=absent[name])
        if name in absent
        else _detector(name, run, [e for e in run.evaluations if _found(e, name) is not None])
        for name in names
    ]


def budget_line(run: Run, budget: float, *, days: float) -> BudgetLine:
    """Count the messages of a run."""
    pages = sum(tell.severity is words.Severity.PAGE for tell in run.tells)
    return BudgetLine(budget=budget, tickets=len(run.tells) - pages, pages=pages, days=days)


def _detector(name: str, run: Run, looked: Sequence[Evaluation]) -> DetectorStory:
    own = [one for one in run.crossed if one.crossing.detector == name]
    points = [_point(one, finding) for one in looked if (finding := _found(one, name))]
    scores = [f.score for one in looked if (f := _found(one, name)) and f.score]
    detectable = [s.minimum_detectable for s in scores if s.n_window]
    notices = [point.notice for point in points if point.notice is not None]
    values = [point.value for point in points if point.value is not None]
    return DetectorStory(
        name=name,
        absent=None,
        notice=_first(own, Process.NOTICE),
        page=_first(own, Process.PAGE),
        crossings=len(own),
        highest=max(notices, default=None),
        value=values[-1] if values else None,
        detectable=_finite(float(np.median(detectable))) if detectable else None,
        points=_thinned(points),
    )


def _first(crossed: Sequence[Crossed], process: Process) -> Crossed | None:
    return next((one for one in crossed if one.crossing.process is process), None)


def _found(evaluation: Evaluation, name: str) -> Finding | None:
    return next((f for f in evaluation.findings if f.detector == name), None)


def _point(evaluation: Evaluation, finding: Finding) -> Point:
    score = finding.score
    if score is None:
        return Point(at=evaluation.at, value=None, notice=None, page=None)
    return Point(
        at=evaluation.at,
        value=_finite(score.value),
        notice=_finite(score.evidence_notice),
        page=_finite(score.evidence_page),
    )


def _thinned(points: Sequence[Point]) -> list[Point]:
    """Keep the highest point of each stretch: a chart of a month of minutes shows no more."""
    step = -(-len(points) // _MOST_POINTS) or 1
    return [max(points[begin : begin + step], key=_height) for begin in range(0, len(points), step)]


def _height(point: Point) -> float:
    return max(-np.inf if one is None else one for one in (point.notice, point.page))


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None

"""One detector on one window: its score, its effects and whether its evidence fell. Pure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any, Protocol

import numpy as np
import structlog

from detectors import evidence
from detectors.detector import Detector
from detectors.mixed import effect_mixed, score_mixed
from detectors.profile import DetectorSide
from detectors.types import Budget, Effect, Floats, Process, Score, State, Window
from monitor.domain import Interval
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import DetectorFact, Memory
from monitor.policy.facts import Increment

_LOG = structlog.get_logger(__name__)

FALLEN_NATS = -1.0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Finding:
    """One detector's result: ``score`` and ``state`` for the store, ``fact`` for the rules."""

    detector: str
    score: Score | None
    state: State | None
    fact: DetectorFact


class Lookback(Protocol):
    """The history before a window; read only where it is needed."""

    @property
    def recent(self) -> Window:
        """Newest records up to now, over at most the effect window."""
        ...

    @property
    def recent_beside(self) -> Sequence[Window]:
        """The newest records to compare with each reference beside the one in force."""
        ...

    @property
    def feedback(self) -> Window:
        """Feedback that came within the effect window, on records of any age."""
        ...

    def past(self, detector: str) -> Sequence[Increment]:
        """Increments of this reference's windows of the last 7 days, oldest first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BesideReference:
    """A reference beside the one in force, and the part of the window compared with it.

    ``number`` is its place among the references beside.
    """

    number: int
    reference: Any
    window: Window
    young: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class DetectorQuestion:
    """The input of one detector.

    ``lookback`` is read only where it is needed: hard signals are looked at every minute,
    and rarely need it.
    """

    detector: Detector[Any]
    reference: Any
    window: Window
    state: State
    budget: Budget
    memory: Memory
    lookback: Lookback
    beside: Sequence[BesideReference] = ()

    def newest(self, since: float | None = None) -> list[tuple[Any, Window]]:
        """Return the newest records, each with the reference it is compared with."""
        of_feedback = self.detector.profile.side is DetectorSide.FEEDBACK
        own = self.lookback.feedback if of_feedback else self.lookback.recent
        found = [(self.reference, own)]
        if self.beside:
            windows = self.lookback.recent_beside
            found += [(part.reference, windows[part.number]) for part in self.beside]
        if since is None:
            return found
        return [(reference, _from(window, since)) for reference, window in found]


def find(question: DetectorQuestion, settings: EvaluateSettings) -> Finding:
    """Score the window and gather the facts for the rules."""
    score, state = score_mixed(
        question.detector,
        [
            (question.reference, question.window),
            *((part.reference, part.window) for part in question.beside),
        ],
        question.state,
        question.budget,
    )
    return gather(question, score, state, settings=settings)


def gather(
    question: DetectorQuestion,
    score: Score,
    state: State,
    *,
    settings: EvaluateSettings,
    shown: bool = True,
) -> Finding:
    """Add onset, effects and recovery to a scored window where its evidence needs them.

    Without ``shown`` the score's value stays the window's own: verdicts do not need it.
    """
    detector = question.detector
    fact = DetectorFact(
        detector=detector.name,
        hard=detector.hard,
        model_side=detector.profile.side.moves_traffic,
        margin=settings.margins.of(detector.scale),
        evidence_notice=score.evidence_notice,
        evidence_page=score.evidence_page,
        winner=score.winner,
        textbook=_textbook(question, score),
    )
    crossed = fact.evidence_notice >= 0 or fact.evidence_page >= 0
    if crossed or any(c.detector == fact.detector for c in question.memory.crossings):
        fact = _looked_into(question, score, fact, settings)
        score = _over_a_day(question, score) if shown else score
    elif shown and not detector.hard:
        score = _over_a_day(question, score)
    return Finding(detector=detector.name, score=score, state=state, fact=fact)


def beside_answers(
    findings: Sequence[Finding], questions: Sequence[DetectorQuestion]
) -> list[Finding]:
    """Measure how far requests have moved since answers did, before requests cross a line.

    Blame needs no budget: the effect shows whether other requests came with other answers.
    """
    began = [
        finding.fact.onset.end
        for finding in findings
        if finding.fact.onset is not None and finding.fact.model_side
    ]
    if not began:
        return list(findings)
    since = min(began).timestamp()
    return [
        _since(finding, question, since)
        if question.detector.profile.side is DetectorSide.REQUESTS and finding.fact.onset is None
        else finding
        for finding, question in zip(findings, questions, strict=True)
    ]


def _since(finding: Finding, question: DetectorQuestion, since: float) -> Finding:
    if finding.fact.error is not None:
        return finding
    try:
        found = effect_mixed(question.detector, question.newest(since)).worst
    except Exception:  # noqa: BLE001 (one detector of many: the others are judged without it)
        _LOG.exception("detector_failed", detector=finding.detector)
        return finding
    return replace(finding, fact=replace(finding.fact, effect=_known(found)))


def failed(detector: Detector[Any], error: Exception, settings: EvaluateSettings) -> Finding:
    """Report a detector that raised as that detector's own error."""
    return Finding(
        detector=detector.name,
        score=None,
        state=None,
        fact=DetectorFact(
            detector=detector.name,
            hard=detector.hard,
            model_side=detector.profile.side.moves_traffic,
            margin=settings.margins.of(detector.scale),
            evidence_notice=-np.inf,
            evidence_page=-np.inf,
            error=f"{type(error).__name__}: {error}"[:500],
        ),
    )


def _textbook(question: DetectorQuestion, score: Score) -> float | None:
    """Return the value that the preset `classic` compares in this window, or None if absent."""
    threshold = question.detector.profile.threshold
    if threshold is None or threshold.value is None:
        return None
    return threshold.value(question.window, score)


def _looked_into(
    question: DetectorQuestion, score: Score, fact: DetectorFact, settings: EvaluateSettings
) -> DetectorFact:
    # values from before the recovery began must not delay it
    begin = _time(question.window.end) - settings.policy.recovery_window
    lately = question.newest(begin.timestamp())
    past = question.lookback.past(fact.detector)
    known = [c.onset for c in question.memory.crossings if c.detector == fact.detector]
    onset = known[0] if known else _onset(question, score, past)
    since_onset = effect_mixed(question.detector, question.newest(onset.end.timestamp()))
    return replace(
        fact,
        onset=onset,
        effect=_known(since_onset.worst),
        acts=not (since_onset.part and question.beside[since_onset.part - 1].young),
        recent=_known(effect_mixed(question.detector, lately).highest),
        fell_notice=_fell(question, score, Process.NOTICE, past, settings),
        fell_page=_fell(question, score, Process.PAGE, past, settings),
    )


def _onset(question: DetectorQuestion, score: Score, past: Sequence[Increment]) -> Interval:
    """Return the earliest and latest onset that the winner's increments allow."""
    process = Process.PAGE if score.evidence_page >= 0 else Process.NOTICE
    starts = [i.window_start.timestamp() for i in past if process in i.by_process]
    parts = [i.by_process[process] for i in past if process in i.by_process]
    if process in score.increments:
        starts.append(question.window.start)
        parts.append(score.increments[process])
    names = question.detector.names(question.reference)
    column = names.index(score.winner) if score.winner in names else 0
    found = evidence.onset(np.array(starts), np.stack(parts), column) if parts else None
    if found is None:
        return Interval(start=_time(question.window.start), end=_time(question.window.start))
    return Interval(start=_time(found.earliest), end=_time(max(found.at, found.earliest)))


def _known(found: Effect) -> Effect | None:
    return found if np.isfinite(found.value) else None


def _from(window: Window, start: float) -> Window:
    # a window's end after the start is that of a window from the start on
    kept = window.at >= start if window.entered is None else window.entered > start
    return Window(
        start=start,
        end=max(start, window.end),
        at=window.at[kept],
        signals={name: values[kept] for name, values in window.signals.items()},
        subjects=None if window.subjects is None else window.subjects[kept],
        entered=None if window.entered is None else window.entered[kept],
    )


def _fell(
    question: DetectorQuestion,
    score: Score,
    process: Process,
    past: Sequence[Increment],
    settings: EvaluateSettings,
) -> bool:
    """Whether the crossed score's evidence fell over the recovery window.

    The window reaches back ``recovery_window``, or further if it holds fewer records than
    ``recovery_records``. A history shorter than that has not recovered yet.
    """
    crossing = question.memory.crossing(question.detector.name, process)
    names = question.detector.names(question.reference)
    if crossing is None or crossing.winner not in names:
        return False
    parts = _recovery_parts(question, score, process, past, settings)
    if parts is None:
        return False
    sums = evidence.recovery_sums(np.stack(parts), names.index(crossing.winner))
    return bool((sums < FALLEN_NATS).all())


def _recovery_parts(
    question: DetectorQuestion,
    score: Score,
    process: Process,
    past: Sequence[Increment],
    settings: EvaluateSettings,
) -> list[Floats] | None:
    parts, units = [], 0
    if process in score.increments:
        parts, units = [score.increments[process]], score.n_window
    begin = question.window.end - settings.policy.recovery_window.total_seconds()
    for window in reversed(past):
        long_enough = window.window_start.timestamp() < begin
        if long_enough and units >= settings.policy.recovery_records:
            return parts
        if process in window.by_process:
            parts.append(window.by_process[process])
            units += window.n_units
    enough = units >= settings.policy.recovery_records
    reaches = bool(past) and past[0].window_start.timestamp() <= begin
    return parts if parts and enough and reaches else None


def _over_a_day(question: DetectorQuestion, score: Score) -> Score:
    """Return the score over the newest 24 h, for display: one window of 40 records is noisy."""
    found = effect_mixed(question.detector, question.newest()).worst
    if not np.isfinite(found.value):
        return score
    details = {**score.details, "shown_over_records": found.n}
    return replace(
        score,
        value=found.shown,
        effect=found.value,
        interval=(found.lo, found.hi),
        details=details,
    )


def _time(seconds: float) -> datetime:
    return datetime.fromtimestamp(seconds, tz=UTC)

"""The findings of evaluations, written in one transaction guarded by the claims' epochs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from alerts.types import VerdictKind
from detectors.feedback import FEEDBACK
from detectors.types import Score
from monitor.domain import (
    EvaluationId,
    EvaluationKind,
    Unread,
    VerdictSeverity,
    Version,
    VersionId,
)
from monitor.evaluate.company import others_on_the_base
from monitor.evaluate.evaluated import Evaluated
from monitor.evaluate.explain import Explained, explain
from monitor.evaluate.message import Messages, News
from monitor.evaluate.read import Look
from monitor.evaluate.turn import Turn, turn
from monitor.policy import (
    ActionEvidence,
    Judgement,
    Memory,
    PolicySettings,
    detector_reason,
    unmeasured,
)
from monitor.policy.coverage import Coverage, to_json
from monitor.policy.crossings import QUARANTINE_AFTER
from monitor.store import clock, partitions
from monitor.store.evaluation import coverage_days, evaluations, processes, tasks, verdicts
from monitor.store.evaluation.evaluations import NewEvaluation, ScoreRow
from monitor.store.evaluation.processes import Watched
from monitor.store.evaluation.tasks import Finished, StaleLease
from monitor.store.evaluation.verdicts import NewVerdict, VerdictRow
from monitor.store.records import feedback

PERPLEXITY: Final = EvaluationKind.PERPLEXITY.value
"""Name under which the perplexity evaluation's score is stored."""


React = Callable[[Connection, Sequence[tuple[Version, ActionEvidence, datetime]]], None]
"""Asks for decisions about versions' traffic."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookedAt:
    """A claimed window and what was found in it."""

    look: Look
    evaluated: Evaluated


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """The rules by which an evaluation is judged, and the ways people are told and traffic moves.

    Versions on one base that move within ``cycle`` of each other move together.
    """

    settings: PolicySettings
    tell: Messages
    react: React
    cycle: timedelta


class Unexplained(Exception):  # noqa: N818 (named as what it is)
    """The judgement is not the one that was explained beforehand; nothing was written."""


def foresee(tx: Connection, *, evaluated: Evaluated, how: How) -> Explained:
    """Explain the judgement that :func:`commit` will probably reach, without any lock."""
    before = verdicts.current(tx, version_id=evaluated.reading.version.id)
    found = _judged(tx, evaluated, before, how, at=clock.now(tx), hold=False)
    if not found.judgement.verdict.detectors or not how.tell.news(tx, evaluated, found).fresh:
        return Explained()
    return explain(tx, evaluated.reading, found.judgement, examples=how.tell.examples)


def commit(
    tx: Connection, several: Sequence[LookedAt], *, explained: Explained | None, how: How
) -> dict[VersionId, Turn | None]:
    """Judge windows and write the results; None: this window was already evaluated.

    The verdicts' rows are locked before judging. Two kinds of evaluation of one version therefore
    judge one after the other, each from the memory that the other left. The rows are also locked
    before the tasks, because a suspicion found here makes another kind's task due: a daemon that
    held that task and waited for the verdict would wait for ever.

    ``explained`` belongs to a version alone. With None, several versions are written together:
    those of which there is nothing to tell. The others are not in the answer, and nothing of them
    is written: what they need may lock a base, or a version's incidents.

    Raises
    ------
    StaleLease
        Another daemon took the task of a version alone over.
    Unexplained
        The judgement differs from the one that was explained beforehand.
    """
    claims = [one.look.claim for one in several]
    before = verdicts.claim_rows(tx, {claim.version_id: claim.adapter_id for claim in claims})
    times = tasks.guard_all(tx, claims)
    held = [one for one in several if one.look.claim.task_id in times]
    if explained is None:
        judged = [
            Judged(
                looked=one,
                found=_judged(tx, one.evaluated, before.get(of), how, at=times[task_id], hold=None),
            )
            for one in held
            for of, task_id in [(one.look.claim.version_id, one.look.claim.task_id)]
        ]
        judged = _uneventful(tx, judged, how)
        return _written(tx, judged, how) if judged else {}
    if not held:
        raise StaleLease(f"task {claims[0].task_id} epoch {claims[0].epoch}")
    [one], [at] = held, times.values()
    found = _judged(tx, one.evaluated, before.get(claims[0].version_id), how, at=at, hold=True)
    return _written(tx, [Judged(looked=one, found=found)], how, explained=explained)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Judged:
    """A window that was looked at, and the turn that its version takes."""

    looked: LookedAt
    found: Turn

    @property
    def key(self) -> tuple[VersionId, datetime]:
        """The version, and the end of the window."""
        return self.looked.look.claim.version_id, self.looked.look.window.end

    @property
    def coverage(self) -> tuple[Coverage, ...]:
        """Return the coverage; empty for a window without requests, and for a probe."""
        compared = self.found.facts.covered
        return tuple(compared.by_detector.values()) if compared and compared.requests else ()

    @property
    def compared(self) -> Watched | None:
        """The version with its reference, if it has one."""
        calibrated = self.looked.evaluated.reading.calibrated
        return None if calibrated is None else (self.key[0], calibrated.reference.id)


def _uneventful(tx: Connection, judged: Sequence[Judged], how: How) -> list[Judged]:
    """Keep those that write nothing but rows of their own."""
    quiet = how.tell.uneventful(tx, [(one.looked.evaluated, one.found) for one in judged])
    return [
        one
        for one in judged
        for judgement in [one.found.judgement]
        if one.key[0] in quiet
        and not judgement.action.allowed
        and not judgement.wants_probe
        and judgement.memory.unmeasured_since is None
    ]


def _written(
    tx: Connection, judged: Sequence[Judged], how: How, *, explained: Explained | None = None
) -> dict[VersionId, Turn | None]:
    """Write what was judged; with ``explained``, tell of it too."""
    partitions.ensure(tx, {one.key[1].date() for one in judged}, tables=("scores", "increments"))
    ids = evaluations.add(tx, [_new_evaluation(one) for one in judged])
    new = [one for one in judged if one.key in ids]
    news: dict[VersionId, News] = {}
    if explained is not None:
        for one in new:
            evaluated = one.looked.evaluated
            told = news[one.key[0]] = how.tell.news(tx, evaluated, one.found)
            if told.fresh and not explained.answers(one.found.judgement):
                raise Unexplained(evaluated.reading.version.label)
    coverage_days.add(
        tx,
        {
            (one.key[0], one.key[1].astimezone(UTC).date()): one.coverage
            for one in new
            if one.coverage
        },
    )
    evaluations.add(tx, [skipped for one in new for skipped in _skipped(one.looked.look)])
    evaluations.put_scores(tx, [row for one in new for row in _score_rows(one, ids[one.key])])
    compared = {of: one.found for one in new if (of := one.compared) is not None}
    processes.put_states(tx, {of: found.states for of, found in compared.items()})
    processes.put_increments(tx, {of: found.increments for of, found in compared.items()})
    for one in new:
        version_id, end = one.key
        feedback.mark(
            tx, _read_feedback(one.looked.evaluated), version_id=version_id, window_end=end
        )
    verdicts.put_all(tx, [_new_verdict(one) for one in new])
    for one in new:
        if explained is not None:
            _tell(tx, one, ids[one.key], how, news=news[one.key[0]], explained=explained)
    tasks.finish(tx, [_finished(one, written=one.key in ids) for one in judged])
    if new:
        how.react(
            tx,
            [
                (
                    one.looked.evaluated.reading.version,
                    one.found.judgement.action,
                    one.found.facts.at,
                )
                for one in new
            ],
        )
    return {one.key[0]: one.found if one.key in ids else None for one in judged}


def _tell(
    tx: Connection,
    one: Judged,
    evaluation_id: EvaluationId,
    how: How,
    *,
    news: News,
    explained: Explained,
) -> None:
    """Tell of a version's judgement, and ask for the probe that it needs."""
    evaluated, found, judgement = one.looked.evaluated, one.found, one.found.judgement
    transition_id = None
    if found.transition is not None:
        transition_id = verdicts.add_transition(tx, found.transition, evaluation_id=evaluation_id)
    how.tell.tell(tx, evaluated, found, news, explained, transition_id=transition_id)
    version_id, since = one.key[0], judgement.memory.unmeasured_since
    if since is not None and found.facts.probe_available:
        # the newest perplexity score no longer holds: a suspicion came after it
        reason = unmeasured(since, found.facts.probe_stopped)
        evaluations.put_unmeasured(tx, version_id, detector=PERPLEXITY, reason=reason)
    if judgement.wants_probe and found.facts.probe_available:
        tasks.request(tx, version_id=version_id, kinds=[EvaluationKind.PERPLEXITY])


def _judged(
    tx: Connection,
    evaluated: Evaluated,
    before: VerdictRow | None,
    how: How,
    *,
    at: datetime,
    hold: bool | None,
) -> Turn:
    """Judge the findings by the verdict in force, and by others on the base where they matter.

    ``hold`` locks the base, so that no other process judges on it until the transaction
    ends. With None no others are read: they matter to no version that is quiet.
    """
    taken = partial(
        turn,
        evaluated.reading,
        before.memory if before else Memory(),
        findings=evaluated.findings,
        settings=how.settings,
    )
    # a finding begins when it is reported: its probe may have taken minutes
    facts = replace(evaluated.facts, at=at)
    found, version = taken(facts), evaluated.reading.version
    if hold is None:
        return found
    fleet = others_on_the_base(tx, version, found.judgement, cycle=how.cycle, hold=hold)
    return found if fleet is None else taken(replace(facts, fleet=fleet))


def _new_evaluation(one: Judged) -> NewEvaluation:
    look, reading = one.looked.look, one.looked.evaluated.reading
    verdict = one.found.judgement.verdict
    return NewEvaluation(
        adapter_id=look.claim.adapter_id,
        version_id=look.claim.version_id,
        kind=look.claim.kind,
        window=look.window,
        state="done",
        epoch=look.claim.epoch,
        started_at=look.claim.now,
        reference_id=reading.calibrated.reference.id if reading.calibrated else None,
        n_records=len(reading.window),
        n_late=reading.requests.late,
        verdict=verdict.kind.value,
        reason=verdict.reason,
        coverage=one.coverage,
    )


def _new_verdict(one: Judged) -> NewVerdict:
    judgement, live = one.found.judgement, one.looked.look.claim.kind is EvaluationKind.LIVE
    return NewVerdict(
        version_id=one.key[0],
        verdict=judgement.verdict,
        memory=judgement.memory,
        size=_effect_size(one.looked.evaluated) if live else None,
    )


def _finished(one: Judged, *, written: bool) -> Finished:
    look, verdict = one.looked.look, one.found.judgement.verdict
    returns = (
        one.looked.evaluated.reading.returns_by_probes or verdict.severity is VerdictSeverity.PAGE
    )
    return Finished(
        claim=look.claim,
        next_due=look.planned.next_due,
        next_start=look.window.end,
        # its next probe goes first among those due, because it brings the version back
        first=written and returns and look.claim.kind is EvaluationKind.PERPLEXITY,
        judged=written,
    )


def _skipped(look: Look) -> Iterator[NewEvaluation]:
    """Note the windows missed: a day of downtime gives a hard signal a thousand."""
    for window in look.planned.skipped:
        yield NewEvaluation(
            adapter_id=look.claim.adapter_id,
            version_id=look.claim.version_id,
            kind=look.claim.kind,
            window=window,
            state="skipped",
            epoch=look.claim.epoch,
            started_at=look.claim.now,
            reason="downtime: only the newest window is evaluated",
        )


def _score_rows(one: Judged, evaluation_id: EvaluationId) -> list[ScoreRow]:
    # skip a hard signal's empty minutes: each would be a row without information
    evaluated, hard = one.looked.evaluated, one.looked.look.claim.kind is EvaluationKind.HARD
    measured = {
        f.detector: f.score
        for f in evaluated.findings
        if f.score is not None and not (hard and f.score.n_window == 0)
    }
    return [
        _score_row(evaluated, one.found, evaluation_id, detector=name, score=score)
        for name, score in (measured | dict(evaluated.scores)).items()
    ]


def _score_row(
    evaluated: Evaluated,
    found: Turn,
    evaluation_id: EvaluationId,
    *,
    detector: str,
    score: Score,
) -> ScoreRow:
    reading, judgement = evaluated.reading, found.judgement
    mine = detector in judgement.verdict.detectors
    reason = f"evidence {score.evidence_notice:.1f} < 0, effect {score.effect:+.3f}"
    return ScoreRow(
        version_id=reading.version.id,
        adapter=reading.version.adapter,
        version=reading.version.name,
        detector=detector,
        window=reading.interval,
        value=score.value,
        evidence_notice=score.evidence_notice,
        evidence_page=score.evidence_page,
        effect=score.effect,
        effect_low=score.interval[0],
        effect_high=score.interval[1],
        n_reference=score.n_reference,
        n_window=score.n_window,
        minimum_detectable=score.minimum_detectable,
        winner=score.winner,
        verdict=_detector_verdict(judgement, detector).value,
        blame=judgement.verdict.blame.value if mine else "unknown",
        reason=detector_reason(judgement.memory, detector) if mine else reason,
        evaluation_id=evaluation_id,
        details=_details(evaluated, found, detector=detector, score=score),
    )


def _details(evaluated: Evaluated, found: Turn, *, detector: str, score: Score) -> dict[str, Any]:
    """Add to a score the number of requests that its detector compared, and the gaps."""
    details = {**score.details, "evidence_notice": score.evidence_notice}
    covered, calibrated = found.facts.covered, evaluated.reading.calibrated
    if covered is not None and detector in covered.by_detector:
        details["coverage"] = to_json(covered.by_detector[detector])
    since = calibrated.feedback_from if calibrated is not None else None
    if detector == FEEDBACK.name and since is not None:
        first = since.timestamp()
        arrivals = evaluated.reading.unread.arrivals
        details["of_the_reference"] = sum(one.at < first for one in arrivals)
    return details


def _detector_verdict(judgement: Judgement, detector: str) -> VerdictKind:
    """Return the verdict that this detector alone would give."""
    open_here = [c for c in judgement.memory.crossings if c.detector == detector]
    if any(c.paged for c in open_here):
        return VerdictKind.CRITICAL
    if detector == PERPLEXITY and judgement.memory.probes_found:
        probe = judgement.memory.perplexity
        degraded = probe is not None and probe.degraded
        return VerdictKind.CRITICAL if degraded else VerdictKind.DRIFTING
    if open_here:
        return VerdictKind.DRIFTING
    blind = judgement.blindness is not None and detector in judgement.blindness.detectors
    return VerdictKind.BLIND if blind else VerdictKind.STABLE


def _read_feedback(evaluated: Evaluated) -> Unread:
    """Return the feedback that still waits to be read.

    A detector that raised, or is quarantined, has read none.
    """
    unread = evaluated.reading.unread
    found = next((one for one in evaluated.findings if one.detector == FEEDBACK.name), None)
    failures = evaluated.reading.memory.failures.get(FEEDBACK.name, 0)
    finished = failures < QUARANTINE_AFTER if found is None else found.score is not None
    return unread if finished else Unread(lost=unread.lost)


def _effect_size(evaluated: Evaluated) -> float | None:
    """Return the lower bound of the largest effect, in [0, 100], to sort adapters of one verdict.

    It is the largest lower end of a detector's 95 % interval in units of its margin, scaled
    so that one margin is 50 and two are 75. None when nothing was measured.
    """
    known = [
        float(np.clip(f.score.interval[0] / f.fact.margin, 0.0, 50.0))
        for f in evaluated.findings
        if f.score is not None and np.isfinite(f.score.interval[0])
    ]
    return 100.0 * (1.0 - 2.0 ** -max(known)) if known else None

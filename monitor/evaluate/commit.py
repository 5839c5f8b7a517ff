"""The findings of an evaluation, written in one transaction guarded by the claim's epoch."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any, Final

import numpy as np
from sqlalchemy import Connection

from alerts.types import VerdictKind
from detectors.feedback import FEEDBACK
from detectors.types import Score
from monitor.domain import EvaluationId, EvaluationKind, Unread, VerdictSeverity
from monitor.evaluate.company import others_on_the_base
from monitor.evaluate.evaluated import Evaluated
from monitor.evaluate.explain import Explained, explain
from monitor.evaluate.message import Messages
from monitor.evaluate.turn import Turn, turn
from monitor.policy import Judgement, Memory, PolicySettings, detector_reason, unmeasured
from monitor.policy.coverage import to_json
from monitor.policy.crossings import QUARANTINE_AFTER
from monitor.store import clock, partitions
from monitor.store.evaluation import coverage_days, evaluations, processes, tasks, verdicts
from monitor.store.evaluation.evaluations import NewEvaluation, ScoreRow
from monitor.store.evaluation.tasks import Claim
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.records import feedback
from monitor.windows import WindowPlan

PERPLEXITY: Final = EvaluationKind.PERPLEXITY.value
"""Name under which the perplexity evaluation's score is stored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class How:
    """The rules by which an evaluation is judged, and the way people are told.

    Versions on one base that move within ``cycle`` of each other move together.
    """

    settings: PolicySettings
    tell: Messages
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
    tx: Connection,
    *,
    claim: Claim,
    planned: WindowPlan,
    evaluated: Evaluated,
    explained: Explained,
    how: How,
) -> Turn | None:
    """Judge the window and write the result; None: this window was already evaluated.

    The verdict's row is locked before judging. Two kinds of evaluation of one version
    therefore judge one after the other, each from the memory that the other left. The row
    is also locked before the task, because a suspicion found here makes another kind's task
    due: a daemon that held that task and waited for the verdict would wait for ever.

    Raises
    ------
    StaleLease
        Another daemon took the task over.
    Unexplained
        The judgement differs from the one that was explained beforehand.
    """
    reading, window = evaluated.reading, evaluated.reading.interval
    before = verdicts.claim_row(tx, version_id=claim.version_id, adapter_id=claim.adapter_id)
    found = _judged(tx, evaluated, before, how, at=tasks.guard(tx, claim), hold=True)
    judgement = found.judgement
    partitions.ensure(tx, {window.end.date()}, tables=("scores", "increments"))
    compared = found.facts.covered  # empty for a window without requests, and for a probe
    covered = tuple(compared.by_detector.values()) if compared and compared.requests else ()
    evaluation_id = evaluations.add(
        tx,
        NewEvaluation(
            adapter_id=claim.adapter_id,
            version_id=claim.version_id,
            kind=claim.kind,
            window=window,
            state="done",
            epoch=claim.epoch,
            started_at=claim.now,
            reference_id=reading.calibrated.reference.id if reading.calibrated else None,
            n_records=len(reading.window),
            n_late=reading.requests.late,
            verdict=judgement.verdict.kind.value,
            reason=judgement.verdict.reason,
            coverage=covered,
        ),
    )
    if evaluation_id is None:
        tasks.finish(tx, claim, next_due=planned.next_due, next_start=window.end)
        return None
    news = how.tell.news(tx, evaluated, found)
    if news.fresh and not explained.answers(judgement):
        raise Unexplained(reading.version.label)
    if covered:
        day = window.end.astimezone(UTC).date()
        coverage_days.add(tx, claim.version_id, day=day, found=covered)
    _put_skipped(tx, claim, planned)
    _put_scores(tx, claim, evaluated, found, evaluation_id)
    _put_processes(tx, evaluated, found)
    feedback.mark(tx, _read_feedback(evaluated), version_id=claim.version_id, window_end=window.end)
    verdicts.put(
        tx,
        version_id=claim.version_id,
        verdict=judgement.verdict,
        memory=judgement.memory,
        size=_effect_size(evaluated) if claim.kind is EvaluationKind.LIVE else None,
    )
    transition_id = None
    if found.transition is not None:
        transition_id = verdicts.add_transition(tx, found.transition, evaluation_id=evaluation_id)
    how.tell.tell(tx, evaluated, found, news, explained, transition_id=transition_id)
    if judgement.wants_probe and found.facts.probe_available:
        tasks.request(tx, version_id=claim.version_id, kinds=[EvaluationKind.PERPLEXITY])
    returns = reading.returns_by_probes or judgement.verdict.severity is VerdictSeverity.PAGE
    tasks.finish(
        tx,
        claim,
        next_due=planned.next_due,
        next_start=window.end,
        # its next probe goes first among those due, because it brings the version back
        first=returns and claim.kind is EvaluationKind.PERPLEXITY,
    )
    return found


def _judged(
    tx: Connection,
    evaluated: Evaluated,
    before: VerdictRow | None,
    how: How,
    *,
    at: datetime,
    hold: bool,
) -> Turn:
    """Judge the findings by the verdict in force, and by others on the base where they matter.

    ``hold`` locks the base, so that no other process judges on it until the transaction
    ends.
    """
    memory = before.memory if before else Memory()
    # a finding begins when it is reported: its probe may have taken minutes
    facts = replace(evaluated.facts, at=at)
    taken = partial(
        turn, evaluated.reading, memory, findings=evaluated.findings, settings=how.settings
    )
    found = taken(facts)
    version = evaluated.reading.version
    fleet = others_on_the_base(tx, version, found.judgement, cycle=how.cycle, hold=hold)
    return found if fleet is None else taken(replace(facts, fleet=fleet))


def _put_skipped(tx: Connection, claim: Claim, planned: WindowPlan) -> None:
    """Store skipped windows in one statement: a day of downtime gives a hard signal a thousand."""
    skipped = [
        NewEvaluation(
            adapter_id=claim.adapter_id,
            version_id=claim.version_id,
            kind=claim.kind,
            window=window,
            state="skipped",
            epoch=claim.epoch,
            started_at=claim.now,
            reason="downtime: only the newest window is evaluated",
        )
        for window in planned.skipped
    ]
    evaluations.add_all(tx, skipped)


def _put_scores(
    tx: Connection,
    claim: Claim,
    evaluated: Evaluated,
    found: Turn,
    evaluation_id: EvaluationId,
) -> None:
    # skip a hard signal's empty minutes: each would be a row without information
    hard = claim.kind is EvaluationKind.HARD
    measured = {
        f.detector: f.score
        for f in evaluated.findings
        if f.score is not None and not (hard and f.score.n_window == 0)
    }
    rows = [
        _score_row(evaluated, found, evaluation_id, detector=name, score=score)
        for name, score in (measured | dict(evaluated.scores)).items()
    ]
    evaluations.put_scores(tx, rows)
    since = found.judgement.memory.unmeasured_since
    if since is not None and found.facts.probe_available:
        # the newest perplexity score no longer holds: a suspicion came after it
        reason = unmeasured(since, found.facts.probe_stopped)
        evaluations.put_unmeasured(tx, claim.version_id, detector=PERPLEXITY, reason=reason)


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


def _put_processes(tx: Connection, evaluated: Evaluated, found: Turn) -> None:
    calibrated, version = evaluated.reading.calibrated, evaluated.reading.version
    if calibrated is None:
        return
    reference_id = calibrated.reference.id
    processes.put_states(
        tx, version_id=version.id, reference_id=reference_id, by_detector=found.states
    )
    processes.put_increments(
        tx, version_id=version.id, reference_id=reference_id, by_detector=found.increments
    )


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

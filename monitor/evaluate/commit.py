"""Everything an evaluation found, written in one transaction guarded by its epoch."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection

from alerts.types import Severity as AlertSeverity
from detectors.feedback import FEEDBACK
from detectors.types import Score
from monitor.domain import (
    EvaluationId,
    EvaluationKind,
    IncidentId,
    Interval,
    Severity,
    Transition,
    TransitionId,
    VerdictKind,
)
from monitor.evaluate.company import others_on_the_base
from monitor.evaluate.findings import Finding, increment_of
from monitor.evaluate.message import Teller
from monitor.evaluate.reading import DAY, Reading
from monitor.policy import (
    Facts,
    Judgement,
    Memory,
    PolicySettings,
    detector_reason,
    judge,
    unmeasured,
)
from monitor.policy.coverage import Coverage, to_json
from monitor.policy.crossings import QUARANTINE_AFTER
from monitor.store import (
    clock,
    coverage_days,
    evaluations,
    feedback,
    partitions,
    processes,
    tasks,
    verdicts,
)
from monitor.store.evaluations import NewEvaluation, ScoreRow
from monitor.store.feedback import Unread
from monitor.store.tasks import Claim

PERPLEXITY: Final = EvaluationKind.PERPLEXITY.value
"""The detector of the evaluation of this kind."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Outcome:
    """What was found in a window, ready to be written.

    ``findings`` come from live detectors, ``scores`` of other origin (perplexity) stand
    beside them by detector name.
    """

    claim: Claim
    window: Interval
    skipped: tuple[Interval, ...]
    next_due: datetime
    reading: Reading
    facts: Facts
    findings: Sequence[Finding] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    effect_size: float | None = None
    silence: AlertSeverity | None = None
    returning: bool = False
    """Whether the version waits for its probes: it is critical, or has lost its traffic."""
    started_at: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Committed:
    """What stands in the store now, since ``at``."""

    at: datetime
    evaluation_id: EvaluationId
    judgement: Judgement
    transition_id: TransitionId | None
    told: tuple[IncidentId, ...]


def commit(
    tx: Connection,
    outcome: Outcome,
    *,
    settings: PolicySettings,
    tell: Teller,
    probe_cycle: timedelta,
) -> Committed | None:
    """Judge and write. None: this window was already evaluated; raises StaleLease.

    What moves within ``probe_cycle`` of each other on one base moves together.

    The verdict's row is locked before judging, so that two kinds of evaluation of one
    version judge one after the other, each from the memory the other left; and before the
    task, because a suspicion found here makes another kind's task due: whoever held that
    one and waited for the verdict would never get it.
    """
    claim, window = outcome.claim, outcome.window
    before = verdicts.claim_row(tx, version_id=claim.version_id, adapter_id=claim.adapter_id)
    tasks.guard(tx, claim)
    # what is told began when it is told: a probe that says it has taken minutes
    outcome = replace(outcome, facts=replace(outcome.facts, at=clock.now(tx)))
    partitions.ensure(tx, {window.end.date()}, tables=("scores", "increments"))
    memory = Memory.from_json(before.memory) if before and before.memory else Memory()
    judgement = judge(memory, outcome.facts, settings)
    fleet = others_on_the_base(tx, outcome.reading.version, judgement, cycle=probe_cycle)
    if fleet is not None:
        judgement = judge(memory, replace(outcome.facts, fleet=fleet), settings)
    evaluation_id = evaluations.add(tx, _evaluation(outcome, judgement))
    if evaluation_id is None:
        tasks.finish(tx, claim, next_due=outcome.next_due, next_start=window.end)
        return None
    _write_coverage(tx, outcome)
    _write_skipped(tx, outcome)
    _write_scores(tx, outcome, judgement, evaluation_id)
    _write_unmeasured(tx, outcome, judgement)
    _write_processes(tx, outcome)
    feedback.mark(tx, _feedback_read(outcome), version_id=claim.version_id, window_end=window.end)
    verdicts.put(
        tx,
        version_id=claim.version_id,
        verdict=judgement.verdict,
        memory=judgement.memory.to_json(),
        size=outcome.effect_size,
    )
    was = memory.verdict.kind if memory.verdict else None
    transition_id = _write_transition(tx, outcome, judgement, evaluation_id, was=was)
    told = tell(tx, outcome, judgement, was, transition_id)
    if judgement.wants_probe and outcome.facts.probe_available:
        tasks.request(tx, version_id=claim.version_id, kinds=[EvaluationKind.PERPLEXITY])
    tasks.finish(
        tx,
        claim,
        next_due=outcome.next_due,
        next_start=window.end,
        first=_goes_first(outcome, judgement),
    )
    return Committed(
        at=outcome.facts.at,
        evaluation_id=evaluation_id,
        judgement=judgement,
        transition_id=transition_id,
        told=told,
    )


def _goes_first(outcome: Outcome, judgement: Judgement) -> bool:
    """Whether the next probe goes before others that are due: it brings the version back."""
    returning = outcome.returning or judgement.verdict.severity is Severity.PAGE
    return returning and outcome.claim.kind is EvaluationKind.PERPLEXITY


def _evaluation(outcome: Outcome, judgement: Judgement) -> NewEvaluation:
    reference = outcome.reading.calibrated
    return NewEvaluation(
        adapter_id=outcome.claim.adapter_id,
        version_id=outcome.claim.version_id,
        kind=outcome.claim.kind,
        window=outcome.window,
        state="done",
        epoch=outcome.claim.epoch,
        started_at=outcome.started_at,
        reference_id=reference.reference.id if reference else None,
        n_records=len(outcome.reading.window),
        n_late=outcome.reading.requests.late,
        verdict=judgement.verdict.kind.value,
        reason=judgement.verdict.reason,
        coverage=_covered(outcome),
    )


def _covered(outcome: Outcome) -> tuple[Coverage, ...]:
    """Give what each detector compared; nothing of a window without requests, or of a probe."""
    window = outcome.facts.covered
    return tuple(window.by_detector.values()) if window is not None and window.requests else ()


def _write_coverage(tx: Connection, outcome: Outcome) -> None:
    found = _covered(outcome)
    if found:
        day = outcome.window.end.astimezone(UTC).date()
        coverage_days.add(tx, outcome.claim.version_id, day=day, found=found)


def _write_skipped(tx: Connection, outcome: Outcome) -> None:
    """One statement for all: after a day of downtime a hard signal has a thousand of them."""
    skipped = [
        NewEvaluation(
            adapter_id=outcome.claim.adapter_id,
            version_id=outcome.claim.version_id,
            kind=outcome.claim.kind,
            window=window,
            state="skipped",
            epoch=outcome.claim.epoch,
            started_at=outcome.started_at,
            reason="downtime: only the newest window is evaluated",
        )
        for window in outcome.skipped
    ]
    evaluations.add_all(tx, skipped)


def _write_scores(
    tx: Connection, outcome: Outcome, judgement: Judgement, evaluation_id: EvaluationId
) -> None:
    # an empty minute of a hard signal says nothing: it would be a row a minute for ever
    hard = outcome.claim.kind is EvaluationKind.HARD
    measured = {
        f.detector: f.score
        for f in outcome.findings
        if f.score is not None and not (hard and f.score.n_window == 0)
    }
    rows = [
        _score_row(outcome, judgement, evaluation_id, detector=name, score=score)
        for name, score in (measured | dict(outcome.scores)).items()
    ]
    evaluations.put_scores(tx, rows)


def _write_unmeasured(tx: Connection, outcome: Outcome, judgement: Judgement) -> None:
    """Take back what perplexity's newest score says, if a suspicion came after it."""
    since = judgement.memory.unmeasured_since
    if since is not None and outcome.facts.probe_available:
        reason = unmeasured(since, outcome.facts.probe_stopped)
        evaluations.put_unmeasured(tx, outcome.claim.version_id, detector=PERPLEXITY, reason=reason)


def _score_row(
    outcome: Outcome,
    judgement: Judgement,
    evaluation_id: EvaluationId,
    *,
    detector: str,
    score: Score,
) -> ScoreRow:
    verdict = judgement.verdict
    mine = detector in verdict.detectors
    return ScoreRow(
        version_id=outcome.claim.version_id,
        adapter=outcome.reading.version.adapter,
        version=outcome.reading.version.name,
        detector=detector,
        window=outcome.window,
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
        blame=verdict.blame.value if mine else "unknown",
        reason=detector_reason(judgement.memory, detector) if mine else _numbers(score),
        evaluation_id=evaluation_id,
        details={
            **score.details,
            "evidence_notice": score.evidence_notice,
            **_coverage_of(outcome, detector),
            **_left_out(outcome.reading, detector),
        },
    )


def _coverage_of(outcome: Outcome, detector: str) -> dict[str, Any]:
    """What this detector compared of the window's requests; nothing is said of a probe."""
    window = outcome.facts.covered
    own = window.by_detector.get(detector) if window is not None else None
    return {} if own is None else {"coverage": to_json(own)}


def _left_out(reading: Reading, detector: str) -> dict[str, int]:
    """Count what came for the reference's own records, which is no evidence."""
    since = reading.calibrated.feedback_from if reading.calibrated else None
    if detector != FEEDBACK.name or since is None:
        return {}
    first = since.timestamp()
    return {"of_the_reference": sum(one.at < first for one in reading.unread.arrivals)}


def _detector_verdict(judgement: Judgement, detector: str) -> VerdictKind:
    """Say what this detector alone would make of it."""
    open_here = [c for c in judgement.memory.crossings if c.detector == detector]
    if any(c.paged for c in open_here):
        return VerdictKind.CRITICAL
    if detector == "perplexity" and judgement.memory.probes_found:
        probe = judgement.memory.perplexity
        degraded = probe is not None and probe.degraded
        return VerdictKind.CRITICAL if degraded else VerdictKind.DRIFTING
    if open_here:
        return VerdictKind.DRIFTING
    blind = judgement.blindness is not None and detector in judgement.blindness.detectors
    return VerdictKind.BLIND if blind else VerdictKind.STABLE


def _numbers(score: Score) -> str:
    return f"evidence {score.evidence_notice:.1f} < 0, effect {score.effect:+.3f}"


def _write_processes(tx: Connection, outcome: Outcome) -> None:
    calibrated = outcome.reading.calibrated
    if calibrated is None:
        return
    for finding in outcome.findings:
        if finding.score is None or finding.state is None:
            continue
        processes.put_state(
            tx,
            version_id=outcome.claim.version_id,
            reference_id=calibrated.reference.id,
            detector=finding.detector,
            state=finding.state,
        )
        increment = increment_of(finding.score, outcome.window)
        if increment is not None:
            processes.put_increment(
                tx,
                version_id=outcome.claim.version_id,
                reference_id=calibrated.reference.id,
                detector=finding.detector,
                increment=increment,
            )


def _feedback_read(outcome: Outcome) -> Unread:
    """What no longer waits: a detector that raised, or is quarantined, has read nothing."""
    unread = outcome.reading.unread
    found = next((one for one in outcome.findings if one.detector == FEEDBACK.name), None)
    failures = outcome.reading.memory.failures.get(FEEDBACK.name, 0)
    finished = failures < QUARANTINE_AFTER if found is None else found.score is not None
    return unread if finished else Unread(lost=unread.lost)


def _write_transition(
    tx: Connection,
    outcome: Outcome,
    judgement: Judgement,
    evaluation_id: EvaluationId,
    *,
    was: VerdictKind | None,
) -> TransitionId | None:
    if was is judgement.verdict.kind:
        return None
    return verdicts.add_transition(
        tx,
        Transition(
            version=outcome.reading.version,
            before=was or VerdictKind.LEARNING,
            after=judgement.verdict,
            at=outcome.facts.at,
        ),
        evaluation_id=evaluation_id,
    )


def expected_silence(
    reading: Reading, *, now: datetime, records: int, in_charge_since: datetime | None
) -> AlertSeverity | None:
    """TICKET when the reference's rate promised ``records`` since the last one and none came.

    Looks back 24 h at most, and no further than the present route: a version that has no
    share of it (``in_charge_since`` None) is not expected to have traffic, nor one before
    it got its share.
    """
    if in_charge_since is None or reading.calibrated is None:
        return None
    since = max(reading.traffic.last_at or now - DAY, in_charge_since)
    expected = (now - since) / timedelta(hours=1) * reading.calibrated.hourly_rate
    return AlertSeverity.TICKET if expected >= records else None

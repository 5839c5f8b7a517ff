"""A window that was judged, and the rows that it leaves. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final

import numpy as np

from alerts.types import VerdictKind
from detectors.feedback import FEEDBACK
from detectors.types import Score
from monitor.domain import EvaluationId, EvaluationKind, Unread, VerdictSeverity, VersionId
from monitor.evaluate.evaluated import Evaluated
from monitor.evaluate.read import Look
from monitor.evaluate.turn import Turn
from monitor.policy import Judgement, detector_reason
from monitor.policy.coverage import Coverage, to_json
from monitor.policy.crossings import QUARANTINE_AFTER
from monitor.store.evaluation.evaluations import NewEvaluation, ScoreRow
from monitor.store.evaluation.processes import Watched
from monitor.store.evaluation.tasks import Finished
from monitor.store.evaluation.verdicts import NewVerdict

PERPLEXITY: Final = EvaluationKind.PERPLEXITY.value
"""Name under which the perplexity evaluation's score is stored."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LookedAt:
    """A claimed window and what was found in it."""

    look: Look
    evaluated: Evaluated


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


def new_evaluation(one: Judged) -> NewEvaluation:
    """Return the row of the evaluation."""
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


def new_verdict(one: Judged) -> NewVerdict:
    """Return the verdict in force from now on."""
    judgement, live = one.found.judgement, one.looked.look.claim.kind is EvaluationKind.LIVE
    return NewVerdict(
        version_id=one.key[0],
        verdict=judgement.verdict,
        memory=judgement.memory,
        size=_effect_size(one.looked.evaluated) if live else None,
    )


def finished(one: Judged, *, written: bool) -> Finished:
    """Return the end of the task; ``written``: its window had no evaluation before."""
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


def skipped(look: Look) -> Iterator[NewEvaluation]:
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


def score_rows(one: Judged, evaluation_id: EvaluationId) -> list[ScoreRow]:
    """Return the scores of each detector that measured something."""
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


def read_feedback(evaluated: Evaluated) -> Unread:
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

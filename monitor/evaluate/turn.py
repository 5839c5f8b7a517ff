"""One turn of a version's verdict, taken alike by the service and by a replay. Pure.

What was read, what is remembered and what was found become what stands next: nothing here
asks a database or a clock, so the same three always give the same turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

import numpy as np

from alerts.types import Severity
from detectors.types import Score, State
from monitor.domain import EvaluationKind, Interval, Transition, VerdictKind
from monitor.evaluate.findings import Finding
from monitor.evaluate.reading import DAY, Reading
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import Crossing, Facts, Judgement, Memory, PolicySettings, ReferenceStage, judge
from monitor.policy.facts import Increment


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluated:
    """What was found in a window, ready to be judged and written.

    ``findings`` come from live detectors, ``scores`` of other origin (perplexity) stand
    beside them by detector name. ``skipped`` windows were missed; ``silence`` says how urgent
    it is that no records come.
    """

    reading: Reading
    facts: Facts
    findings: tuple[Finding, ...] = ()
    scores: Mapping[str, Score] = field(default_factory=dict)
    silence: Severity | None = None
    skipped: tuple[Interval, ...] = ()
    next_due: datetime


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """What an evaluation changes.

    transition
        The change of verdict; None: it stays of its kind.
    states, increments
        Of the detectors' evidence processes after this window, by detector; a window that
        brought nothing has no increment.
    """

    before: Memory
    facts: Facts
    judgement: Judgement
    transition: Transition | None
    states: Mapping[str, State]
    increments: Mapping[str, Increment]

    @property
    def crossed(self) -> tuple[Crossing, ...]:
        """Crossings that were not known before."""
        known = {crossing.key for crossing in self.before.crossings}
        return tuple(c for c in self.judgement.memory.crossings if c.key not in known)


def turn(
    reading: Reading,
    memory: Memory,
    facts: Facts,
    *,
    findings: Sequence[Finding] = (),
    settings: PolicySettings,
) -> Turn:
    """Judge what was found by what is remembered, and say what is to be remembered next."""
    judgement = judge(memory, facts, settings)
    verdict, was = judgement.verdict, memory.verdict
    changed = was is None or was.kind is not verdict.kind
    measured = {
        finding.detector: (finding.score, finding.state)
        for finding in findings
        if finding.score is not None and finding.state is not None
    }
    return Turn(
        before=memory,
        facts=facts,
        judgement=judgement,
        transition=Transition(
            version=reading.version,
            before=VerdictKind.LEARNING if was is None else was.kind,
            after=verdict,
            at=facts.at,
        )
        if changed
        else None,
        states={name: state for name, (_, state) in measured.items()},
        increments={
            name: _increment(score, reading.interval)
            for name, (score, _) in measured.items()
            if score.increments and score.n_window
        },
    )


def _increment(score: Score, window: Interval) -> Increment:
    return Increment(
        window_start=window.start,
        at=window.end,
        n_units=score.n_window,
        by_process={p: np.asarray(a, dtype=np.float32) for p, a in score.increments.items()},
    )


def facts_of(
    kind: EvaluationKind,
    reading: Reading,
    settings: EvaluateSettings,
    *,
    at: datetime,
    probe_available: bool,
) -> Facts:
    """Give what the rules need to know of what was read; what was found is added to it."""
    calibrated, last_at = reading.calibrated, reading.traffic.last_at
    stage = ReferenceStage.NONE
    if calibrated is not None and calibrated.reference.replaced:
        stage = ReferenceStage.REPLACED
    elif calibrated is not None:
        provisional = calibrated.reference.provisional
        stage = ReferenceStage.PROVISIONAL if provisional else ReferenceStage.APPROVED
    return Facts(
        at=at,
        kind=kind,
        reference=stage,
        reference_id=calibrated.reference.id if calibrated is not None else None,
        n_day=reading.traffic.compared,
        traffic=last_at is not None and last_at >= at - settings.policy.recovery_window,
        probe_available=probe_available,
        classic=settings.is_classic(reading.version.adapter),
        enabled=frozenset(settings.detectors),
    )


def expected_silence(reading: Reading, *, now: datetime, records: int) -> Severity | None:
    """TICKET when the reference's rate promised ``records`` since the last one and none came.

    Looks back 24 h at most, and no further than the present route: a version that has no
    share of it is not expected to have traffic, nor one before it got its share.
    """
    if reading.in_charge_since is None or reading.calibrated is None:
        return None
    since = max(reading.traffic.last_at or now - DAY, reading.in_charge_since)
    expected = (now - since) / timedelta(hours=1) * reading.calibrated.hourly_rate
    return Severity.TICKET if expected >= records else None

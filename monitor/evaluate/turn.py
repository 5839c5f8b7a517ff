"""One turn of a version's verdict, the same for the service and a replay. Pure.

The data read, the memory and the findings determine the next state. Nothing here reads a
database or a clock, so equal inputs always give the same turn.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from alerts.types import VerdictKind
from detectors.types import Score, State
from monitor.domain import Interval, Transition
from monitor.evaluate.findings import Finding
from monitor.evaluate.reading import Reading
from monitor.policy import Crossing, Facts, Judgement, Memory, PolicySettings, judge
from monitor.policy.facts import Increment


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Turn:
    """The changes that an evaluation makes.

    transition
        The change of verdict; None: the verdict keeps its kind.
    states, increments
        Of the detectors' evidence processes after this window, by detector; a window without
        data has no increment.
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
    """Judge the findings by the memory, and return the next memory."""
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

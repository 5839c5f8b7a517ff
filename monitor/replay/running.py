"""A log run through the detectors with the service's own schedule, without its clock."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cached_property
from typing import Final

import numpy as np

import alerts.types as words
from alerts import incident
from alerts.incident import IncidentState, Observed, Tell
from alerts.types import VerdictKind
from detectors.types import Process, State, Window
from monitor.domain import EvaluationKind, Interval, Verdict, Version
from monitor.evaluate.findings import Finding
from monitor.evaluate.live import Ask, score
from monitor.evaluate.reading import DAY, INCREMENTS_KEPT, Reading
from monitor.evaluate.settings import EvaluateSettings
from monitor.evaluate.turn import Turn, turn
from monitor.policy import Crossing, Memory
from monitor.policy.budget import ShareStanding
from monitor.policy.facts import Increment
from monitor.replay.log import Log
from monitor.replay.reference import Frozen
from monitor.replay.watch import Watch
from monitor.windows import Cadence, WindowPlan, offset_of, plan

KINDS: Final = (EvaluationKind.HARD, EvaluationKind.LIVE)
_STEPS: Final = 100


@dataclass(frozen=True, slots=True, kw_only=True)
class Replayed:
    """One version's log and the reference and settings by which it is judged.

    ``fleet`` is the number of versions that share the budget of pages.
    """

    version: Version
    frozen: Frozen
    log: Log
    settings: EvaluateSettings
    cadences: dict[EvaluationKind, Cadence]
    fleet: int = 1


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Evaluation:
    """One window: when it was judged, and its findings."""

    kind: EvaluationKind
    window: Interval
    at: datetime
    findings: Sequence[Finding]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerdictChange:
    """A change of verdict; ``n`` records had come when its window ended."""

    at: datetime
    before: VerdictKind
    after: Verdict
    n: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Crossed:
    """A process that crossed its line, with the facts known then.

    n
        Records of the log up to the end of the window that crossed.
    n_since_onset, n_after
        Of these, the records since the earliest and since the latest onset the evidence
        allows: the delay lies between.
    high
        Upper end of the effect's 95 % interval; its lower end is the crossing's own.
    """

    crossing: Crossing
    n: int
    n_since_onset: int
    n_after: int
    high: float | None


def run(
    replayed: Replayed,
    ask: Ask,
    *,
    watch: Watch,
    stage: str,
    keep: bool = False,
    sparse: bool = False,
) -> Run:
    """Evaluate every window that ended before the last record came.

    ``keep`` stores every evaluation: scores for tables and charts. ``sparse`` skips empty
    minutes of hard signals while nothing is open: the next window takes over their start
    weights, so evidence and messages are the same.
    """
    running = Run(replayed, ask, keep=keep)
    log = replayed.log
    seconds = max(1.0, (log.last_at - log.first_at).total_seconds())
    watch.begin(stage, _STEPS)
    reached = 0
    for kind, due, planned in _windows(replayed):
        if planned.window is not None and not (sparse and running.may_skip(kind, planned.window)):
            running.evaluate(kind, planned.window, now=due)
        done = int(_STEPS * (due - log.first_at).total_seconds() / seconds)
        if done > reached:
            reached = min(done, _STEPS)
            watch.reach(reached)
    return running


def _windows(replayed: Replayed) -> Iterator[tuple[EvaluationKind, datetime, WindowPlan]]:
    """Yield the windows of both kinds in the order in which they fall due for one daemon."""
    log = replayed.log
    starts: dict[EvaluationKind, datetime | None] = dict.fromkeys(KINDS)
    due = {
        kind: log.first_at + replayed.cadences[kind].lag + replayed.cadences[kind].interval
        for kind in KINDS
    }
    while due:
        kind = min(due, key=lambda one: due[one])
        cadence = replayed.cadences[kind]
        planned = plan(
            now=due[kind],
            cadence=cadence,
            offset=offset_of(replayed.version.id, cadence.interval),
            start=starts[kind],
        )
        if planned.window is None or planned.window.start > log.last_at:
            del due[kind]
            continue
        yield kind, due[kind], planned
        starts[kind], due[kind] = planned.window.end, planned.next_due


@dataclass(slots=True, eq=False)
class Run:
    """A replay at one budget, which grows from window to window.

    ``tells`` are the messages about drift that were sent; ``highest`` is the largest
    evidence of each process over all detectors.
    """

    replayed: Replayed
    ask: Ask
    keep: bool = field(kw_only=True)
    memory: Memory = field(default_factory=Memory)
    states: dict[str, State] = field(default_factory=dict)
    past: dict[str, list[Increment]] = field(default_factory=dict)
    incident: IncidentState = field(default_factory=IncidentState)
    changes: list[VerdictChange] = field(default_factory=list)
    crossed: list[Crossed] = field(default_factory=list)
    tells: list[Tell] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    highest: dict[Process, float] = field(default_factory=lambda: dict.fromkeys(Process, -np.inf))
    looked: datetime | None = None

    @property
    def verdict(self) -> Verdict | None:
        """The newest verdict; None before the first."""
        return self.memory.verdict

    def may_skip(self, kind: EvaluationKind, window: Interval) -> bool:
        """Whether a window adds nothing except its time."""
        if kind is EvaluationKind.LIVE or self.looked is None or self.memory.crossings:
            return False
        # an empty window cannot alarm, but its time must be evaluated once a day
        recently = window.end - self.looked < DAY
        return recently and self.replayed.log.count(window.start, window.end) == 0

    def evaluate(self, kind: EvaluationKind, window: Interval, *, now: datetime) -> None:
        """Evaluate one window, as the service's evaluator does."""
        settings, reading = self.replayed.settings, self._read(window, now=now)
        lookback = _HeldLookback(replayed=self.replayed, kept=self.past, window=window, now=now)
        evaluated = score(
            kind, reading, lookback, settings, at=now, probe_available=False, ask=self.ask
        )
        found = turn(
            reading,
            self.memory,
            evaluated.facts,
            findings=evaluated.findings,
            settings=settings.policy,
        )
        self.memory = found.judgement.memory
        self.states |= found.states
        for detector, increment in found.increments.items():
            self.past.setdefault(detector, []).append(increment)
        if kind is EvaluationKind.HARD:
            self.looked = window.end
        self._note(found, evaluated.findings, window)
        if self.keep:
            self.evaluations.append(
                Evaluation(kind=kind, window=window, at=now, findings=evaluated.findings)
            )

    def _read(self, window: Interval, *, now: datetime) -> Reading:
        replayed = self.replayed
        records, requests = replayed.log.window(window)
        calibrated = replayed.frozen.calibrated
        return Reading(
            version=replayed.version,
            interval=window,
            calibrated=calibrated,
            memory=self.memory.against(calibrated.reference.id),
            states=self.states,
            window=records,
            requests=requests,
            recent=replayed.log.recent(now - DAY, now),
            standing=ShareStanding.among(replayed.version.adapter, of=replayed.fleet),
        )

    def _note(self, found: Turn, findings: Sequence[Finding], window: Interval) -> None:
        scores = [one.score for one in findings if one.score is not None and one.state is not None]
        notice, page = self.highest[Process.NOTICE], self.highest[Process.PAGE]
        self.highest[Process.NOTICE] = max([notice, *(one.evidence_notice for one in scores)])
        self.highest[Process.PAGE] = max([page, *(one.evidence_page for one in scores)])
        n = self.replayed.log.count(self.replayed.log.first_at, window.end)
        change = found.transition
        if change is not None:
            self.changes.append(
                VerdictChange(at=change.at, before=change.before, after=change.after, n=n)
            )
        self.crossed += [
            self._crossed(crossing, findings, window, n=n) for crossing in found.crossed
        ]
        self._tell(found.judgement.verdict, now=found.facts.at)

    def _crossed(
        self, crossing: Crossing, findings: Sequence[Finding], window: Interval, *, n: int
    ) -> Crossed:
        effects = [f.fact.effect for f in findings if f.detector == crossing.detector]
        known = effects[0] if effects else None
        log, onset = self.replayed.log, crossing.onset
        return Crossed(
            crossing=crossing,
            n=n,
            n_since_onset=log.count(onset.start, window.end),
            n_after=log.count(onset.end, window.end),
            high=known.hi if known is not None else None,
        )

    def _tell(self, verdict: Verdict, *, now: datetime) -> None:
        """Open, worsen and close the drift incident as the outbox would."""
        conditions = incident.conditions(verdict.kind)
        observed = Observed(condition=conditions[words.Kind.DRIFT])
        self.incident, tells = incident.step(self.incident, observed, now)
        self.tells += [tell for tell in tells if tell.status is not words.Status.RECOVERED]


@dataclass(kw_only=True, eq=False)
class _HeldLookback:
    """The history before a window, from the log and the run's own increments."""

    replayed: Replayed
    kept: dict[str, list[Increment]]
    window: Interval
    now: datetime

    @cached_property
    def recent(self) -> Window:
        """Newest records up to now, over at most the effect window."""
        settings, end = self.replayed.settings, self.window.end
        return self.replayed.log.newest(
            end - settings.effect_window, now=self.now, until=end, limit=settings.effect_records
        )

    @property
    def recent_beside(self) -> Sequence[Window]:
        """Empty, because a log is compared with one reference."""
        return ()

    @property
    def feedback(self) -> Window:
        """The newest records, because feedback of a log belongs to them."""
        return self.recent

    def past(self, detector: str) -> Sequence[Increment]:
        """Increments of the windows of the last 7 days, oldest first."""
        kept = self.kept.get(detector, [])
        since = self.window.end - INCREMENTS_KEPT
        return kept[bisect_right(kept, since, key=lambda one: one.at) :]

"""The family of detectors over continuous signals.

A detector of this family is a name, its signals and what to show: see ``logit_ks.py``.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from detectors import bins, rank_reference
from detectors.comparison import Comparison, brief, compare_signal, described, surely_worse
from detectors.day_effect import ASSUMED, DayEffect
from detectors.evidence import EvidenceStep, advance
from detectors.profile import EffectScale, Profile
from detectors.rank_reference import Placement, RankReference
from detectors.scores import DriftSide, Units
from detectors.sensitivity import detectable_rise
from detectors.types import Budget, Effect, Process, Score, State, Window

Shown = Callable[[Sequence[Comparison]], float]


def largest_distance(compared: Sequence[Comparison]) -> float:
    """Return the largest KS distance of the signals, in [0, 1]."""
    return max((each.distance for each in compared), default=0.0)


def largest_worsening(compared: Sequence[Comparison]) -> float:
    """Return the largest Cliff's delta in a signal's worse direction, in [0, 1]; 0 if none."""
    return max(0.0, *(each.worse.value for each in compared if each.n), 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class RankDetector:
    """Compares each signal's ranks with the reference's: location, spread and tails.

    Seven scores a signal (four where only one side is worse) enter one e-process. Effects
    are Cliff's delta of the signal that moved most, positive in its worse direction; with
    S signals its interval is that signal's own, not widened for the choice.

    Power, with a reference of 14 days, 40 requests every 15 min and a notice budget of 1:
    a shift of .2 sd in 10 h, .5 sd in 2 h, garbage at the next check. False alarms: see
    :mod:`detectors.evidence`. Cost, four signals and a
    reference of 11,520: 2 ms for 40 requests, 5 ms for 1,000.

    Parameters
    ----------
    sides
        Signals of which only one direction is drift; all others count in both directions.
    families
        Prefixes of signals whose names the baseline defines, and their sides: they are compared
        beside ``signals``, in order of name.
    sizes
        By signal, the request's size columns that it grows with: values are compared in units of
        the usual value at these sizes (:mod:`detectors.sizes`).
    lead
        The signal that the detector is about, where others only stand beside it: half of
        the capital is bet on it, and its effect is the detector's unless another's is
        larger and surely there (95 %, Bonferroni over the signals). Without this the
        largest of many would never look small again.
    pages
        True if it has a page process.
    check_seconds
        Length of one check: the unit of the design effect's blocks, and the stretch
        within which a subject's records are one unit.
    shown
        ``Score.value`` from the comparisons.
    profile
        What everything but the maths needs to know of it.
    """

    name: str
    signals: tuple[str, ...]
    sides: Mapping[str, DriftSide] = field(default_factory=dict)
    families: Mapping[str, DriftSide] = field(default_factory=dict)
    sizes: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    lead: str | None = None
    hard: bool = False
    pages: bool = True
    check_seconds: float = 900.0
    shown: Shown = largest_distance
    details: Callable[[Sequence[Comparison]], dict[str, object]] = lambda _: {}
    profile: Profile = field(default_factory=Profile)

    @property
    def scale(self) -> EffectScale:
        """Effects are Cliff's delta."""
        return EffectScale.RANK

    def fit(self, baseline: Window, *, days: DayEffect = ASSUMED) -> RankReference:
        """Freeze a baseline; raises SignalAbsent or ReferenceTooSmall."""
        named = {
            signal: side
            for signal in sorted(baseline.signals)
            for family, side in self.families.items()
            if signal.startswith(family)
        }
        return rank_reference.fit_ranks(
            baseline,
            signals=(*self.signals, *named),
            sides={**self.sides, **named},
            sizes=self.sizes,
            check_seconds=self.check_seconds,
            lead=self.lead,
            days=days,
        )

    def score(
        self, reference: RankReference, window: Window, state: State, budget: Budget
    ) -> tuple[Score, State]:
        """Absorb a window of new records and score it."""
        placement = rank_reference.place(reference, window)
        units = self._units(reference, window, placement, budget)
        step = advance(reference.null, state, window, units, budget=budget)
        compared = _compare(reference, placement)
        effect = self._worst(compared)
        n = len(units[Process.NOTICE])
        score = Score(
            value=effect.shown,
            evidence_notice=step.evidence[Process.NOTICE],
            evidence_page=step.evidence.get(Process.PAGE, -np.inf),
            effect=effect.value,
            interval=(effect.lo, effect.hi),
            n_reference=int(reference.null.units.max()),
            n_window=n,
            minimum_detectable=_detectable(reference, window, units=n, budget=budget),
            winner=step.winner,
            increments=step.increments,
            details=self._describe(reference, compared, step),
        )
        return score, step.state

    def follow(
        self, reference: RankReference, window: Window, state: State, budget: Budget
    ) -> EvidenceStep:
        """Absorb a window into the evidence only: :meth:`score` without the numbers for people."""
        placement = rank_reference.place(reference, window)
        units = self._units(reference, window, placement, budget)
        return advance(reference.null, state, window, units, budget=budget)

    def effect_since(self, reference: RankReference, window: Window) -> Effect:
        """Compare all of a window's records, whether the process has seen them or not."""
        return self._worst(_compare(reference, rank_reference.place(reference, window)))

    def names(self, reference: RankReference) -> tuple[str, ...]:
        """Return the names of the K scores."""
        return reference.null.names

    def counts(self, reference: RankReference, window: Window) -> bins.Counts:
        """Return bin counts ``(S, 256)``, to be stored and summed."""
        return rank_reference.bin_counts(reference, window)

    def dump(self, reference: RankReference) -> bytes:
        """Serialise without pickle."""
        return rank_reference.dump(reference)

    def load(self, body: bytes) -> RankReference:
        """Read what :meth:`dump` wrote; raises ReferenceUnreadable."""
        return rank_reference.load(body)

    def _units(
        self, reference: RankReference, window: Window, placement: Placement, budget: Budget
    ) -> dict[Process, Units]:
        every = np.ones(len(window), dtype=np.bool_)
        units = rank_reference.units_of(reference, window, placement, only=every)
        pages = self.pages and budget.page > 0.0
        return {Process.NOTICE: units} | ({Process.PAGE: units} if pages else {})

    def _worst(self, compared: Sequence[Comparison]) -> Effect:
        measured = [each for each in compared if each.n]
        if not measured:
            return Effect.unknown()
        telling = self._telling(measured)
        most = max(telling, key=lambda each: each.worse.value)
        return replace(most.worse, shown=self.shown(telling), signal=most.signal)

    def _telling(self, measured: list[Comparison]) -> list[Comparison]:
        """Return the lead and the surely moved signals; all if nothing leads or moved."""
        if self.lead is None:
            return measured
        found = [
            each
            for each in measured
            if each.signal == self.lead or surely_worse(each, of=len(measured))
        ]
        return found or measured

    def _describe(
        self, reference: RankReference, compared: Sequence[Comparison], step: EvidenceStep
    ) -> dict[str, object]:
        return {
            "signals": {
                each.signal: described(each) if self.lead in {None, each.signal} else brief(each)
                for each in compared
            },
            "absent": list(reference.absent),
            "refused": step.refused,
            **self.details(compared),
        }


def _compare(reference: RankReference, placement: Placement) -> list[Comparison]:
    return [
        compare_signal(
            signal,
            reference.sides[i],
            ordered=reference.ordered[i],
            values=placement.values[:, i],
            u=placement.u[:, i],
            groups=placement.groups,
            null=reference.null,
        )
        for i, signal in enumerate(reference.signals)
    ]


def _detectable(reference: RankReference, window: Window, *, units: int, budget: Budget) -> float:
    """Return Cliff's delta of the most sensitive signal: twice the rise of its mean rank."""
    rise = detectable_rise(reference.null, window, units=units, budget=budget)
    location = [name.endswith((":up", ":down")) for name in reference.null.names]
    delta = 2.0 * float(rise[location].min())
    return delta if delta <= 1.0 else np.inf

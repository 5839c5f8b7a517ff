"""Compare how often something happens: detectors over 0/1 signals.

A detector of this family is a name and its signals: see ``repetition.py``.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import Final

import numpy as np

from detectors import packing
from detectors.columns import columns, measured
from detectors.day_effect import ASSUMED, DayEffect, Shown, rate_rises, unknown_of
from detectors.design_effect import DAY_BLOCKS_FROM_DAYS
from detectors.evidence import EvidenceStep, advance
from detectors.null import Null, fit_null, marked
from detectors.profile import EffectScale, Profile
from detectors.proportions import rate_gap
from detectors.scores import Units, as_units, subject_checks
from detectors.season import SeasonCoverage, fit_coverage, spans
from detectors.sensitivity import detectable_rise
from detectors.types import Budget, Effect, Floats, Process, Score, State, Window

KIND = "rates"
NEWEST: Final = 20
"""The most recent records of other subjects that are checked when one subject's fail."""
MOST: Final = 0.5
SLACK: Final = 0.02
"""A rate surely higher by this affects the others too: above one failure among twenty."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class RateReference:
    """The reference of a baseline of 0/1 signals: one score, ``signal:rate``, per signal."""

    signals: tuple[str, ...]
    absent: tuple[str, ...]
    coverage: SeasonCoverage
    null: Null


@dataclass(frozen=True, slots=True, kw_only=True)
class RateDetector:
    """Compares how often something happens with the reference's rate.

    The e-process of a 0/1 score is exact for independent requests (no approximation of
    its distribution enters), and for clusters no larger than the design effect. Effects
    are differences of rates with Newcombe's hybrid score interval over units.

    Power, with a reference of 10,000 without a failure and 1/800 of one page in 30 days: a
    failure of every answer crosses within 12 records, 5 % of failures within about 600.

    Parameters
    ----------
    hard
        True if evaluated every minute; pages without waiting for a probe.
    pages
        True if it has a page process.
    check_seconds, profile
        See :class:`detectors.rank_detector.RankDetector`.
    """

    name: str
    signals: tuple[str, ...]
    hard: bool = False
    pages: bool = True
    check_seconds: float = 900.0
    profile: Profile = field(default_factory=Profile)

    @property
    def scale(self) -> EffectScale:
        """Effects are differences of rates."""
        return EffectScale.RATE

    def fit(self, baseline: Window, *, days: DayEffect = ASSUMED) -> RateReference:
        """Freeze a baseline; raises SignalAbsent or ReferenceTooSmall."""
        found = measured(baseline, self.signals)
        values = _rates(baseline, found.present)
        groups = subject_checks(baseline.at, baseline.subjects, check_seconds=self.check_seconds)
        units = as_units(baseline.at, values, groups)
        coverage = fit_coverage(baseline.at[~np.isnan(values).all(axis=1)])
        by_day = spans(baseline.at, DAY_BLOCKS_FROM_DAYS)
        null = fit_null(
            units,
            names=tuple(f"{signal}:rate" for signal in found.present),
            indicator=np.ones(len(found.present), dtype=np.bool_),
            check_seconds=self.check_seconds,
            by_day=by_day,
        )
        shown = Shown(
            at=units.at,
            scores=units.scores,
            deff=null.deff,
            location=np.arange(len(found.present)),
            steady=np.ones(len(found.present), dtype=np.bool_),
            days_known=by_day or spans(units.at, DAY_BLOCKS_FROM_DAYS),
        )
        unknown = unknown_of(
            shown,
            coverage,
            replace(days, hours=0.0),
            parts=np.ones(len(found.present)),
            rises=rate_rises(null.mean),
        )
        return RateReference(
            signals=found.present,
            absent=found.absent,
            coverage=coverage,
            null=replace(null, unknown=unknown),
        )

    def score(
        self, reference: RateReference, window: Window, state: State, budget: Budget
    ) -> tuple[Score, State]:
        """Absorb a window of new records and score it."""
        units = self._processes(reference, window, budget)
        step = advance(reference.null, state, window, units, budget=budget)
        effect = _worst(reference, units[Process.NOTICE])
        n = len(units[Process.NOTICE])
        rise = detectable_rise(reference.null, window, units=n, budget=budget)
        score = Score(
            value=effect.shown,
            evidence_notice=step.evidence[Process.NOTICE],
            evidence_page=step.evidence.get(Process.PAGE, -np.inf),
            effect=effect.value,
            interval=(effect.lo, effect.hi),
            n_reference=int(reference.null.units.max()),
            n_window=n,
            minimum_detectable=float(rise.min()),
            winner=step.winner,
            increments=step.increments,
            details=_describe(reference, window, step),
        )
        return score, step.state

    def effect_since(self, reference: RateReference, window: Window) -> Effect:
        """Compare all of a window's records, whether the process has seen them or not."""
        worst = _worst(reference, self.units(reference, window))
        return worst if worst.signal is None else _counted(reference, worst, window)

    def names(self, reference: RateReference) -> tuple[str, ...]:
        """Return the names of the K scores."""
        return reference.null.names

    def dump(self, reference: RateReference) -> bytes:
        """Serialise without pickle."""
        return packing.pack(KIND, rate_arrays(reference))

    def load(self, body: bytes) -> RateReference:
        """Read the bytes of :meth:`dump`; raises ReferenceUnreadable."""
        return packing.read(KIND, body, read_rates)

    def units(self, reference: RateReference, window: Window) -> Units:
        """Return the units ``(n, K)`` that a window's records are counted as."""
        units = as_units(window.at, _rates(window, reference.signals), window.subjects)
        return marked(units, reference.null, reference.coverage)

    def _processes(
        self, reference: RateReference, window: Window, budget: Budget
    ) -> dict[Process, Units]:
        units = self.units(reference, window)
        pages = self.pages and budget.page > 0.0
        return {Process.NOTICE: units} | ({Process.PAGE: units} if pages else {})


def rate_arrays(reference: RateReference) -> packing.Arrays:
    """Name a reference's arrays for :func:`detectors.packing.pack`."""
    return {
        "signals": np.array(reference.signals),
        "absent": np.array(reference.absent, dtype=np.str_),
        **packing.null_arrays(reference.null),
        **packing.coverage_arrays(reference.coverage),
    }


def read_rates(arrays: packing.Arrays) -> RateReference:
    """Build a reference from what :func:`rate_arrays` named."""
    null, coverage = packing.read_null(arrays), packing.read_coverage(arrays)
    parts, rises = np.ones(len(null.names)), partial(rate_rises, null.mean)
    return RateReference(
        signals=packing.words(arrays["signals"]),
        absent=packing.words(arrays["absent"]),
        coverage=coverage,
        null=packing.with_unknown(null, arrays, coverage, parts=parts, rises=rises),
    )


def _rates(window: Window, signals: tuple[str, ...]) -> Floats:
    """Return indicator columns; any value but 0 counts as 1, so that a score stays in [0, 1]."""
    values = columns(window, signals)
    return np.where(np.isnan(values), np.nan, (values != 0.0).astype(np.float64))


def _worst(reference: RateReference, units: Units) -> Effect:
    effects = [
        _difference(reference, units, column)
        for column in range(len(reference.signals))
        if (~np.isnan(units.scores[:, column])).any()
    ]
    return max(effects, key=lambda effect: effect.value, default=Effect.unknown())


def _counted(reference: RateReference, effect: Effect, window: Window) -> Effect:
    """Add to an effect its number of records, and whether it is a single subject's."""
    column = reference.signals.index(effect.signal or reference.signals[0])
    happened = _rates(window, reference.signals)[:, column]
    return replace(
        effect,
        records=int((~np.isnan(happened)).sum()),
        alone=_of_one_subject(reference, column, happened, window),
    )


def _of_one_subject(
    reference: RateReference, column: int, happened: Floats, window: Window
) -> bool:
    """True if the failures are mostly one subject's, and the others are as before.

    A single subject has no others whose healthy answers contradict it; records without a subject
    cannot be attributed. A subject's lasting failures may become everyone's: then most of the
    others' newest records show it.
    """
    bad = happened == 1.0
    if window.subjects is None or not (bad & (window.subjects >= 0)).any():
        return False
    whose, counts = np.unique(window.subjects[bad & (window.subjects >= 0)], return_counts=True)
    worst = whose[counts.argmax()]
    mine = window.subjects == worst
    others = ~mine & (window.at >= window.at[bad & mine].min()) & ~np.isnan(happened)
    if 2 * counts.max() < bad.sum() or not others.any():
        return False
    units = as_units(window.at[others], happened[others, None], window.subjects[others])
    newest = happened[others][np.argsort(window.at[others], kind="stable")][-NEWEST:]
    surely = _gap(reference, column, units.scores[:, 0]).lo > SLACK
    return not surely and float(newest.mean()) < MOST


def _difference(reference: RateReference, units: Units, column: int) -> Effect:
    return _gap(reference, column, units.scores[:, column])


def _gap(reference: RateReference, column: int, seen: Floats) -> Effect:
    null = reference.null
    seen = seen[~np.isnan(seen)]
    now, then = float(seen.mean()), float(null.mean[column])
    gap = rate_gap(now, seen.size, then, float(null.units[column] / null.deff[column]))
    return Effect(
        value=gap.value,
        lo=gap.low,
        hi=gap.high,
        n=seen.size,
        shown=max(0.0, gap.value),
        signal=reference.signals[column],
    )


def _describe(reference: RateReference, window: Window, step: EvidenceStep) -> dict[str, object]:
    values = _rates(window, reference.signals)
    return {
        "signals": {
            signal: {
                "n": int((~np.isnan(column)).sum()),
                "count": int(np.nansum(column)),
                "reference_rate": float(rate),
            }
            for signal, column, rate in zip(
                reference.signals, values.T, reference.null.mean, strict=True
            )
        },
        "absent": list(reference.absent),
        "refused": step.refused,
    }

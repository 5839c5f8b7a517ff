"""Predict whether a trial's steps can be decided, at the given traffic and spread.

:mod:`detectors.trial_plan` chooses a step for a fall that must be seen; this looks ahead over
steps that are given, for a trial that is no worse: when each has its requests, when each
guardrail's bound lies inside its margin, and whether that is before a person is asked.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import scipy

from detectors.trial import half_width
from detectors.trial_plan import POWER

_HALVINGS = 60


@dataclass(frozen=True, slots=True, kw_only=True)
class Gauge:
    """One guardrail that must come inside its margin.

    alpha, margin
        Its share of the accepted false rollbacks, and the acceptable loss.
    pace
        Information (1/variance of the difference) that a day brings, over w(1-w) at a share w
        of the traffic; of pairs, that a day of copies brings. Above 0.
    information, planned
        The information so far, and the amount about which its bounds are tightest; None means
        that of the first step's shortest time.
    """

    name: str
    alpha: float
    margin: float
    pace: float
    information: float = 0.0
    planned: float | None = None

    def chance(self, information: float) -> float:
        """Return the probability, in [0, 1], that the bound is inside if the trial is no worse.

        At one look; a trial is looked at often, so slightly more pass at some look.
        """
        return float(scipy.special.ndtr(self._above(information)))

    def needs(self) -> float:
        """Return the information at which that is ``POWER``; above 0.

        Infinite if nothing may be lost: then a trial that is no worse is never proven so. Bisection
        of a function that crosses its level once: the bound grows with the root of the information,
        its width only with the root of its logarithm.
        """
        if self.margin <= 0.0:
            return math.inf
        sure = float(scipy.special.ndtri(POWER))
        low = high = (sure / self.margin) ** 2
        while self._above(high) < sure:
            low, high = high, 2.0 * high
        for _ in range(_HALVINGS):
            middle = math.sqrt(low * high)
            low, high = (middle, high) if self._above(middle) < sure else (low, middle)
        return high

    def _above(self, information: float) -> float:
        """Return the standard errors by which the margin exceeds the bound of no difference."""
        if information <= 0.0:
            return -math.inf
        planned = information if self.planned is None else self.planned
        half = half_width(information, alpha=self.alpha, planned=planned)
        return (self.margin - half) * math.sqrt(information)


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A step: traffic share (0: copies), shortest and longest days, fewest requests per arm."""

    weight: float
    days: float
    longest: float
    requests: int

    @property
    def fewer(self) -> float:
        """The share of requests of the smaller arm; a copy belongs to both arms."""
        return min(self.weight, 1.0 - self.weight) if self.weight > 0.0 else 1.0

    @property
    def density(self) -> float:
        """The share of a gauge's pace in this step."""
        return self.weight * (1.0 - self.weight) if self.weight > 0.0 else 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class StepOutlook:
    """The forecast of a step, in days from its current state; infinite means never.

    requests_after
        Until both arms have its requests.
    inside_after
        Until every gauge is inside its margin with a probability of ``POWER``; 0 without gauges.
    after
        Until it may end: its shortest time, requests and bounds are reached.
    left
        Until a person is asked.
    chance
        The probability that it is decided by itself until then, if the trial is no worse.
    slowest
        The gauge that is inside last; None if unknown.
    """

    weight: float
    requests_after: float
    inside_after: float
    after: float
    left: float
    chance: float
    slowest: str | None

    @property
    def decided(self) -> bool:
        """True if it ends by itself before a person is asked, in 9 of 10 trials."""
        return self.after <= self.left


def reaches(
    stages: Sequence[Stage],
    *,
    requests_per_day: float,
    copies_per_day: float,
    beside: Sequence[Gauge],
    pairs: Sequence[Gauge],
    ran: float = 0.0,
    seen: int = 0,
) -> tuple[StepOutlook, ...]:
    """Forecast steps, each from the end of the one before.

    ``beside`` are the gauges of steps with a share, ``pairs`` those of copies; ``ran`` and
    ``seen`` are days, and requests of the smaller arm, of the first step so far. What steps with
    a share bring is added up. Measured against the simulation of canaries:
    ``docs/benchmarks.md``.

    Cost: some 100 evaluations of a closed form for each gauge and step.
    """
    found, carried = [], list(beside)
    for stage in stages:
        copies = stage.weight == 0.0
        per_day = copies_per_day if copies else requests_per_day * stage.fewer
        gauges = [_planned(gauge, stage) for gauge in (pairs if copies else carried)]
        one = _reach(stage, gauges, per_day=per_day, ran=ran, seen=seen)
        found.append(one)
        if not copies and math.isfinite(one.after):
            carried = [_grown(gauge, stage, one.after) for gauge in gauges]
        ran, seen = 0.0, 0
    return tuple(found)


def shortest(
    gauges: Sequence[Gauge], *, weight: float, requests_per_day: float, fewest: int
) -> float:
    """Return the days until one step of a share (0: of copies) is decided, planned for just that.

    ``requests_per_day`` are those of the adapter, or the copies.
    """
    stage = Stage(weight=weight, days=0.0, longest=math.inf, requests=fewest)
    fresh = [replace(gauge, information=0.0, planned=None) for gauge in gauges]
    waits = [_inside_after(gauge, stage) for gauge in fresh]
    return max([_days(fewest, requests_per_day * stage.fewer), *waits])


def _reach(
    stage: Stage, gauges: Sequence[Gauge], *, per_day: float, ran: float, seen: int
) -> StepOutlook:
    requests_after = _days(stage.requests - seen, per_day)
    waits = {gauge.name: _inside_after(gauge, stage) for gauge in gauges}
    slowest = max(waits, key=lambda name: waits[name], default=None)
    inside_after = max(waits.values(), default=0.0)
    left = max(0.0, stage.longest - ran)
    chances = [_grown(gauge, stage, left).information for gauge in gauges]
    chance = min(
        (gauge.chance(until) for gauge, until in zip(gauges, chances, strict=True)), default=1.0
    )
    return StepOutlook(
        weight=stage.weight,
        requests_after=requests_after,
        inside_after=inside_after,
        after=max(stage.days - ran, 0.0, requests_after, inside_after),
        left=left,
        chance=chance if requests_after <= left else 0.0,
        slowest=slowest,
    )


def _days(requests: int, per_day: float) -> float:
    if requests <= 0:
        return 0.0
    return requests / per_day if per_day > 0.0 else math.inf


def _planned(gauge: Gauge, stage: Stage) -> Gauge:
    if gauge.planned is not None:
        return gauge
    return replace(gauge, planned=gauge.pace * stage.density * stage.days)


def _grown(gauge: Gauge, stage: Stage, days: float) -> Gauge:
    return replace(gauge, information=gauge.information + gauge.pace * stage.density * days)


def _inside_after(gauge: Gauge, stage: Stage) -> float:
    return max(0.0, gauge.needs() - gauge.information) / (gauge.pace * stage.density)

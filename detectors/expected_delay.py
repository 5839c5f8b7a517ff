"""How long a drift of a stated size would take to be seen, worked out from the reference.

Question: if drift began now, after how many requests would this detector's evidence cross
its line, at this traffic and this share of the budget?

Each bet's capital follows its expected log growth: a bet lam on a score S grows by
``E log(1 + lam (S - m0)) / divisor`` per unit, where S is drawn from the reference's own
values, moved by the drift. Between windows

    M <- (M + b dt/H) exp(n growth),

and the answer is the first window at which the weighted mean of the capitals, as the
evidence takes it, reaches 1. Before the drift every M stands where its loss without drift
and the start weights balance.

That is the median path of a random one: chance makes a delay shorter or longer. Against
simulated delays (medians; references of 1,000 records to 14 days, 4 to 40 requests a check,
shares of 1 to 1/1000) it is within a factor of .6 to 1.6, and within a check where the delay
is only a few checks. **One signal alone is moved**, the detector's first; a real drift mostly
moves several and is seen sooner.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import lru_cache
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors import rank_reference
from detectors.null import FRACTIONS, BetTerms, Null, bet_terms
from detectors.rank_reference import RankReference
from detectors.ranks import mid_ranks
from detectors.rate_detector import RateReference
from detectors.scores import DriftSide, Kinds, scores_named
from detectors.sensitivity import detectable_rise
from detectors.types import (
    HORIZON_SECONDS,
    SECONDS_PER_DAY,
    Budget,
    Floats,
    Process,
    Window,
)

BAD_SHARE = 0.05
BAD_SIZE = 5.0
LONGEST_DAYS = 30.0
"""Longer delays are reported as not seen."""
_GRID = 1_024
_CENTRAL = (0.16, 0.84)
"""Quantiles; half of the distance between them is one sd of a normal signal."""
_REMEMBERED = 65_536


class Drift(StrEnum):
    """The drifts for which delays are computed; sizes in sd of the detector's first signal."""

    HALF_SD = "half_sd"
    ONE_SD = "one_sd"
    BAD_REQUESTS = "bad_requests"
    """5 % of the requests: 5 sd worse, or with the failure that a rate counts."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Growth:
    """The expected log growth of each bet, without drift and by drift.

    ``moved`` lacks the drifts that are meaningless for a detector: a rate has no sd.
    """

    null: Null
    still: Mix
    moved: Mapping[Drift, Mix]

    def by(self, drift: Drift | None, process: Process, *, share: float) -> Floats:
        """Return the growth per unit ``(L, K)`` in the busiest hours; None means no drift."""
        return _growth(self, drift, self.terms(process, share=share))

    def terms(self, process: Process, *, share: float) -> BetTerms:
        """Return the process's bet terms in the busiest hours."""
        seen = self.null.unknown is None or self.null.unknown.mostly_seen
        return bet_terms(self.null, process, share=share, seen=seen)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mix:
    """The distribution of units: quantiles of mid-ranks ``(1024, S)``, or rates ``(K,)``.

    A ``share`` of the units follows it; the others are unchanged.
    """

    values: npt.NDArray[np.float32] | Floats
    kinds: Kinds = ()
    share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Delay:
    """The time from a drift's start to its crossing window's end; inf if not within 30 days."""

    hours: float
    units: float


def growth_of(reference: Any) -> Growth | None:
    """Return a reference's growth; None for a kind of reference without a process."""
    match reference:
        case RankReference():
            return _rank_growth(reference)
        case RateReference():
            return _rate_growth(reference.null)
        case _:
            return None


@lru_cache(maxsize=_REMEMBERED)
def expected_delay(
    growth: Growth,
    drift: Drift,
    process: Process,
    *,
    share: float,
    units_per_day: float,
    check_seconds: float,
) -> Delay | None:
    """Follow the capital of every bet; None if the drift is meaningless here.

    .4 ms, and 10 ms for the first of a growth and share, remembered by its arguments (a growth
    by identity): round the traffic.

    Parameters
    ----------
    share
        Accepted alarms of this process in 30 days.
    units_per_day
        Requests, or subjects within a check if subjects are known.
    check_seconds
        Length of a window; a drift is seen at a window's end.
    """
    if drift not in growth.moved:
        return None
    return delay_of(
        growth,
        growth.by(drift, process, share=share),
        process,
        share=share,
        units_per_day=units_per_day,
        check_seconds=check_seconds,
    )


def delay_of(
    growth: Growth,
    drifting: Floats,
    process: Process,
    *,
    share: float,
    units_per_day: float,
    check_seconds: float,
) -> Delay:
    """Follow the capital of every bet that grows by ``drifting`` ``(L, K)`` per unit.

    Parameters are those of :func:`expected_delay`.
    """
    per_check = units_per_day * check_seconds / SECONDS_PER_DAY
    if share <= 0.0 or per_check <= 0.0:
        return Delay(hours=np.inf, units=np.inf)
    start = np.log(share * check_seconds / HORIZON_SECONDS)
    longest = LONGEST_DAYS * SECONDS_PER_DAY / check_seconds
    settled = start + _log_sum(per_check * growth.by(None, process, share=share), longest)
    step = per_check * drifting
    parts = np.log(growth.null.weights / FRACTIONS.size)

    def evidence(checks: float) -> float:
        capital = np.logaddexp(settled + step * checks, start + _log_sum(step, checks))
        return float(np.logaddexp.reduce(capital + parts, axis=None))

    low, high = 0, int(longest)
    if evidence(high) < 0.0:
        return Delay(hours=np.inf, units=np.inf)
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if evidence(middle) >= 0.0 else (middle, high)
    return Delay(hours=high * check_seconds / 3600.0, units=high * per_check)


def minimum_detectable(
    null: Null, *, budget: Budget, units_per_day: float, check_seconds: float
) -> float:
    """Return the smallest effect seen within a day at this traffic; inf if blind.

    As :attr:`detectors.types.Score.minimum_detectable`, at the traffic of a day instead of
    one window's: Cliff's delta of the signal easiest to see, or a difference of rates.
    """
    check = Window(start=0.0, end=check_seconds, at=np.empty(0), signals={})
    per_check = units_per_day * check_seconds / SECONDS_PER_DAY
    rise = detectable_rise(null, check, units=per_check, budget=budget)
    location = [name.endswith((":up", ":down")) for name in null.names]
    if not any(location):
        return float(rise.min())
    delta = 2.0 * float(rise[location].min())
    return delta if delta <= 1.0 else np.inf


def _log_sum(step: Floats, checks: float) -> Floats:
    """Return the log of ``sum over i = 1..checks of exp(i step)``: equal starts that each grew."""
    size = np.maximum(np.abs(step), 1e-12)
    # exp(step) (1 - exp(checks step)) / (1 - exp(step)), in the form that cannot overflow
    falling = -size + np.log(-np.expm1(-size * checks)) - np.log(-np.expm1(-size))
    rising = size * checks + np.log(-np.expm1(-size * checks)) - np.log(-np.expm1(-size))
    return np.where(step > 0.0, rising, falling) if checks > 0.0 else np.full_like(step, -np.inf)


def _rank_growth(reference: RankReference) -> Growth:
    ordered, grid = reference.ordered[0], quantiles(reference.ordered[0])
    size = (-1.0 if reference.sides[0] is DriftSide.DOWN else 1.0) * signal_sd(ordered)
    kinds = rank_reference.kinds_scored(reference)
    still = np.column_stack([mid_ranks(each, quantiles(each)) for each in reference.ordered])

    def mixed(by: float, share: float = 1.0) -> Mix:
        first = mid_ranks(ordered, grid + by * size)
        values = np.column_stack([first, still[:, 1:]]).astype(np.float32)
        return Mix(values=values, kinds=kinds, share=share)

    return Growth(
        null=reference.null,
        still=mixed(0.0),
        moved={
            Drift.HALF_SD: mixed(0.5),
            Drift.ONE_SD: mixed(1.0),
            Drift.BAD_REQUESTS: mixed(BAD_SIZE, BAD_SHARE),
        },
    )


def _rate_growth(null: Null) -> Growth:
    worse = null.mean.copy()
    worse[0] += BAD_SHARE * (1.0 - worse[0])
    return Growth(
        null=null, still=Mix(values=null.mean), moved={Drift.BAD_REQUESTS: Mix(values=worse)}
    )


@lru_cache(maxsize=_REMEMBERED)
def _growth(growth: Growth, drift: Drift | None, terms: BetTerms) -> Floats:
    mix = growth.still if drift is None else growth.moved[drift]
    if not mix.kinds:
        return rate_growth(terms, np.asarray(mix.values, dtype=np.float64))
    still = scores_named(growth.still.values.astype(np.float64), mix.kinds)
    scores = scores_named(mix.values.astype(np.float64), mix.kinds)
    return mean_growth(growth.null.sd, terms, scores, still=still, share=mix.share)


def rate_growth(terms: BetTerms, rates: Floats) -> Floats:
    """Return the mean growth ``(L, K)`` if 0/1 scores have these rates ``(K,)``."""
    never, always = np.zeros((1, rates.size)), np.ones((1, rates.size))
    lost, won = _logs(terms, never)[0], _logs(terms, always)[0]
    return np.asarray((1.0 - rates) * lost + rates * won)


def mean_growth(
    sd: Floats, terms: BetTerms, scores: Floats, *, still: Floats, share: float
) -> Floats:
    """Return the mean growth ``(L, K)`` if a share of the units has ``scores``, the rest ``still``.

    Both are ``(1024, K)``; ``sd`` is that of the reference's units.
    """
    both = np.concatenate([still, scores])
    parts = np.repeat([(1.0 - share), share], _GRID)[:, None] / _GRID
    mean = (parts * both).sum(axis=0)
    # a unit of several requests of one subject varies less than one request
    spread = np.minimum(1.0, sd / np.maximum(still.std(axis=0), 1e-12))
    units = np.clip(mean + spread * (both - mean), 0.0, 1.0)
    return np.asarray((parts[:, :, None] * _logs(terms, units).transpose(0, 2, 1)).sum(axis=0).T)


def _logs(terms: BetTerms, scores: Floats) -> Floats:
    """Return the log growth ``(n, L, K)`` of each bet by units ``(n, K)``."""
    excess = scores[:, None, :] - terms.null_mean
    return np.asarray(np.log1p(terms.stakes * excess) / terms.divisors)


def quantiles(ordered: Floats) -> Floats:
    """Return evenly spaced quantiles of a sorted signal, which represent it."""
    at = (np.arange(_GRID) + 0.5) / _GRID * ordered.size
    return ordered[at.astype(np.int64)]


def signal_sd(ordered: Floats) -> float:
    """Return the sd of a sorted signal that drifts are measured in."""
    low, high = np.quantile(ordered, _CENTRAL)
    finite = float(high - low) / 2.0
    return finite if finite > 0.0 else float(np.std(ordered))

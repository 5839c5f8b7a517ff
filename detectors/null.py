"""Define "nothing happened" for each score, including the reference's own error."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import assert_never

import numpy as np
import numpy.typing as npt
import scipy

from detectors.day_effect import Unknown, rounded
from detectors.design_effect import design_effect, with_shifts
from detectors.scores import Units
from detectors.season import SeasonCoverage, covered, span_days
from detectors.types import Floats, Process

FRACTIONS = np.array([0.05, 0.1, 0.2, 0.4, 0.8])
"""Betting fractions g: small ones find small steady drifts, large ones find garbage fast."""
_CONFIDENCE = 0.99
_SD_FLOOR = 0.05
_LARGEST_TOLERATED = 0.98
_LARGEST_STAKE = 0.9


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Null:
    """Statistics of the reference's scores: K columns each.

    names
        ``signal:score``, the order of every ``(L, K)`` array.
    mean, sd
        Of the reference's units.
    deff
        Upper 95 % limit of the design effect, >= 1.
    upper
        Upper 99 % confidence bound of the mean, Bonferroni over the K scores by weight.
    indicator
        0/1 scores and rates: their tolerance is relative.
    units
        Reference units with such a score.
    weights
        Each score's part of the starting capital, summing to 1: the evidence is the mean of
        the scores' capital under these weights, whose expectation grows as each one's does.
    unknown
        What the reference is too short to know about days and hours; None if nothing.
    shown_days
        Upper 95 % limit of the sd by which its days differ; NaN if there are too few days.
    """

    names: tuple[str, ...]
    mean: Floats
    sd: Floats
    deff: Floats
    upper: Floats
    indicator: npt.NDArray[np.bool_]
    units: npt.NDArray[np.int64]
    weights: Floats
    unknown: Unknown | None = None
    shown_days: float = np.nan


def equal_weights(scores: int) -> Floats:
    """Return weights that give every score the same share of the capital."""
    return np.full(scores, 1.0 / scores)


def fit_null(
    units: Units,
    *,
    names: tuple[str, ...],
    indicator: npt.NDArray[np.bool_],
    check_seconds: float,
    weights: Floats | None = None,
    by_day: bool = False,
) -> Null:
    """Summarise the reference's units ``(m, K)``; without weights all scores weigh the same.

    ``by_day`` as in :func:`detectors.design_effect.design_effect`.
    """
    parts = equal_weights(len(names)) if weights is None else weights
    counts = (~np.isnan(units.scores)).sum(axis=0)
    deff = with_shifts(
        design_effect(units.at, units.scores, check_seconds=check_seconds, by_day=by_day),
        names,
        units_per_day=counts / max(span_days(units.at), 1.0),
    )
    mean = np.nanmean(units.scores, axis=0)
    sd = np.nanstd(units.scores, axis=0)
    alpha = (1.0 - _CONFIDENCE) * parts
    upper = _upper_bound(mean=mean, sd=sd, size=counts / deff, indicator=indicator, alpha=alpha)
    return Null(
        names=names,
        mean=mean,
        sd=sd,
        deff=deff,
        upper=upper,
        indicator=indicator,
        units=counts.astype(np.int64),
        weights=parts,
    )


def marked(units: Units, null: Null, coverage: SeasonCoverage) -> Units:
    """Mark the units in hours and weekdays that the reference has not seen, if that matters."""
    if null.unknown is None:
        return units
    return replace(units, unseen=~covered(coverage, units.at))


def null_mean(null: Null, process: Process, *, share: float = 1.0, seen: bool = True) -> Floats:
    """Return the largest conditional mean ``(K,)`` that still counts as nothing: m0.

    ``min(1, max(upper bound, min(.98, mean + tolerance)))``: the reference's error and what
    people would call no change, whichever is larger, not both added. Cutting the tolerance at
    .98 keeps a rise to *always* visible. The reference's error is never cut: what was nearly
    always so before is no news. Where the reference is too short to know how days differ, its
    error is of two independent parts, and the bound is ``mean + sqrt((upper bound - mean)² +
    rise²)``; see :mod:`detectors.day_effect`.

    Parameters
    ----------
    share
        Accepted alarms of the process in 30 days: how rarely a day may exceed the mean.
    seen
        True for hours and weekdays that the reference has seen.
    """
    bound = _bound(null, share=share, seen=seen)
    return np.minimum(1.0, np.maximum(bound, _tolerated(null, process)))


def _tolerated(null: Null, process: Process) -> Floats:
    return np.minimum(_LARGEST_TOLERATED, null.mean + _tolerance(null, process))


def _bound(null: Null, *, share: float, seen: bool) -> Floats:
    if null.unknown is None:
        return null.upper
    rise = null.unknown.rise(share=rounded(share), seen=seen)
    wider = null.mean + np.hypot(null.upper - null.mean, rise)
    return np.where(rise > 0.0, wider, null.upper)


def _stakes(null: Null, m0: Floats) -> Floats:
    """Return the bets ``(L, K)`` on each score: ``min(g / max(sd, .05), .9 / m0)``.

    The second term keeps every factor ``1 + lam (S - m0)`` at .1 or more.
    """
    wanted = FRACTIONS[:, None] / np.maximum(null.sd, _SD_FLOOR)
    return np.minimum(wanted, _LARGEST_STAKE / m0)


def _divisors(null: Null, process: Process, bets: Floats) -> Floats:
    """Return the divisor, >= 1, of each bet's evidence ``(L, K)``, as units move together.

    The whole design effect where the null mean is the reference's own upper bound. Where it
    lies higher, that slack pays for part of the common movement first:

        divisor = max(1, deff / (1 + 2 slack / (lam sd²))),  slack = m0 - upper bound

    Let the units of a block share a movement of their mean by delta, sub-Gaussian with the
    variance ``sd² (deff - 1) / n`` that the design effect stands for, and be independent
    given it, with a mean no higher than the upper bound. At divisor 1 a block of n units
    multiplies the process by at most ``E exp(n lam (delta - slack)) <= exp(n lam (lam sd²
    (deff - 1) / 2 - slack))``, which is 1 or less exactly when ``deff <= 1 + 2 slack /
    (lam sd²)``; larger divisors follow to second order. Small bets, which find small
    steady drifts, gain most: they are the ones a tolerance protects from small bad days.

    What a short reference allows for days is no slack: a day may use all of it. For indicators
    sd² is that of the upper bound: none in the reference is not never.
    """
    slack = np.maximum(0.0, _tolerated(null, process) - null.upper)
    bound = np.clip(null.upper, 0.0, 1.0)
    variance = np.where(null.indicator, bound * (1.0 - bound), np.square(null.sd))
    spread = np.maximum(variance, _SD_FLOOR**2) * bets
    return np.maximum(1.0, null.deff / (1.0 + 2.0 * slack / spread))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BetTerms:
    """The terms of one process's bets on a null: ``(K,)``, ``(L, K)`` and ``(L, K)``."""

    null_mean: Floats
    stakes: Floats
    divisors: Floats


def bet_terms(null: Null, process: Process, *, share: float = 1.0, seen: bool = True) -> BetTerms:
    """Compute the terms once for each null (by identity): a third of a small window's cost.

    ``share`` and ``seen`` as in :func:`null_mean`.
    """
    if null.unknown is None:
        return _bet_terms(null, process, 1.0, seen=True)
    return _bet_terms(null, process, rounded(share), seen=seen)


@lru_cache(maxsize=8_192)
def _bet_terms(null: Null, process: Process, share: float, *, seen: bool) -> BetTerms:
    m0 = null_mean(null, process, share=share, seen=seen)
    bets = _stakes(null, m0)
    return BetTerms(null_mean=m0, stakes=bets, divisors=_divisors(null, process, bets))


def _tolerance(null: Null, process: Process) -> Floats:
    match process:
        case Process.NOTICE:
            rank, relative, points = 0.01, 0.25, 0.005
        case Process.PAGE:
            rank, relative, points = 0.05, 0.5, 0.01
        case _:
            assert_never(process)
    return np.where(null.indicator, np.maximum(relative * null.mean, points), rank)


def _upper_bound(
    *, mean: Floats, sd: Floats, size: Floats, indicator: npt.NDArray[np.bool_], alpha: Floats
) -> Floats:
    normal = mean - scipy.special.ndtri(alpha) * np.maximum(sd, _SD_FLOOR) / np.sqrt(size)
    hits = mean * size
    beta = scipy.special.betaincinv(hits + 1.0, np.maximum(size - hits, 1e-9), 1.0 - alpha)
    return np.where(indicator, beta, normal)

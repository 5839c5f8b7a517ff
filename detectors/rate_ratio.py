"""Estimate a share's growth, with an interval that is right for small counts."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Final

import scipy

_TAIL: Final = 0.025


@dataclass(frozen=True, slots=True, kw_only=True)
class RateRatio:
    """A share now over the share before, in [0, inf], with its 95 % interval.

    ``ratio`` is inf if there was nothing before, NaN if there is nothing now either.
    """

    ratio: float
    interval: tuple[float, float]


def rate_ratio(now: int, of_now: int, before: int, of_before: int) -> RateRatio:
    """Return how many times as frequent something is in ``of_now`` as it was in ``of_before``.

    Given the sum of both counts, what came now is binomial with p = r m / (r m + n), where
    r is the ratio; Clopper-Pearson's limits of p give those of r. Exact for Poisson counts,
    a little wide for shares of a few requests; requests of one user count as independent, so
    look at the number of subjects beside it. Source: Przyborowski and Wilenski, Biometrika
    31 (1940), 313-323.

    >>> found = rate_ratio(40, 1_000, 10, 1_000)
    >>> found.ratio, [round(end, 2) for end in found.interval]
    (4.0, [1.97, 8.97])

    Raises
    ------
    ValueError
        Nothing was looked at now or before.
    """
    if of_now <= 0 or of_before <= 0:
        raise ValueError("a share of nothing has no ratio")
    scale = of_before / of_now
    low = float(scipy.special.betaincinv(now, before + 1, _TAIL)) if now else 0.0
    high = float(scipy.special.betaincinv(now + 1, before, 1 - _TAIL)) if before else 1.0
    ratio = scale * now / before if before else (math.inf if now else math.nan)
    return RateRatio(ratio=ratio, interval=(scale * _odds(low), scale * _odds(high)))


def _odds(p: float) -> float:
    return p / (1 - p) if p < 1 else math.inf

"""Intervals of rates and of their differences (Newcombe 1998, *Statistics in Medicine* 17)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy


@dataclass(frozen=True, slots=True, kw_only=True)
class RateGap:
    """One proportion minus another, and the ends of its 95 % interval; all in [-1, 1]."""

    value: float
    low: float
    high: float


def wilson(rate: float, n: float) -> tuple[float, float]:
    """Return the ends of the 95 % score interval of a rate that was seen in ``n`` units."""
    z = float(scipy.special.ndtri(0.975))
    centre = (rate + z * z / (2 * n)) / (1 + z * z / n)
    half = z * np.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n)) / (1 + z * z / n)
    return max(0.0, float(centre - half)), min(1.0, float(centre + half))


def rate_gap(rate: float, n: float, other: float, of_other: float) -> RateGap:
    """Return ``rate - other`` of two independent samples, by Newcombe's method 10.

    >>> found = rate_gap(0.3, 100, 0.1, 100)
    >>> round(found.value, 3), round(found.low, 3), round(found.high, 3)
    (0.2, 0.09, 0.306)
    """
    low, high = wilson(rate, n)
    other_low, other_high = wilson(other, of_other)
    gap = rate - other
    return RateGap(
        value=gap,
        low=gap - float(np.hypot(rate - low, other_high - other)),
        high=gap + float(np.hypot(high - rate, other - other_low)),
    )

"""Compute exact 95 % intervals of counts. Pure."""

from __future__ import annotations

from typing import Any

import scipy

_SIDE = 0.025


def proportion(hits: int, of: int) -> dict[str, Any]:
    """Return a share of streams with its Clopper-Pearson interval.

    >>> found = proportion(8, 10)
    >>> found["share"], [round(bound, 3) for bound in found["interval"]]
    (0.8, [0.444, 0.975])
    """
    low = float(scipy.special.betaincinv(hits, of - hits + 1, _SIDE)) if hits else 0.0
    high = float(scipy.special.betaincinv(hits + 1, of - hits, 1.0 - _SIDE)) if hits < of else 1.0
    return {"share": hits / of, "interval": [low, high]}


def rate(alarms: int, months: float) -> dict[str, Any]:
    """Return alarms in 30 days with their exact Poisson interval.

    >>> found = rate(3, 100)
    >>> found["per_30_days"], [round(bound, 4) for bound in found["interval"]]
    (0.03, [0.0062, 0.0877])
    """
    low = float(scipy.special.gammaincinv(alarms, _SIDE)) / months if alarms else 0.0
    high = float(scipy.special.gammaincinv(alarms + 1, 1.0 - _SIDE)) / months
    return {
        "alarms": alarms,
        "months": months,
        "per_30_days": alarms / months,
        "interval": [low, high],
    }

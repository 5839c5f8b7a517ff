"""Compute the smallest effect that a day of this traffic would show."""

from __future__ import annotations

import numpy as np

from detectors.null import FRACTIONS, Null, bet_terms
from detectors.types import HORIZON_SECONDS, SECONDS_PER_DAY, Budget, Floats, Process, Window


def nats_to_cross(null: Null, window: Window, *, share: float) -> Floats:
    """Return the evidence ``(K,)`` each score needs alone: ``log(L / w) + log(H / (b dt))``."""
    tries = FRACTIONS.size / null.weights
    return np.asarray(np.log(tries) + np.log(HORIZON_SECONDS / (share * window.seconds)))


def detectable_rise(null: Null, window: Window, *, units: float, budget: Budget) -> Floats:
    """Return the rise of each score's mean ``(K,)`` that the notice process sees within a day.

    A day at this window's rate, ``units`` in its length, brings n units. Score k must gather
    T = ``nats_to_cross`` times its divisor, that is T/n per unit, and a bet lam on a mean
    m0 + x grows by about ``lam x - lam² sd²/2`` per unit. For the best of the bets

        rise = m0 - mean + min over lam of (T / (n lam) + lam sd²/2)

    and for 0/1 scores, where the growth is linear in the rate, the exact
    ``(T/n - log(1 - lam m0)) / log((1 + lam (1 - m0)) / (1 - lam m0)) - mean``.
    The reference's error is inside m0. Without a notice budget the page process answers;
    ``inf`` where the needed mean is above 1, or nothing arrives.
    """
    process = Process.NOTICE if budget.notice > 0.0 else Process.PAGE
    share = budget.notice or budget.page
    per_day = units * SECONDS_PER_DAY / window.seconds if window.seconds > 0.0 else 0.0
    if per_day <= 0.0 or share <= 0.0:
        return np.full(len(null.names), np.inf)
    seen = null.unknown is None or null.unknown.mostly_seen
    terms = bet_terms(null, process, share=share, seen=seen)
    m0, bets = terms.null_mean, terms.stakes
    per_unit = nats_to_cross(null, window, share=share) * terms.divisors / per_day
    smooth = m0 + (per_unit / bets + bets * np.square(null.sd) / 2.0).min(axis=0)
    win, lose = np.log1p(bets * (1.0 - m0)), np.log1p(-bets * m0)
    exact = ((per_unit - lose) / (win - lose)).min(axis=0)
    needed = np.where(null.indicator, exact, smooth)
    return np.where(needed <= 1.0, needed - null.mean, np.inf)

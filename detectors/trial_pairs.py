"""Test whether the trial version is worse on prompts that both answered, at any time.

A prompt's difficulty cancels within a pair, so few prompts say much; but for rates only the few
pairs that differ count, too few for a normal bound.
"""

from __future__ import annotations

import math
from typing import Final

import numpy as np
import numpy.typing as npt

from detectors.trial import FEWEST_UNITS, Bounds, Difference
from detectors.types import Floats

Subjects = npt.NDArray[np.int64]
"""The subject code of each pair's prompt ``(n,)``."""

_BETS: Final = np.array([0.05, 0.1, 0.2, 0.55])
"""Shares of the most that may be bet on a pair. The last grows fastest for a fall of 5 points
that a judge shows who wavers in 2 to 8 % of the prompts; the small ones see small falls."""
_CAPITAL: Final = np.array([1.0, 1.0, 1.0, 27.0]) / 30.0
_MEANS: Final = 65
_ROUNDS: Final = 4


def paired(worse: Floats, subjects: Subjects | None = None) -> Difference | None:
    """Return how much worse the trial is on pairs ``(n,)``; None below 20 subjects.

    1 if the trial's answer is the worse of two, -1 if it is the better one, else 0. Without
    subjects each pair counts as its own subject.
    """
    n = worse.size
    units = n if subjects is None else np.unique(subjects).size
    if units < FEWEST_UNITS:
        return None
    variance = float(np.var(worse, ddof=1)) / n
    # one more differing pair each way, so that equal answers prove nothing
    least = 2.0 / ((n + 2.0) * n)
    return Difference(
        value=float(worse.mean()),
        variance=max(variance, least) * design_effect(worse, subjects),
        units=units,
    )


def design_effect(worse: Floats, subjects: Subjects | None) -> float:
    """Return how many pairs count as one, since a subject's pairs may agree; 1 or more.

    Variance of the sum over subjects against that over pairs. Two subjects more, of the size
    that most pairs belong to, whose pairs all differ alike, stand beside those seen: what is
    not known yet of a few pairs that differ is taken for the worst.
    """
    if subjects is None:
        return 1.0
    _, where = np.unique(subjects, return_inverse=True)
    sizes = np.bincount(where).astype(np.float64)
    residuals = worse - worse.mean()
    sums = np.bincount(where, weights=residuals)
    size = float(sizes @ sizes / sizes.sum())
    of_subjects = float(sums @ sums) + 2.0 * size**2
    return max(1.0, of_subjects / (float(residuals @ residuals) + 2.0 * size))


def pair_bounds(worse: Floats, *, alpha: float, subjects: Subjects | None = None) -> Bounds:
    """Bound the degradation: each end is wrong at any look with probability ``alpha``.

    Exact for pairs ``(n,)`` of -1, 0 and 1, at least one, however rarely they differ: the
    lower end is the largest mean that a fair bet against it has not yet refuted. Each pair
    multiplies a capital of 1 by ``1 + b (x - m)``, whose mean is at most 1 where the mean is at
    most m whatever came before; it ever reaches 1/alpha with probability alpha (Ville's
    inequality). Where pairs of one subject may come out alike, counts are divided by their
    :func:`design_effect`: a power of at most 1 of each bet, whose mean is at most 1 all the
    same, whatever a subject's pairs have in common (Hölder's inequality). The capital is
    divided over four sizes of b and let alone, so that only counts matter, whatever the order.
    Against a mean of 0 it is bet on which of two differing answers is the worse, as McNemar's
    test asks.

    Of falls of 5 points from a success of 85 %, with 2.6 % of the prompts judged differently
    by chance, 84 % are seen within 300 pairs at alpha .04 and half within 180; the exact test
    that looks once, at 300, sees 92 %, and the normal mixture of
    :func:`detectors.trial.bounds` saw 75 %, half within 202.
    Source: Waudby-Smith and Ramdas (2024), *Estimating means of bounded random variables by
    betting*; McNemar (1947).

    Cost: O(n).
    """
    counts = np.array([(worse == one).sum() for one in (1.0, 0.0, -1.0)], dtype=np.float64)
    counts /= design_effect(worse, subjects)
    value = float(worse.mean())
    return Bounds(
        value=value,
        lo=_lower(counts, value, alpha=alpha),
        hi=-_lower(counts[::-1], -value, alpha=alpha),
    )


def _lower(counts: Floats, value: float, *, alpha: float) -> float:
    """Bisect for the lower end: a capital falls as its mean grows, and is at most 1 at ``value``.

    The returned mean is itself refuted, so that the remaining error is on the safe side.
    """
    if value <= -1.0:
        return -1.0
    low, high = -1.0, value
    for _ in range(_ROUNDS):
        means = np.linspace(low, high, _MEANS)
        inner = means[1:]
        last = int((_log_capital(counts, inner) >= -math.log(alpha)).sum())
        low, high = float(means[last]), float(means[min(last + 1, _MEANS - 1)])
    return low


def _log_capital(counts: Floats, means: Floats) -> Floats:
    """Return the log capital of bets against each of the means, above -1.

    ``counts`` are of 1, 0 and -1.
    """
    bets = _BETS / (1.0 + means[:, None])
    outcomes = np.array([1.0, 0.0, -1.0]) - means[:, None]
    logs = np.log1p(bets[:, :, None] * outcomes[:, None, :]) @ counts
    most = logs.max(axis=1)
    return np.asarray(most + np.log(np.exp(logs - most[:, None]) @ _CAPITAL), dtype=np.float64)

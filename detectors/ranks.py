"""Compute ranks in a sorted reference, the KS distance and Cliff's delta.

Everything here depends on the *order* of values only: units, outliers, ties and infinite values are
harmless. A NaN means "not measured" and stays NaN.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import scipy

from detectors.types import Effect, Floats

_WORTH_SORTING = 1_000
_VARIANCE_FLOOR = 0.05**2
"""Of a unit's placement in [-1, 1]: even complete separation is not certainty."""


def mid_ranks(ordered: Floats, values: Floats) -> Floats:
    """Return each value's rank in the reference: share below plus half the share equal.

    Parameters
    ----------
    ordered
        The reference ``(m,)``, sorted, without NaN, ``m >= 1``.
    values
        ``(n,)``; NaN gives NaN.

    Returns
    -------
    Floats
        ``(n,)`` in [0, 1], mean 1/2 over the reference itself.

    Examples
    --------
    >>> mid_ranks(np.array([1.0, 2.0, 2.0, 3.0]), np.array([0.0, 2.0, 9.0])).tolist()
    [0.0, 0.5, 1.0]
    """
    if values.size < _WORTH_SORTING:
        return _mid_ranks(ordered, values)
    # neighbouring look-ups share their path through the reference
    order = np.argsort(values)
    ranks = np.empty(values.size)
    ranks[order] = _mid_ranks(ordered, values[order])
    return ranks


def _mid_ranks(ordered: Floats, values: Floats) -> Floats:
    below = ordered.searchsorted(values, side="left")
    up_to = ordered.searchsorted(values, side="right")
    return np.where(np.isnan(values), np.nan, (below + up_to) / (2.0 * ordered.size))


def ks_distance(ordered: Floats, values: Floats) -> float:
    """Return the largest gap between the two empirical distribution functions, in [0, 1].

    Exact, ties included; equals ``scipy.stats.ks_2samp(...).statistic``. The reference is
    sorted once, so the cost is sorting the window and one binary search per value: 4 to
    100 times less than ``ks_2samp``.

    Between two window values only the reference's function moves, and it only rises: so
    the supremum is reached at a window value or just before one.

    Parameters
    ----------
    ordered
        The reference ``(m,)``, sorted, without NaN.
    values
        The window ``(n,)``, without NaN; 0 if it is empty.

    Examples
    --------
    >>> ks_distance(np.array([1.0, 2.0, 3.0, 4.0]), np.array([3.5, 9.0]))
    0.75
    """
    n, m = values.size, ordered.size
    if n == 0:
        return 0.0
    window = np.sort(values)
    steps = np.arange(n + 1) / n
    new = window[1:] != window[:-1]
    last, first = np.append(new, True), np.insert(new, 0, True)
    up_to = np.searchsorted(ordered, window, side="right")
    below = up_to.copy()
    # only a value that the reference also holds has another rank from the left
    shared = ordered[np.maximum(up_to, 1) - 1] == window
    if shared.any():
        below[shared] = np.searchsorted(ordered, window[shared], side="left")
    at = np.abs(steps[1:] - up_to / m)[last].max()
    before = np.abs(steps[:-1] - below / m)[first].max()
    return float(max(at, before))


def ks_p_value(distance: float, *, m: int, n: int) -> float:
    """Return the two-sided asymptotic p-value of a KS distance, with Stephens' small-sample term.

    For people to look at; no verdict follows from it. Within .003 of the exact value at
    the sizes in use, and 600 times cheaper than ``kstwo.sf``.
    Source: Stephens (1970), *J. R. Stat. Soc. B* 32, 115-122.
    """
    if n == 0:
        return 1.0
    root = np.sqrt(m * n / (m + n))
    return float(scipy.special.kolmogorov(distance * (root + 0.12 + 0.11 / root)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Placed:
    """A window placed in a reference: ``2u - 1`` of each *unit*, in [-1, 1]."""

    units: Floats
    ordered: Floats
    values: Floats


def cliffs_delta(placed: Placed, *, deff: float) -> Effect:
    """Return how much more often window values are larger than reference values than smaller.

    ``delta = P(window > reference) - P(window < reference)`` in [-1, 1]; .2 is a shift of
    about .36 sd of a normal signal. Each unit (request, or subject) weighs the same.

    The 95 % interval adds both sides' variance of placements (DeLong, 1988): the
    window's from its units, so it is robust to clustering within a subject; the
    reference's inflated by its design effect. Units fewer than 2 give (-1, 1).

    Parameters
    ----------
    placed
        Unit placements ``(n,)``, the sorted reference ``(m,)`` and the raw window values.
    deff
        Design effect of the reference, >= 1.
    """
    n = placed.units.size
    if n == 0:
        return Effect.unknown()
    value = float(placed.units.mean())
    if n == 1:
        return Effect(value=value, lo=-1.0, hi=1.0, n=1)
    back = mid_ranks(np.sort(placed.values), placed.ordered)
    window_part = max(float(placed.units.var(ddof=1)), _VARIANCE_FLOOR) / n
    reference_part = 4.0 * float(back.var()) * deff / placed.ordered.size
    half = float(scipy.special.stdtrit(n - 1, 0.975) * np.sqrt(window_part + reference_part))
    return Effect(value=value, lo=max(-1.0, value - half), hi=min(1.0, value + half), n=n)

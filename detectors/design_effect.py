"""Estimate how much less information a batch of units has than its size suggests.

Units that share a session, an hour or a day move together. The design effect is the variance of
block means relative to that of independent units; the evidence of a window and the size of the
reference are divided by it.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from types import MappingProxyType

import numpy as np
import numpy.typing as npt
import scipy

from detectors.season import spans
from detectors.types import SECONDS_PER_DAY, Floats

BLOCK_CHECKS = (1, 4, 16)
DAY_BLOCKS_FROM_DAYS = 7.0
ENOUGH_BLOCKS = 60
FEW_DAYS = 10
"""Fewer days with a score than a fortnight has working days: the exact limit, always."""
_IMPLIED: Mapping[str, Callable[[float, float], float]] = MappingProxyType(
    {
        "spread": lambda over, n: 0.67 * over * over / max(n, 1.0),
        "low": lambda over, _n: over,
        "high": lambda over, _n: over,
        "top5%": lambda over, _n: 0.23 * over,
        "bottom5%": lambda over, _n: 0.23 * over,
        "top1%": lambda over, _n: 0.075 * over,
        "bottom1%": lambda over, _n: 0.075 * over,
    }
)
"""By the kind of score: its inflation over 1 from the location's, and units a day."""
_Z95 = 1.6448536269514722


def design_effect(
    at: Floats, scores: Floats, *, check_seconds: float, by_day: bool = False
) -> Floats:
    """Upper 95 % limit of the design effect of each score, >= 1.

    Blocks of 1, 4 and 16 checks are used where they leave at least 60 blocks; if none
    does, blocks of one check; blocks of one day are added from 7 days on. The largest
    limit counts. Exactly 1 only where at least 60 blocks show no inflation
    (``ratio < 1 + 2 s.e.``): a short reference always pays for what it cannot rule out. A
    score that was measured in part of the time only has the blocks of that part.

    Where blocks do show inflation the limit is the exact ``ratio (b-1) / chi2_.05(b-1)`` for
    b blocks, 2.2 times the ratio for 14 days. Where they do not, but are fewer than 60, it is
    ``ratio (1 + 1.645 sqrt(2 / (b-1)))``: truth 1 and 14 days give about 1.6. That is the
    same limit in its normal approximation, and too low for some references; what it can miss
    (in more than 5 % of references) is an inflation of up to 4, of 5.5 from 10 days, which the
    slack of the null means absorbs (:func:`detectors.null.divisors`). From fewer than 10 days it
    would miss more, an inflation of 8 from 7 days, and the exact limit counts, 3.7 times the ratio
    for 7 days. What that buys and costs: ``docs/decisions/0022-few-days-pay-the-exact-limit.md``.
    Measured: ``benchmarks/statistics``.

    Cost: milliseconds for 11,520 units and 28 scores.

    Parameters
    ----------
    at
        Times of the units ``(m,)``, epoch seconds.
    scores
        ``(m, K)``, NaN where a unit has no such score.
    check_seconds
        Length of one check.
    by_day
        Days are blocks although these units span fewer than 7: what was measured on some
        days of a long baseline is judged on any day.
    """
    order = np.argsort(at, kind="stable")
    elapsed, ordered = at[order] - at[order[0]], scores[order]
    lengths = [check_seconds * checks for checks in BLOCK_CHECKS]
    found = [_inflation(elapsed, ordered, length) for length in lengths]
    enough = np.stack([blocks >= ENOUGH_BLOCKS for _, blocks in found])
    enough[0] |= ~enough.any(axis=0)
    limits = np.where(enough, np.stack([_limit(*pair) for pair in found]), 1.0)
    if by_day or spans(at, DAY_BLOCKS_FROM_DAYS):
        days = _limit(*_inflation(elapsed, ordered, SECONDS_PER_DAY), exact_below=FEW_DAYS)
        limits = np.vstack([limits, days])
    largest: Floats = np.maximum(1.0, limits.max(axis=0))
    return largest


def with_shifts(
    deff: Floats, names: tuple[str, ...], *, units_per_day: npt.NDArray[np.float64]
) -> Floats:
    """Raise a signal's other scores to the design effect that its block shifts imply.

    Blocks whose location shifts by delta sd have other tails, and a spread that grows with
    delta². Such movements are skewed: a fortnight may hold no large one, and the estimate from
    its blocks is then far too low (spread: 1.1 to 1.8 for a truth of 6 to 12 in the references
    that alarmed, day effects of .2 sd). For a normal signal the inflations over 1 are

        5 % tails .23, 1 % tails .075 of the location's;  spread .67 (its square) / n

    with n units a day. Without shifts nothing changes.
    """
    raised = deff.copy()
    place = {name: column for column, name in enumerate(names)}
    for name, column in place.items():
        signal, _, kind = name.partition(":")
        location = place.get(f"{signal}:down", place.get(f"{signal}:up"))
        if location is not None and kind in _IMPLIED:
            over = deff[location] - 1.0
            raised[column] = max(
                raised[column], 1.0 + _IMPLIED[kind](over, units_per_day[location])
            )
    return raised


Blocks = npt.NDArray[np.int64]


def _inflation(elapsed: Floats, scores: Floats, length: float) -> tuple[Floats, Blocks]:
    """Return mean square between blocks over the variance, and the number of blocks, by score.

    A block with a single unit of a score says nothing about clustering and is left out.
    """
    block = (elapsed // length).astype(np.int64)
    starts = np.flatnonzero(np.diff(block, prepend=-1))
    sizes = np.diff(np.append(starts, block.size))
    keep = np.repeat(sizes > 1, sizes)
    if not keep.any():
        return np.ones(scores.shape[1]), np.full(scores.shape[1], 2)
    return _between(scores[keep], sizes[sizes > 1])


def _between(scores: Floats, sizes: npt.NDArray[np.int64]) -> tuple[Floats, Blocks]:
    starts = np.concatenate(([0], np.cumsum(sizes)[:-1]))
    known = ~np.isnan(scores)
    counts = np.add.reduceat(known.astype(float), starts)
    used = counts > 1.0
    # a score measured in only some of the blocks has no more blocks than these
    known &= np.repeat(used, sizes, axis=0)
    total = np.maximum(known.sum(axis=0), 2)
    mean = np.where(known, scores, 0.0).sum(axis=0) / total
    centred = np.where(known, scores - mean, 0.0)
    variance = np.square(centred).sum(axis=0) / (total - 1)
    sums = np.add.reduceat(centred, starts)
    blocks = used.sum(axis=0)
    between = (np.square(sums) / np.maximum(counts, 1.0)).sum(axis=0) / np.maximum(blocks - 1, 1)
    # no variance between fewer than two
    told = (variance > 0) & (blocks > 1)
    ratio = np.divide(between, variance, out=np.ones_like(mean), where=told)
    return ratio, np.maximum(blocks, 2)


def _limit(ratio: Floats, blocks: Blocks, *, exact_below: int = 0) -> Floats:
    freedom = blocks - 1
    error = np.sqrt(2.0 / freedom)
    shown = (ratio >= 1.0 + 2.0 * error) | (blocks < exact_below)
    quiet = np.where(blocks >= ENOUGH_BLOCKS, 1.0, ratio * (1.0 + _Z95 * error))
    return np.where(shown, ratio * freedom / scipy.special.chdtri(freedom, 0.95), quiet)

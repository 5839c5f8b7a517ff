"""The smallest fault of a kind that would be seen in time: :mod:`expected_delay`, turned round.

Question: if a fault of this kind began now, how small could it be and still be seen within an
hour, a day or a week, at this traffic and this share of the budget?

A fault moves one signal: of all requests by some sd, or of a share of them as far as no request
of the reference lies (for a rate: the share that fails). The expected delay is the median path;
chance makes half of all delays longer. So the delay may be at most two thirds of the time, and
**at least 4 in 5** faults of that size are then seen in time: measured on simulated streams of
independent requests, a steady traffic of 8 and 40 a check, hours to weeks. Of faults half as large
fewer than half are. A real fault mostly moves several signals, and is seen sooner.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Any, Final

import numpy as np
import numpy.typing as npt

from detectors import rank_reference
from detectors.expected_delay import (
    BAD_SIZE,
    Growth,
    delay_of,
    mean_growth,
    quantiles,
    rate_growth,
    signal_sd,
)
from detectors.faults import Fault
from detectors.null import BetTerms
from detectors.rank_reference import RankReference
from detectors.ranks import mid_ranks
from detectors.rate_detector import RateReference
from detectors.scores import scores_named
from detectors.types import Floats, Process

POWER: Final = 0.8
"""The least share of faults of the reported size that are seen in time."""
LATE: Final = 1.5
"""The factor by which the expected delay must be shorter than the time."""
_STEPS: Final = (1.0, 1.2, 1.5, 2.0, 2.5, 3.0, 4.0, 5.0, 6.0, 8.0)
SHIFTS: Final = (
    *(round(step * decade, 3) for decade in (0.01, 0.1) for step in _STEPS),
    *(step for step in _STEPS if step <= BAD_SIZE),
)
"""The sizes to try, in sd: no finer than the answer's accuracy."""
SHARES: Final = (
    *(round(step * decade, 5) for decade in (0.001, 0.01, 0.1) for step in _STEPS),
    1.0,
)
_ROUNDING: Final = 1e-9
_LOG_OF_ONE: Final = 0.69
_LARGEST_LOG: Final = 30.0
"""The largest log of 1 plus a count lies between these, unless all counts are 0."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Movable:
    """A fault of a reference that can be given any size.

    sd
        Of the signal, in its own unit; 1 for a rate.
    by
        Growth ``(L, K)`` of each bet under a fault of a size.
    """

    growth: Growth
    sizes: Sequence[float]
    sd: float
    by: Callable[[float, Process, float], Floats]


def movable(reference: Any, growth: Growth, fault: Fault) -> Movable | None:
    """Prepare a fault; ``growth`` is the reference's. None if it lacks the signal."""
    if fault.signal not in reference.signals:
        return None
    match reference:
        case RankReference():
            return _rank_fault(reference, growth, fault)
        case RateReference():
            return _rate_fault(reference, growth, fault)
        case _:
            return None


def smallest_seen(
    moved: Movable,
    process: Process,
    *,
    share: float,
    units_per_day: float,
    check_seconds: float,
    hours: Sequence[float],
) -> tuple[float | None, ...]:
    """Return, for each time, the smallest size that is seen in it; None if none is.

    Sizes are in sd, or a share; other parameters are those of
    :func:`detectors.expected_delay.expected_delay`. Cost: 5 to 20 ms.
    """

    @cache
    def expected(place: int) -> float:
        drifting = moved.by(moved.sizes[place], process, share)
        return delay_of(
            moved.growth,
            drifting,
            process,
            share=share,
            units_per_day=units_per_day,
            check_seconds=check_seconds,
        ).hours

    return tuple(_smallest(moved.sizes, expected, within=time / LATE) for time in hours)


def _smallest(
    sizes: Sequence[float], expected: Callable[[int], float], *, within: float
) -> float | None:
    """Bisect, since larger sizes are seen sooner."""
    low, high = -1, len(sizes) - 1
    if expected(high) > within:
        return None
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if expected(middle) <= within else (middle, high)
    return sizes[high]


def _rank_fault(reference: RankReference, growth: Growth, fault: Fault) -> Movable:
    place = reference.signals.index(fault.signal)
    ordered, kinds = reference.ordered[place], rank_reference.kinds_scored(reference)[place]
    columns = _columns(growth, fault.signal)
    grid, sd = quantiles(ordered), _sd_beyond_rounding(ordered)
    direction = -1.0 if fault.falls else 1.0

    seen = stepwise(ordered)

    def scored(values: Floats) -> Floats:
        return scores_named(mid_ranks(ordered, values)[:, None], (kinds,))

    still = scored(grid)
    beyond = scored(np.full(grid.size, direction * np.inf))

    def by(size: float, process: Process, share: float) -> Floats:
        scores = beyond if fault.share else scored(seen(grid + direction * size * sd))
        terms = growth.terms(process, share=share)
        drifting = growth.by(None, process, share=share).copy()
        drifting[:, columns] = mean_growth(
            growth.null.sd[columns],
            _of(terms, columns),
            scores,
            still=still,
            share=size if fault.share else 1.0,
        )
        return drifting

    return Movable(growth=growth, sizes=SHARES if fault.share else SHIFTS, sd=sd, by=by)


def stepwise(ordered: Floats) -> Callable[[Floats], Floats]:
    """Return what moves values by whole steps where the signal is a count, or the log of one.

    Moved by less than a token, all requests of one length would leave their rank at once, and a
    fault too small to exist would seem to be seen.
    """
    if np.array_equal(ordered, np.rint(ordered)):
        return np.rint
    if _LOG_OF_ONE <= ordered[-1] < _LARGEST_LOG and _whole(np.expm1(ordered)):
        return lambda moved: np.log1p(np.maximum(np.rint(np.expm1(moved)), 0.0))
    return lambda moved: moved


def _whole(values: Floats) -> bool:
    return bool(np.allclose(values, np.rint(values), rtol=1e-9, atol=1e-6))


def _rate_fault(reference: RateReference, growth: Growth, fault: Fault) -> Movable:
    place = reference.signals.index(fault.signal)

    def by(size: float, process: Process, share: float) -> Floats:
        rates = growth.null.mean.copy()
        rates[place] += size * (1.0 - rates[place])
        return rate_growth(growth.terms(process, share=share), rates)

    return Movable(growth=growth, sizes=SHARES, sd=1.0, by=by)


def _sd_beyond_rounding(ordered: Floats) -> float:
    """Return the sd; 0 for a constant whose rhythm was removed with a rounding error."""
    sd = signal_sd(ordered)
    return sd if sd > _ROUNDING * max(1.0, float(np.abs(ordered).max())) else 0.0


def _columns(growth: Growth, signal: str) -> npt.NDArray[np.int64]:
    names = [name.partition(":")[0] for name in growth.null.names]
    return np.flatnonzero([name == signal for name in names])


def _of(terms: BetTerms, columns: npt.NDArray[np.int64]) -> BetTerms:
    return BetTerms(
        null_mean=terms.null_mean[columns],
        stakes=terms.stakes[:, columns],
        divisors=terms.divisors[:, columns],
    )

"""From signals to bounded scores in [0, 1], and from records to units."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from itertools import groupby
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from detectors.types import Floats


class DriftSide(StrEnum):
    """The direction of a signal that counts as drift."""

    BOTH = "both"
    DOWN = "down"
    UP = "up"
    EITHER = "either"
    """Both, with few scores: for signals of which there are many."""


Kinds = tuple[tuple[str, ...], ...]
"""By signal, the kinds of its scores."""

_LOWEST = 5.0
"""Nats: ``low`` treats every rank below ``exp(-5)``, .7 %, alike, which bounds it."""


def _depth(u: Floats) -> Floats:
    return -np.log(np.maximum(u, np.exp(-_LOWEST))) / _LOWEST


RANK_SCORES: Mapping[str, Callable[[Floats], Floats]] = MappingProxyType(
    {
        "up": lambda u: u,
        "down": lambda u: 1 - u,
        "spread": lambda u: np.abs(2 * u - 1),
        "low": _depth,
        "high": lambda u: _depth(1 - u),
        "top5%": lambda u: (u > 0.95).astype(np.float64),  # noqa: PLR2004 - its name says it
        "bottom5%": lambda u: (u < 0.05).astype(np.float64),  # noqa: PLR2004 - its name says it
        "top1%": lambda u: (u > 0.99).astype(np.float64),  # noqa: PLR2004 - its name says it
        "bottom1%": lambda u: (u < 0.01).astype(np.float64),  # noqa: PLR2004 - its name says it
    }
)
_SIDES = {
    DriftSide.BOTH: ("up", "down", "spread", "top5%", "bottom5%", "top1%", "bottom1%"),
    DriftSide.DOWN: ("down", "low", "bottom5%", "bottom1%"),
    DriftSide.UP: ("up", "high", "top5%", "top1%"),
    DriftSide.EITHER: ("up", "down", "top5%", "bottom5%"),
}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Units:
    """The units of the evidence: requests, or a subject's requests within one window.

    ``at`` is the unit's first time ``(n,)``; ``scores`` is ``(n, K)``, NaN if the unit has no such
    score. ``unseen`` ``(n,)`` marks units in an hour or on a weekday that the reference has not
    seen; None if there are none.
    """

    at: Floats
    scores: Floats
    unseen: npt.NDArray[np.bool_] | None = None

    def __len__(self) -> int:
        return int(self.at.size)


def score_names(signal: str, side: DriftSide) -> tuple[str, ...]:
    """Name a signal's scores, in column order.

    >>> score_names("similarity", DriftSide.DOWN)
    ('similarity:down', 'similarity:low', 'similarity:bottom5%', 'similarity:bottom1%')
    """
    return tuple(f"{signal}:{kind}" for kind in _SIDES[side])


def location_column(names: Sequence[str], signal: str) -> int:
    """Return the column of a signal's location: its mean rank, up or down (differing in sign).

    >>> location_column(score_names("latency_ms", DriftSide.UP), "latency_ms")
    0
    """
    falling = f"{signal}:down"
    return names.index(falling if falling in names else f"{signal}:up")


def are_indicators(side: DriftSide) -> npt.NDArray[np.bool_]:
    """Return which of a signal's scores are 0/1 indicators."""
    return np.array([kind.endswith("%") for kind in _SIDES[side]])


def kinds_of(sides: Sequence[DriftSide]) -> Kinds:
    """Return the names of each signal's scores, as :func:`scores_named` takes them."""
    return tuple(_SIDES[side] for side in sides)


def scores_named(u: Floats, kinds: Kinds) -> Floats:
    """Return bounded scores ``(n, K)`` of mid-ranks ``(n, S)``, each signal's kinds side by side.

    Kinds are location, spread and tails, of the reference's 5 % or 1 % at an end (strict: with
    ties its own rate is the null rate, whatever it is). ``low`` is ``min(5, -ln u) / 5``: a part of
    the traffic that lies anywhere in the lower half moves it more than any single threshold.
    ``high`` is its mirror, ``low`` of ``1 - u``. Adjacent signals with the same kinds are scored
    together. Raises KeyError for an unknown kind.
    """
    every = np.empty((len(u), sum(map(len, kinds))))
    signal = column = 0
    for wanted, alike in groupby(kinds):
        count = len(tuple(alike))
        ranks, end = u[:, signal : signal + count], column + count * len(wanted)
        for place, kind in enumerate(wanted):
            every[:, column + place : end : len(wanted)] = RANK_SCORES[kind](ranks)
        signal, column = signal + count, end
    unknown = np.isnan(u)
    if unknown.any():
        every[np.repeat(unknown, [len(wanted) for wanted in kinds], axis=1)] = np.nan
    return every


def as_units(at: Floats, scores: Floats, groups: npt.NDArray[np.int64] | None) -> Units:
    """Average scores within each group, so that one busy user counts once.

    Parameters
    ----------
    at, scores
        Records ``(n,)`` and ``(n, K)``. A record without any score is left out.
    groups
        ``(n,)`` codes; a negative code is its own unit. None makes every record a unit.
    """
    known = ~np.isnan(scores)
    used = known.any(axis=1)
    if groups is None or not (groups[used] >= 0).any():
        return Units(at=at[used], scores=scores[used])
    codes = _own_codes(groups[used])
    first = np.full(codes.max() + 1, np.inf)
    np.minimum.at(first, codes, at[used])
    return Units(at=first, scores=_group_means(scores[used], codes))


def subject_checks(
    at: Floats, subjects: npt.NDArray[np.int64] | None, *, check_seconds: float
) -> npt.NDArray[np.int64] | None:
    """Return codes of (subject, check), so that a reference's units match live windows'."""
    if subjects is None:
        return None
    check = ((at - at.min(initial=0.0)) // check_seconds).astype(np.int64)
    _, dense = np.unique(subjects, return_inverse=True)
    codes = dense * (check.max(initial=0) + 1) + check
    return np.asarray(np.where(subjects < 0, -1, codes), dtype=np.int64)


def _own_codes(groups: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    alone = groups < 0
    lowest = np.int64(-1) - np.arange(groups.size)
    _, codes = np.unique(np.where(alone, lowest, groups), return_inverse=True)
    return codes.reshape(-1).astype(np.int64)


def _group_means(scores: Floats, codes: npt.NDArray[np.int64]) -> Floats:
    order = np.argsort(codes, kind="stable")
    starts = np.flatnonzero(np.diff(codes[order], prepend=-1))
    known = ~np.isnan(scores[order])
    counts = np.add.reduceat(known.astype(np.float64), starts)
    means = np.add.reduceat(np.where(known, scores[order], 0.0), starts) / np.maximum(counts, 1.0)
    means[counts == 0] = np.nan
    return means

"""Following a whole stream at once: what the service does check by check, vectorised.

Ranks, scores, null means, bets and design effects come from ``detectors``; only the loop
over checks is here, with sums over all checks at once in place of one call per check.
``tests/benchmarks`` holds both to the same evidence.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Protocol

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.streams import CHECK_SECONDS
from detectors import rank_reference
from detectors.evidence import grown_by
from detectors.null import BetTerms, Null, bet_terms
from detectors.rank_reference import Placement, RankReference
from detectors.scores import Units, subject_checks
from detectors.types import HORIZON_SECONDS, Floats, Process, Window

_TOGETHER = 32
"""Checks in one call: their scores stay in the cache."""
Checks = npt.NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A process with a budget: accepted false alarms in 30 days."""

    process: Process
    budget: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Followed:
    """Evidence ``(C,)`` after each check, and the places of checks that alarmed."""

    evidence: Floats
    alarms: Checks


class Live(Protocol):
    """Requests in order of time, as the detectors read them."""

    @property
    def at(self) -> Floats: ...

    def window(self, first: int, last: int) -> Window: ...


def follow(
    reference: RankReference, live: Live, *, first: int, start: float, asked: tuple[Asked, ...]
) -> dict[Asked, Followed]:
    """Follow requests from ``first`` on; checks of 15 minutes begin at ``start``."""
    window = live.window(first, live.at.size)
    placed = rank_reference.place(reference, window)
    groups = subject_checks(window.at, window.subjects, check_seconds=CHECK_SECONDS)
    placement = Placement(values=placed.values, u=placed.u, groups=groups)
    every = np.ones(len(window), dtype=np.bool_)
    units = rank_reference.units_of(reference, window, placement, only=every)
    return follow_units(reference.null, units, live, start=start, asked=asked)


def follow_units(
    null: Null, units: Units, live: Live, *, start: float, asked: tuple[Asked, ...]
) -> dict[Asked, Followed]:
    """Follow what a stream's records are counted as."""
    checks = int(np.ceil((live.at[-1] - start) / CHECK_SECONDS))
    growths = Growths(null, units, start=start, checks=checks)
    return evidence({one: growths.by(one) for one in asked}, weights=null.weights)


def check_increments(
    null: Null, asked: Asked, units: Units, *, start: float, checks: int
) -> Floats:
    """Log growth ``(checks, L, K)`` by the units of each check of 15 minutes from ``start`` on."""
    return Growths(null, units, start=start, checks=checks).by(asked)


class Growths:
    """What the units of each check of 15 minutes add to the evidence of whoever asks.

    Bets against the same null mean grow alike before their divisors: they are worked out once.
    """

    def __init__(self, null: Null, units: Units, *, start: float, checks: int) -> None:
        self._null = null
        unseen = np.zeros(len(units), dtype=np.bool_) if units.unseen is None else units.unseen
        check = ((units.at - start) // CHECK_SECONDS).astype(np.int64)
        parts = {seen: unseen != seen for seen in (True, False)}
        self._parts = {
            seen: _Part(units.scores, check, checks)
            if mine.all()
            else _Part(units.scores[mine], check[mine], checks)
            for seen, mine in parts.items()
            if mine.any() or seen
        }

    def by(self, asked: Asked) -> Floats:
        """Log growth ``(checks, L, K)``."""
        terms = {
            seen: bet_terms(self._null, asked.process, share=asked.budget, seen=seen)
            for seen in self._parts
        }
        grown = [
            part.grown(terms[seen]) / terms[seen].divisors for seen, part in self._parts.items()
        ]
        return np.asarray(sum(grown))


class _Part:
    """Units of hours that are seen, or not, in order of their checks."""

    def __init__(self, scores: Floats, check: Checks, checks: int) -> None:
        in_order = bool((np.diff(check) >= 0).all())
        self._scores = scores if in_order else scores[np.argsort(check, kind="stable")]
        self._sizes = np.bincount(check, minlength=checks)
        self._whole = ((self._scores == 0.0) | (self._scores == 1.0)).all(axis=0)
        self._ones = np.zeros((checks, scores.shape[1]))
        filled = self._sizes > 0
        starts = (np.cumsum(self._sizes) - self._sizes)[filled]
        if starts.size:
            self._ones[filled] = np.add.reduceat(self._scores, starts, axis=0)
        self._known: dict[tuple[int, float], Floats] = {}

    def grown(self, terms: BetTerms) -> Floats:
        """Log growth ``(checks, L, K)`` before division."""
        keys = [(column, float(mean)) for column, mean in enumerate(terms.null_mean)]
        new = np.array([column for column, mean in keys if (column, mean) not in self._known], int)
        for columns, grow in (
            (new[self._whole[new]], self._counted),
            (new[~self._whole[new]], self._multiplied),
        ):
            if columns.size:
                found = grow(columns, terms)
                self._known |= {keys[c]: found[:, :, i] for i, c in enumerate(columns)}
        return np.stack([self._known[key] for key in keys], axis=2)

    def _counted(self, columns: Checks, terms: BetTerms) -> Floats:
        """Of 0/1 scores the number of ones is enough."""
        ones = self._ones[:, None, columns]
        bets, mean = terms.stakes[:, columns], terms.null_mean[columns]
        others = self._sizes[:, None, None] - ones
        return np.asarray(ones * np.log1p(bets * (1.0 - mean)) + others * np.log1p(-bets * mean))

    def _multiplied(self, columns: Checks, terms: BetTerms) -> Floats:
        some = BetTerms(
            null_mean=terms.null_mean[columns],
            stakes=terms.stakes[:, columns],
            divisors=np.ones((1, columns.size)),
        )
        scores, ends, parts = self._scores[:, columns], np.cumsum(self._sizes), []
        for first in range(0, self._sizes.size, _TOGETHER):
            sizes = self._sizes[first : first + _TOGETHER]
            end = ends[first + sizes.size - 1]
            parts.append(grown_by(some, scores[end - sizes.sum() : end], sizes=sizes))
        return np.concatenate(parts)


def evidence(increments: Mapping[Asked, Floats], *, weights: Floats) -> dict[Asked, Followed]:
    """Run the process of each asked over its increments ``(C, L, K)``, all at once.

    ``weights`` ``(K,)`` are the scores' parts of the capital.
    """
    asked = tuple(increments)
    stacked = np.stack([increments[one].reshape(len(increments[one]), -1) for one in asked], axis=1)
    checks, _, cells = stacked.shape
    part = np.tile(weights, cells // weights.size) * (weights.size / cells)
    # every cell carries its own part of the capital from the start, so that the sum is the mean
    budgets = np.array([[one.budget] for one in asked])
    weight = np.log(budgets * CHECK_SECONDS / HORIZON_SECONDS) + np.log(part)
    log_m = np.full((len(asked), cells), -np.inf)
    level = np.empty((checks, len(asked)))
    for check in range(checks):
        started = np.logaddexp(log_m, weight)
        log_m = started + stacked[check]
        top = log_m.max(axis=1, keepdims=True)
        total = top[:, 0] + np.log(np.exp(log_m - top).sum(axis=1))
        level[check] = total / np.log(10.0)
        crossed = level[check] >= 0.0
        if crossed.any():
            log_m[crossed] = -np.inf
    return {
        one: Followed(evidence=level[:, i], alarms=np.flatnonzero(level[:, i] >= 0.0))
        for i, one in enumerate(asked)
    }

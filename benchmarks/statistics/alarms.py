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
from detectors.evidence import window_increments
from detectors.null import Null
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
    checks = int(np.ceil((live.at[-1] - start) / CHECK_SECONDS))
    every = np.ones(len(window), dtype=np.bool_)
    units = rank_reference.units_of(reference, window, placement, only=every)
    null = reference.null
    found: dict[Asked, Floats] = {}
    for one in asked:
        alike = [o for o in found if o.process is one.process and null.unknown is None]
        found[one] = (
            found[alike[0]]
            if alike
            else check_increments(null, one, units, start=start, checks=checks)
        )
    return evidence(found, weights=null.weights)


def check_increments(
    null: Null, asked: Asked, units: Units, *, start: float, checks: int
) -> Floats:
    """Log growth ``(checks, L, K)`` by the units of each check of 15 minutes from ``start`` on."""
    check = ((units.at - start) // CHECK_SECONDS).astype(np.int64)
    order = np.argsort(check, kind="stable")
    scores = units.scores[order]
    unseen = None if units.unseen is None else units.unseen[order]
    sizes = np.bincount(check, minlength=checks)
    ends = np.cumsum(sizes)
    parts = []
    for first in range(0, checks, _TOGETHER):
        some = sizes[first : first + _TOGETHER]
        end = ends[first + some.size - 1]
        part = slice(end - some.sum(), end)
        parts.append(
            window_increments(
                null,
                asked.process,
                scores[part],
                sizes=some,
                share=asked.budget,
                unseen=None if unseen is None else unseen[part],
            )
        )
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

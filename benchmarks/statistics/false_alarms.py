"""False alarms per adapter-month while nothing drifts, by regime, reference and traffic."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from functools import partial
from multiprocessing import get_context
from typing import Any

import numpy as np
from scipy import stats

from benchmarks.statistics.alarms import Asked, follow
from benchmarks.statistics.report import Report
from benchmarks.statistics.streams import (
    CHECK_SECONDS,
    CHECKS_PER_DAY,
    MONDAY,
    Regime,
    Source,
    source,
)
from detectors.logit_ks import LOGIT_KS
from detectors.types import Process

SEED = 4_001
MONTHS = 24
MONTH_CHECKS = 30 * CHECKS_PER_DAY
PER_CHECK = (40, 8)
SHORT = (300, 1_000, 11_520)
LONG_DAYS = 14
ASKED = tuple(Asked(process=p, budget=b) for p in Process for b in (1.0, 0.01))
_CONFIDENCE = 0.99


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A regime, the reference's requests, and requests per evaluation of 15 minutes."""

    regime: Regime
    reference: int
    per_check: int

    @property
    def days(self) -> float:
        """What the reference spans."""
        return self.reference / (self.per_check * CHECKS_PER_DAY)


def cells() -> Iterator[Cell]:
    """All of the table, references of a fortnight first."""
    for days in (LONG_DAYS, None):
        for per_check in PER_CHECK:
            for reference in SHORT if days is None else (days * CHECKS_PER_DAY * per_check,):
                for regime in Regime:
                    yield Cell(regime=regime, reference=reference, per_check=per_check)


def month(cell: Cell, source: Source, *, number: int, checks: int = MONTH_CHECKS) -> list[int]:
    """Alarms of each of ``ASKED`` in one adapter-month of a cell."""
    place = list(Regime).index(cell.regime)
    rng = np.random.default_rng([SEED, place, cell.reference, cell.per_check, number])
    before = -(-cell.reference // cell.per_check)
    total = (before + checks) * cell.per_check
    stream = source.steady(cell.regime, requests=total, per_check=cell.per_check, rng=rng)
    followed = follow(
        LOGIT_KS.fit(stream.window(0, cell.reference)),
        stream,
        first=before * cell.per_check,
        start=MONDAY + CHECK_SECONDS * before,
        asked=ASKED,
    )
    return [followed[one].alarms.size for one in ASKED]


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Follow every cell for its months; ``quick`` is three months of a week each."""
    months, checks = (3, 7 * CHECKS_PER_DAY) if quick else (MONTHS, MONTH_CHECKS)
    asked, found = tuple(cells()), []
    source()  # once, before the workers are forked
    with ProcessPoolExecutor(mp_context=get_context("fork")) as pool:
        each = pool.map(partial(_months, months=months, checks=checks), asked)
        for cell, alarms in zip(report.each("false alarms", asked), each, strict=True):
            found.append(measured(cell, alarms))
            report.partial({"cells": found, "days": checks // CHECKS_PER_DAY})
    return {"cells": found, "days": checks // CHECKS_PER_DAY}


def _months(cell: Cell, *, months: int, checks: int) -> list[list[int]]:
    """Each month has random numbers of its own, so that it matters not which worker has it."""
    return [month(cell, source(), number=i, checks=checks) for i in range(months)]


def measured(cell: Cell, alarms: list[list[int]]) -> dict[str, Any]:
    """Write a cell as JSON values: alarms of each month, in the order of ``ASKED``."""
    return {
        "regime": cell.regime.value,
        "reference": cell.reference,
        "per_check": cell.per_check,
        "months": len(alarms),
        "alarms": {
            f"{one.process.value} {one.budget:g}": [month[i] for month in alarms]
            for i, one in enumerate(ASKED)
        },
    }


def bound(budget: float, months: int) -> int:
    """Most alarms that a process which spends its whole budget shows with 99 % probability.

    Alarms at the budget's rate in so many adapter-months are Poisson at the worst.
    """
    return int(stats.poisson.ppf(_CONFIDENCE, budget * months))


def kept(cell: Mapping[str, Any]) -> dict[str, bool]:
    """Tell of each process and budget whether a stored cell stayed within its bound."""
    return {
        name: sum(alarms) <= bound(float(name.rpartition(" ")[2]), cell["months"])
        for name, alarms in cell["alarms"].items()
    }


def summary(found: Mapping[str, Any]) -> str:
    """One line a cell, for the terminal."""
    lines = []
    for cell in found["cells"]:
        alarms = ", ".join(f"{name}: {sum(each)}" for name, each in cell["alarms"].items())
        verdict = "kept" if all(kept(cell).values()) else "NOT KEPT"
        lines.append(
            f"{cell['regime']}, reference {cell['reference']}, {cell['per_check']} a check,"
            f" {cell['months']} months: {alarms}: {verdict}"
        )
    return "\n".join(lines)

"""What the preset `classic` costs: tickets per adapter-month while nothing drifts.

The smallest KS p-value of the summaries of ``logit_ks``, a window of 15 minutes, through
``monitor.policy.classic`` as the judge does: past .01 three times in a row opens a ticket,
within three times in a row closes it. No rule of a textbook knows rhythm or days: the values are
those the service shows, its rhythm removed.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.statistics.report import Report
from benchmarks.statistics.streams import CHECKS_PER_DAY, Regime, Source, source
from detectors import rank_reference
from detectors.logit_ks import LOGIT_KS
from detectors.ranks import ks_distance, ks_p_value
from detectors.textbook import SMALLEST_P_VALUE, Threshold
from detectors.types import Floats
from monitor.policy.classic import Streaks

SEED = 4_007
MONTHS = 6
MONTH_CHECKS = 30 * CHECKS_PER_DAY
REFERENCE_DAYS = 14
PER_CHECK = (40, 8)
SHOWN = (Regime.INDEPENDENT, Regime.DAILY, Regime.DAYS_1, Regime.DAYS_2, Regime.SESSIONS)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A regime, and requests per evaluation of 15 minutes."""

    regime: Regime
    per_check: int


def cells() -> Iterator[Cell]:
    """All of the table."""
    for per_check in PER_CHECK:
        for regime in SHOWN:
            yield Cell(regime=regime, per_check=per_check)


def month(cell: Cell, source: Source, *, number: int, checks: int = MONTH_CHECKS) -> dict[str, int]:
    """Tickets of one adapter-month, and evaluations past the threshold by themselves."""
    place = list(Regime).index(cell.regime)
    rng = np.random.default_rng([SEED, place, cell.per_check, number])
    known = REFERENCE_DAYS * CHECKS_PER_DAY * cell.per_check
    total = known + checks * cell.per_check
    stream = source.steady(cell.regime, requests=total, per_check=cell.per_check, rng=rng)
    reference = LOGIT_KS.fit(stream.window(0, known))
    placed = rank_reference.place(reference, stream.window(known, total))
    smallest = p_values(reference.ordered, placed.values, per_check=cell.per_check)
    return counted(smallest, SMALLEST_P_VALUE)


def p_values(ordered: tuple[Floats, ...], values: Floats, *, per_check: int) -> Floats:
    """Smallest KS p-value ``(C,)`` of each check's requests; ``values`` is ``(n, S)``."""
    smallest = np.ones(len(values) // per_check)
    for check in range(smallest.size):
        seen = values[check * per_check : (check + 1) * per_check]
        for known, column in zip(ordered, seen.T, strict=True):
            finite = column[~np.isnan(column)]
            distance = ks_distance(known, finite)
            p_value = ks_p_value(distance, m=known.size, n=finite.size)
            smallest[check] = min(smallest[check], p_value)
    return smallest


def counted(smallest: Floats, threshold: Threshold) -> dict[str, int]:
    """Count the tickets that the rule opens, and the evaluations past its threshold."""
    streaks, tickets = Streaks(), 0
    for value in smallest.tolist():
        then = streaks.then({LOGIT_KS.name: value})
        tickets += bool(then.opened) and not streaks.opened
        streaks = then
    return {"tickets": tickets, "past": sum(map(threshold.past, smallest.tolist()))}


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Follow every cell for its months; ``quick`` is one month of a week each."""
    months, checks = (1, 7 * CHECKS_PER_DAY) if quick else (MONTHS, MONTH_CHECKS)
    drawn, found = source(), []
    for cell in report.each("classic", tuple(cells())):
        each = [month(cell, drawn, number=i, checks=checks) for i in range(months)]
        found.append(
            {
                "regime": cell.regime.value,
                "per_check": cell.per_check,
                "months": months,
                "tickets": [one["tickets"] for one in each],
                "past": [one["past"] for one in each],
            }
        )
        report.partial({"cells": found, "days": checks // CHECKS_PER_DAY})
    return {"cells": found, "days": checks // CHECKS_PER_DAY}


def summary(found: Mapping[str, Any]) -> str:
    """One line a cell, for the terminal."""
    return "\n".join(
        f"{cell['regime']}, {cell['per_check']} a check, {cell['months']} x {found['days']} days:"
        f" {np.mean(cell['tickets']):.2f} tickets, {np.mean(cell['past']):.0f} evaluations past"
        for cell in found["cells"]
    )

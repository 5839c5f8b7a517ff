"""Hours from the onset of a drift to the alarm, by the age of the reference."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from benchmarks.statistics.alarms import Asked, follow
from benchmarks.statistics.delays import quantiles
from benchmarks.statistics.report import Report
from benchmarks.statistics.streams import (
    CHECK_SECONDS,
    CHECKS_PER_DAY,
    DRIFTS,
    MONDAY,
    Drift,
    Regime,
    source,
)
from detectors.logit_ks import LOGIT_KS
from detectors.types import Process

SEED = 4_012
RUNS = 24
PER_CHECK = (40, 8)
SMALLEST = 300
AGES: Mapping[str, float] = {
    "1 hour": 1.0 / 24.0,
    "1 day": 1.0,
    "3 days": 3.0,
    "7 days": 7.0,
    "14 days": 14.0,
}
HOURS: Mapping[str, float] = {
    "mean +.5 sd": 72.0,
    "mean +1 sd": 72.0,
    "mean +3 sd": 6.0,
    "5 % bad requests": 72.0,
    "10 % bad requests": 72.0,
}
"""How long each drift is followed."""
ASKED = {
    "notice 1": Asked(process=Process.NOTICE, budget=1.0),
    "page 1/10": Asked(process=Process.PAGE, budget=0.1),
    "page 1/1000": Asked(process=Process.PAGE, budget=0.001),
}
"""A tenth of a page is what a detector has of an adapter that is alone in the fleet."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A reference of so many requests, and requests per evaluation of 15 minutes."""

    age: str
    per_check: int

    @property
    def requests(self) -> int:
        """Of the age, and no fewer than any reference needs."""
        return max(SMALLEST, round(AGES[self.age] * CHECKS_PER_DAY * self.per_check))


def cells() -> Iterator[Cell]:
    """All of the table."""
    for per_check in PER_CHECK:
        for age in AGES:
            yield Cell(age=age, per_check=per_check)


def once(cell: Cell, number: int, *, drifts: tuple[Drift, ...]) -> list[dict[str, float]]:
    """Hours to the first alarm of each drift and asked process; inf if it never came."""
    rng = np.random.default_rng([SEED, cell.per_check, cell.requests, number])
    drawn = source()
    steady = drawn.steady(
        Regime.INDEPENDENT, requests=cell.requests, per_check=cell.per_check, rng=rng
    )
    reference = LOGIT_KS.fit(steady.window(0, cell.requests))
    start = MONDAY + CHECK_SECONDS * -(-cell.requests // cell.per_check)
    found = []
    for drift in drifts:
        live = drawn.drifted(drift, per_check=cell.per_check, start=start, rng=rng)
        followed = follow(reference, live, first=0, start=start, asked=tuple(ASKED.values()))
        first = {name: followed[one].alarms for name, one in ASKED.items()}
        found.append(
            {
                name: (int(at[0]) + 1) * CHECK_SECONDS / 3600.0 if at.size else np.inf
                for name, at in first.items()
            }
        )
    return found


def drifts() -> tuple[Drift, ...]:
    """The drifts of the table, each followed for as long as it says."""
    return tuple(
        Drift(
            name=one.name,
            change=one.change,
            hours=HOURS[one.name],
            notice=one.notice,
            page=one.page,
            page_rare=one.page_rare,
        )
        for one in DRIFTS
        if one.name in HOURS
    )


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Follow every drift in every run of every cell, each against a reference of its own."""
    chosen, found = drifts(), []
    for cell in report.each("ages", tuple(cells())):
        runs = [once(cell, i, drifts=chosen) for i in range(3 if quick else RUNS)]
        found.append(measured(cell, chosen, runs))
        report.partial({"cells": found})
    return {"cells": found}


def measured(
    cell: Cell, chosen: tuple[Drift, ...], runs: list[list[dict[str, float]]]
) -> dict[str, Any]:
    """Write a cell as JSON values; None: not within the hours followed."""
    return {
        "age": cell.age,
        "per_check": cell.per_check,
        "reference": cell.requests,
        "drifts": [
            {
                "name": drift.name,
                "followed_hours": drift.hours,
                "hours": {
                    name: [one[i][name] if np.isfinite(one[i][name]) else None for one in runs]
                    for name in ASKED
                },
            }
            for i, drift in enumerate(chosen)
        ],
    }


def median(hours: list[float | None]) -> float:
    """Median of stored hours, inf where that many runs did not alarm."""
    return quantiles([np.inf if one is None else one for one in hours])[0]


def rendered(found: Mapping[str, Any]) -> str:
    """The table: median hours of the ticket, and of the page at both budgets."""
    names = list(HOURS)
    rows = [
        f"| reference | a check | {' | '.join(names)} |",
        f"| --- | --- |{' --- |' * len(names)}",
    ]
    for cell in found["cells"]:
        shown = [
            " / ".join(_hours(median(hours)) for hours in drift["hours"].values())
            for drift in cell["drifts"]
        ]
        rows.append(
            f"| {cell['age']} ({cell['reference']:,} requests) | {cell['per_check']} |"
            f" {' | '.join(shown)} |"
        )
    runs = len(found["cells"][0]["drifts"][0]["hours"]["notice 1"])
    head = (
        f"Hours from onset to alarm, medians of {runs} runs: notice at a budget of 1 / page at 1/10"
        " (one adapter alone, ten detectors that page) / page at 1/1000 (a hundred such). A"
        " reference has at least 300 requests. Days are taken to differ by .2 sd until 7 of them"
        " were seen. ∞: not within 72 hours.\n\n"
    )
    return head + "\n".join(rows) + "\n"


def summary(found: Mapping[str, Any]) -> str:
    """The table, for the terminal."""
    return rendered(found)


def _hours(value: float) -> str:
    return f"{value:.3g}" if np.isfinite(value) else "∞"

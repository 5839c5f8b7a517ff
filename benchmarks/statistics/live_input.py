"""Requests unlike the training, against baselines of live records: days have to be paid for.

The texts are those of ``input_drift``, whose baseline has no times. A reference that takes
over an index has a baseline of all its days. One that has none makes the index of the early half of
its records, and the days of the later half are its baseline.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from benchmarks.statistics.contestant import CHECK_SECONDS
from benchmarks.statistics.input_drift import (
    PER_CHECK,
    Case,
    New,
    Signals,
    drawn,
    first_noticed,
    traffic_of,
)
from benchmarks.statistics.report import Report
from benchmarks.statistics.streams import CHECKS_PER_DAY
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.signals import SIMILARITY
from detectors.types import Budget, Process, State, Window

SEED = 4_008
RUNS = 24
NEW = (
    Case(name="20 % snips", share=0.2, new=New.SNIPS),
    Case(name="30 % unseen intents", share=0.3, new=New.UNSEEN),
)
DAYS = (14, 7)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """What is new, and the days of the baseline."""

    case: Case
    days: int


CELLS = tuple(Cell(case=case, days=days) for case in NEW for days in DAYS)


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Find the first alarm of each cell and run."""
    found: list[dict[str, Any]] = []
    for cell in CELLS:
        runs = report.each(f"{cell.case.name}, {cell.days} days", range(3 if quick else RUNS))
        needed = [requests_needed(cell, number) for number in runs]
        found.append({"name": cell.case.name, "days": cell.days, "requests": needed})
        report.partial({"cells": found, "followed": cell.case.followed})
    return {"cells": found, "followed": NEW[0].followed}


def requests_needed(cell: Cell, number: int) -> int | None:
    """Requests until the notice process alarms in checks of 40; None if it never does."""
    rng = np.random.default_rng([SEED, NEW.index(cell.case), cell.days, number])
    found = traffic_of(cell.case.new, rng)
    # one population: live requests of the other half would differ from the baseline for good
    traffic = replace(found, known=found.baseline)
    return first_noticed(cell.case, traffic, _following(traffic.baseline, cell.days, rng), rng)


def _following(
    population: Signals, days: int, rng: np.random.Generator
) -> Callable[[Signals], bool]:
    """Freeze so many days of 40 requests every 15 minutes; then follow checks one by one."""
    rows = rng.integers(len(population[SIMILARITY]), size=days * CHECKS_PER_DAY * PER_CHECK)
    spacing = CHECK_SECONDS / PER_CHECK
    reference = INPUT_SIMILARITY.fit(drawn(population, rows, spacing=spacing))
    state, start = State(), rows.size * spacing

    def notices(batch: Signals) -> bool:
        nonlocal state, start
        at = start + spacing * np.arange(PER_CHECK, dtype=np.float64)
        window = Window(start=start, end=start + CHECK_SECONDS, at=at, signals=batch)
        step = INPUT_SIMILARITY.follow(reference, window, state, Budget(notice=1.0, page=0.0))
        state, start = step.state, window.end
        return step.evidence[Process.NOTICE] >= 0.0

    return notices


def summary(found: Mapping[str, Any]) -> str:
    """One line a cell, for the terminal."""
    return "\n".join(
        f"{cell['name']}, a baseline of {cell['days']} days: median"
        f" {np.median([np.inf if one is None else one for one in cell['requests']]):g} requests"
        for cell in found["cells"]
    )

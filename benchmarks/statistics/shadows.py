"""How many prompts a shadow takes, and how often it goes back, as the service runs it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict
from typing import Any, Final

import numpy as np

from benchmarks.statistics.canaries import EVERY, SETTINGS, Cell, ended, most
from benchmarks.statistics.canary_runs import Ran, Truth, run_one
from benchmarks.statistics.report import Report
from monitor.traffic.trial.states import Phase

SEED = 5_024
PROMPTS_PER_DAY: Final = 600
ENOUGH: Final = 300
"""Prompts within which a fall of 5 points is to be seen."""


def _cell(solved: float, worse: float, agree: float) -> Cell:
    apart = 100.0 * 2.0 * (1.0 - agree) * solved * (1.0 - solved)
    how = f"{100 * worse:.0f} points worse" if worse else "no worse"
    return Cell(
        title=f"{how}, {100 * solved:.0f} % right, {apart:.2f} % judged apart by chance",
        truth=Truth(requests_per_day=PROMPTS_PER_DAY, solved=solved, worse=worse, agree=agree),
        runs=100,
    )


CELLS: Final = tuple(
    _cell(solved, worse, agree)
    for worse in (0.0, 0.05)
    for solved, agree in ((0.85, 0.9), (0.95, 0.9), (0.85, 0.7))
)


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Run each kind; a quick run has a tenth of the shadows."""
    cells: list[dict[str, Any]] = []
    for number, cell in enumerate(report.each("shadows", CELLS)):
        rng = np.random.default_rng((SEED, number))
        runs = cell.runs // 10 if quick else cell.runs
        ran = [
            run_one(cell.truth, rng, settings=SETTINGS, every=EVERY, shadow=True)
            for _ in range(runs)
        ]
        cells.append(asdict(cell) | {"runs": runs, "within": _within(ran)} | ended(ran))
        report.partial({"cells": cells})
    return {"cells": cells}


def summary(found: Mapping[str, Any]) -> str:
    """One line a kind, for the terminal."""
    return "\n".join(
        f"{cell['title']}: {cell['rolled_back']} of {cell['runs']} rolled back,"
        f" {cell['within']} within {ENOUGH} prompts; {cell['promoted']} promoted"
        for cell in found["cells"]
    )


def rendered(found: Mapping[str, Any]) -> str:
    """Return the part of the page, as Markdown."""
    cells = found["cells"]
    good = [cell for cell in cells if not cell["truth"]["worse"]]
    kept = sum(cell["rolled_back"] <= most(cell["runs"]) for cell in good)
    head = (
        f"Versions that answer copies of {PROMPTS_PER_DAY} prompts a day, each judged right"
        " or wrong and critical, a look every 5 minutes, through the state machine and the"
        f" measurement of the service. **False rollbacks kept to 5 % in {kept} of {len(good)}"
        " kinds**: at most the 99 % point of the binomial law at 5 %. Judged apart by chance are"
        " prompts of which the judge calls one answer right and the other wrong although both"
        " versions are as good. The prompts are the median of what was rolled back.\n\n"
    )
    rows = [
        f"| shadow | runs | rolled back | within {ENOUGH} prompts | prompts | promoted |",
        "| --- | --- | --- | --- | --- | --- |",
    ]
    for cell in cells:
        bound = "" if cell["truth"]["worse"] else f" (at most {most(cell['runs'])})"
        prompts = "-" if cell["requests"] is None else f"{cell['requests']:,.0f}"
        rows.append(
            f"| {cell['title']} | {cell['runs']} | {cell['rolled_back']}{bound} |"
            f" {cell['within']} | {prompts} | {cell['promoted']} |"
        )
    return head + "\n".join(rows) + "\n"


def _within(ran: list[Ran]) -> int:
    return sum(one.phase is Phase.ROLLED_BACK and one.requests <= ENOUGH for one in ran)

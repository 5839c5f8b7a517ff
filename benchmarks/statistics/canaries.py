"""How often canaries go back, through the machine and the measurement that the service runs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import timedelta
from typing import Any, Final

import numpy as np
from scipy import stats

from benchmarks.statistics.canary_runs import HOUR, Ran, Truth, run_one
from benchmarks.statistics.report import Report
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import Phase

SEED = 5_018
EVERY: Final = timedelta(minutes=5)
PROMISED: Final = 0.05
"""False rollbacks of a canary that is no worse, at most."""
SETTINGS: Final = CanarySettings(signals=(), critical=("feedback.solved",))
"""Success alone, of which any proven fall rolls back: where a false rollback is likeliest."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A kind of canary, and how many of it are run."""

    title: str
    truth: Truth
    runs: int


CELLS: Final = (
    Cell(title="no worse, 500 requests a day", truth=Truth(requests_per_day=500), runs=80),
    Cell(title="no worse, 2,000 requests a day", truth=Truth(requests_per_day=2_000), runs=60),
    Cell(
        title="20 points worse, 2,000 requests a day",
        truth=Truth(requests_per_day=2_000, worse=0.2),
        runs=100,
    ),
    Cell(
        title="5 points worse, 20,000 requests a day",
        truth=Truth(requests_per_day=20_000, worse=0.05),
        runs=100,
    ),
)


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Run each kind; a quick run has a tenth of the canaries."""
    rng = np.random.default_rng(SEED)
    cells: list[dict[str, Any]] = []
    for cell in report.each("canaries", CELLS):
        runs = max(2, cell.runs // 10) if quick else cell.runs
        ran = [run_one(cell.truth, rng, settings=SETTINGS, every=EVERY) for _ in range(runs)]
        cells.append(asdict(cell) | {"runs": runs} | ended(ran))
        report.partial({"cells": cells})
    return {"cells": cells}


def summary(found: Mapping[str, Any]) -> str:
    """One line a kind, for the terminal."""
    return "\n".join(
        f"{cell['title']}: {cell['rolled_back']} of {cell['runs']} rolled back"
        for cell in found["cells"]
    )


def most(runs: int) -> int:
    """Return the 99 % point of the rollbacks of ``runs`` canaries at the promise."""
    return int(stats.binom.ppf(0.99, runs, PROMISED))


def ended(ran: list[Ran]) -> dict[str, Any]:
    """Count how canaries ended, with the medians of those that were rolled back."""
    back = [one for one in ran if one.phase is Phase.ROLLED_BACK]
    return {
        "rolled_back": len(back),
        "promoted": sum(one.phase is Phase.SUCCEEDED for one in ran),
        "within_a_day": sum(one.after <= 24 * HOUR for one in back),
        "hours": float(np.median([one.after / HOUR for one in back])) if back else None,
        "requests": float(np.median([one.requests for one in back])) if back else None,
    }

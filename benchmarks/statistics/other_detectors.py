"""False alarms of the live detectors beside `logit_ks` while nothing drifts but days."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from types import MappingProxyType
from typing import Any, Final

import numpy as np

from benchmarks.statistics import late_feedback, live_signals
from benchmarks.statistics.alarms import Asked, Followed, follow, follow_units
from benchmarks.statistics.false_alarms import ASKED, MONTH_CHECKS, MONTHS, bound
from benchmarks.statistics.live_signals import Draw, Measured
from benchmarks.statistics.report import Report
from benchmarks.statistics.streams import CHECK_SECONDS, CHECKS_PER_DAY, MONDAY, times
from detectors.answer_format import ANSWER_FORMAT
from detectors.feedback import FEEDBACK
from detectors.latency import LATENCY
from detectors.output_similarity import OUTPUT_SIMILARITY
from detectors.prompt_length import PROMPT_LENGTH
from detectors.prompt_prefix import PROMPT_PREFIX, PromptPrefix
from detectors.rank_detector import RankDetector
from detectors.rate_detector import RateDetector
from detectors.types import Process

SEED = 4_006
REFERENCE_DAYS = 14
PER_CHECK = 8
DAYS = (0.1, 0.2)
"""Effects of a day, in sd of a request's noise."""
LATE = "feedback, complaints 1 to several days late"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A detector and what it is shown."""

    detector: RankDetector | RateDetector | PromptPrefix
    draw: Draw


_OLDER: Final = MappingProxyType(
    {
        "output_similarity": Case(detector=OUTPUT_SIMILARITY, draw=live_signals.answers),
        "latency": Case(detector=LATENCY, draw=live_signals.latency),
        "feedback": Case(detector=FEEDBACK, draw=live_signals.feedback),
        "feedback, asked for in the reference's later half only": Case(
            detector=FEEDBACK, draw=live_signals.feedback_half
        ),
    }
)
_REQUESTS: Final = MappingProxyType(
    {
        "prompt_length": Case(detector=PROMPT_LENGTH, draw=live_signals.prompts),
        "prompt_prefix": Case(detector=PROMPT_PREFIX, draw=live_signals.prefixes),
        "prompt_prefix, with the date in it": Case(
            detector=PROMPT_PREFIX, draw=live_signals.dated_prefixes
        ),
        "answer_format": Case(detector=ANSWER_FORMAT, draw=live_signals.formats),
    }
)
CASES: Mapping[str, Case] = MappingProxyType(_OLDER | _REQUESTS)
NAMES = (*_OLDER, LATE, *_REQUESTS)
"""In the order of their seeds."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """One of ``NAMES``, and the effect of a day."""

    name: str
    day: float

    @property
    def asked(self) -> tuple[Asked, ...]:
        """The processes that the detector has, at both budgets."""
        pages = self.name not in CASES or CASES[self.name].detector.pages
        return tuple(one for one in ASKED if pages or one.process is Process.NOTICE)


def cells() -> Iterator[Cell]:
    """All of the table."""
    for name in NAMES:
        for day in DAYS:
            yield Cell(name=name, day=day)


def month(cell: Cell, *, number: int, checks: int = MONTH_CHECKS) -> list[int]:
    """Alarms of each process asked in one adapter-month of a cell."""
    rng = np.random.default_rng([SEED, NAMES.index(cell.name), round(100 * cell.day), number])
    followed = _followed(cell, checks=checks, rng=rng)
    return [followed[one].alarms.size for one in cell.asked]


def _followed(cell: Cell, *, checks: int, rng: np.random.Generator) -> Mapping[Asked, Followed]:
    before = REFERENCE_DAYS * CHECKS_PER_DAY
    known, total = before * PER_CHECK, (before + checks) * PER_CHECK
    if cell.name == LATE:
        said = late_feedback.draw(requests=total, per_check=PER_CHECK, day=cell.day, rng=rng)
        return late_feedback.follow_late(said, known_days=REFERENCE_DAYS, asked=cell.asked)
    case, at = CASES[cell.name], times(total, PER_CHECK)
    live = Measured(at=at, signals=case.draw(at, day=cell.day, known=known, rng=rng))
    reference: Any = case.detector.fit(live.window(0, known))
    start = MONDAY + CHECK_SECONDS * before
    if isinstance(case.detector, RankDetector):
        return follow(reference, live, first=known, start=start, asked=cell.asked)
    units = case.detector.units(reference, live.window(known, total))
    return follow_units(reference.null, units, live, start=start, asked=cell.asked)


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Follow every cell for its months; ``quick`` is two months of a week each."""
    months, checks = (2, 7 * CHECKS_PER_DAY) if quick else (MONTHS, MONTH_CHECKS)
    found: list[dict[str, Any]] = []
    for cell in report.each("other detectors", tuple(cells())):
        found.append(measured(cell, [month(cell, number=i, checks=checks) for i in range(months)]))
        report.partial({"cells": found, "days": checks // CHECKS_PER_DAY})
    return {"cells": found, "days": checks // CHECKS_PER_DAY}


def measured(cell: Cell, alarms: list[list[int]]) -> dict[str, Any]:
    """Write a cell as JSON values: alarms of each month by process and budget."""
    return {
        "name": cell.name,
        "day": cell.day,
        "months": len(alarms),
        "alarms": {
            f"{one.process.value} {one.budget:g}": [month[i] for month in alarms]
            for i, one in enumerate(cell.asked)
        },
    }


def summary(found: Mapping[str, Any]) -> str:
    """One line a cell, for the terminal."""
    return "\n".join(
        f"{cell['name']}, day effects {cell['day']:g} sd, {cell['months']} months: "
        + ", ".join(
            f"{name}: {sum(alarms)} of at most"
            f" {bound(float(name.rpartition(' ')[2]), cell['months'])}"
            for name, alarms in cell["alarms"].items()
        )
        for cell in found["cells"]
    )

"""The live detectors beside `logit_ks` keep their budgets, and late complaints cost nothing."""

from datetime import timedelta

import numpy as np
import pytest

from benchmarks.statistics import late_feedback, other_detectors, page
from benchmarks.statistics.alarms import Asked
from benchmarks.statistics.false_alarms import kept
from benchmarks.statistics.other_detectors import Cell, measured, month
from benchmarks.statistics.streams import CHECKS_PER_DAY, MONDAY
from detectors.types import SECONDS_PER_DAY, Process

NOTICE = Asked(process=Process.NOTICE, budget=1.0)
PER_CHECK = 8


def run(cell: Cell, months: int) -> dict[str, object]:
    return measured(cell, [month(cell, number=1_000 + i) for i in range(months)])


@pytest.mark.parametrize("name", other_detectors.NAMES)
def test_the_budgets_are_kept_in_two_months_of_day_effects(name: str) -> None:
    # bound: the 99 % point of a Poisson law at the budget, 6 alarms in 2 months at budget 1
    # and 1 at 1/100
    assert all(kept(run(Cell(name=name, day=0.1), 2)).values())


@pytest.mark.slow
@pytest.mark.parametrize("cell", [*other_detectors.cells()], ids=str)
def test_the_budgets_are_kept_in_every_cell(cell: Cell) -> None:
    # 24 months of other seeds than the published ones
    assert all(kept(run(cell, 24)).values())


def first_alarm(
    seed: int, *, known_days: int, settles_after: timedelta | None, worse_on: float = np.inf
) -> float:
    """Days from the reference to the first notice in 20 days, inf without one."""
    said = late_feedback.draw(
        requests=(known_days + 20) * CHECKS_PER_DAY * PER_CHECK,
        per_check=PER_CHECK,
        day=0.0,
        rng=np.random.default_rng([31, seed]),
        worse_from=MONDAY + (known_days + worse_on) * SECONDS_PER_DAY,
    )
    followed = late_feedback.follow_late(
        said, known_days=known_days, asked=(NOTICE,), settles_after=settles_after
    )
    alarms = followed[NOTICE].alarms
    return float(alarms[0] + 1) / CHECKS_PER_DAY if alarms.size else np.inf


def test_complaints_that_come_late_are_no_drift() -> None:
    # 8 times 20 days at a budget of 1 in 30: P(X <= 12) = .995 at mean 5.3
    young = [
        first_alarm(seed, known_days=5, settles_after=late_feedback.SETTLES_AFTER)
        for seed in range(8)
    ]
    assert np.isinf(young).sum() >= 7
    # without the rule the praise of the last days stands against the complaints about them
    naive = [first_alarm(seed, known_days=5, settles_after=None) for seed in range(8)]
    assert np.isfinite(naive).all()


def test_answers_that_get_worse_are_found_although_complaints_come_late() -> None:
    # twice the complaints from day 3 on, which come 1.7 days later in the mean
    found = [
        first_alarm(seed, known_days=14, settles_after=late_feedback.SETTLES_AFTER, worse_on=3.0)
        for seed in range(4)
    ]
    assert min(found) > 4.0
    assert max(found) < 9.0


def test_the_page_names_the_bound_and_what_a_detector_does_not_do() -> None:
    cell = measured(Cell(name="output_similarity", day=0.2), [[2, 1]] * 24)
    shown = page._other_detectors({"cells": [cell], "days": 30})  # noqa: SLF001 - one table of the page
    assert "**0 of 1 cells kept their budgets**" in shown
    assert "| **48** (at most 36) | **24** (at most 2) | - | - |" in shown

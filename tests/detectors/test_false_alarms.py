"""Four mistakes that someone careful made, as regressions; nothing drifts in any of them.

At budget 1 a process alarms at most once an adapter-month in expectation. Over n months
Markov's inequality gives P(total >= 5 n) <= 1/5 for *any* law; alarms that reach the budget
would be near Poisson(n), so a bound of ``n + 3 sqrt(n)`` is crossed with probability below
1 %. Each mistake exceeded it several times over (numbers in the names of the cases).
"""

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import pytest

from detectors.logit_ks import LOGIT_KS
from detectors.rank_detector import RankDetector
from detectors.types import Floats, Process

Change = Callable[[Floats, Floats, np.random.Generator], Floats]

ONE_SIGNAL = RankDetector(name="one", signals=("mean_nll",))
MONTH = 2880  # checks of 15 min


def poisson_bound(months: int) -> float:
    return months + 3 * math.sqrt(months)


def total(outcomes: Sequence[Any], process: Process) -> int:
    return sum(outcome.count[process] for outcome in outcomes)


def test_a_reference_of_320_requests_pays_for_its_own_error(simulation: Any) -> None:
    # without a confidence bound for the reference: 11.3 alarms a month
    runs = [
        simulation.run(
            ONE_SIGNAL,
            seed=seed,
            reference_checks=8,
            live_checks=MONTH,
            before=simulation.traffic(),
        )
        for seed in range(4)
    ]
    assert total(runs, Process.NOTICE) <= poisson_bound(4)
    assert total(runs, Process.PAGE) <= poisson_bound(4)


def sessions_of_four(_at: Floats, z: Floats, rng: np.random.Generator) -> Floats:
    return np.repeat(rng.normal(size=z.size // 4), 4)


def test_sessions_of_four_are_not_four_opinions(simulation: Any) -> None:
    # sessions that agree in full, true effect 4. Without a design effect: 155 alarms a month;
    # that its *upper limit* is taken is held by test_design_effect.py
    traffic = simulation.traffic(change=sessions_of_four)
    runs = [
        simulation.run(
            ONE_SIGNAL, seed=seed, reference_checks=25, live_checks=MONTH, before=traffic
        )
        for seed in range(4)
    ]
    assert total(runs, Process.NOTICE) <= poisson_bound(4)


def day_effects(sd: float) -> Change:
    def change(at: Floats, z: Floats, rng: np.random.Generator) -> Floats:
        days, of = np.unique(at // 86_400.0, return_inverse=True)
        return z + sd * rng.normal(size=days.size)[of]

    return change


def test_days_may_differ_by_a_tenth_of_a_standard_deviation(simulation: Any) -> None:
    # without day blocks: 14.7 alarms a month with a 3-day reference, 15 with this one of 7
    traffic = simulation.traffic(change=day_effects(0.1))
    runs = [
        simulation.run(
            ONE_SIGNAL, seed=seed, reference_checks=7 * 96, live_checks=MONTH, before=traffic
        )
        for seed in range(3)
    ]
    assert total(runs, Process.NOTICE) <= poisson_bound(3)
    assert total(runs, Process.PAGE) <= poisson_bound(3)


def weekends_are_harder(at: Floats, z: Floats, _rng: np.random.Generator) -> Floats:
    weekend = (at // 86_400.0 + 3) % 7 >= 5
    return z + 0.3 * np.sin(2 * np.pi * at / 86_400.0) + 0.2 * weekend


def test_a_monday_to_thursday_reference_allows_for_the_weekend(simulation: Any) -> None:
    # every adapter alarmed where an unseen weekday was taken to be like the others
    traffic = simulation.traffic(change=weekends_are_harder)
    runs = [
        simulation.run(
            ONE_SIGNAL, seed=seed, reference_checks=4 * 96, live_checks=MONTH, before=traffic
        )
        for seed in range(3)
    ]
    assert total(runs, Process.PAGE) == 0
    assert total(runs, Process.NOTICE) <= poisson_bound(3)


@pytest.mark.slow
@pytest.mark.parametrize(("sd", "days"), [(0.0, 14), (0.1, 14), (0.1, 7), (0.2, 14)])
def test_a_budget_of_one_is_kept_over_twelve_months(simulation: Any, sd: float, days: int) -> None:
    traffic = simulation.traffic(change=day_effects(sd))
    runs = [
        simulation.run(
            LOGIT_KS,
            seed=100 + seed,
            reference_checks=days * 96,
            live_checks=MONTH,
            before=traffic,
        )
        for seed in range(12)
    ]
    assert total(runs, Process.NOTICE) <= poisson_bound(12)
    assert total(runs, Process.PAGE) <= poisson_bound(12)

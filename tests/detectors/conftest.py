"""Simulated traffic: requests at a steady rate with a latent difficulty per request."""

from collections.abc import Callable
from dataclasses import dataclass, field

import numpy as np
import pytest

from detectors.evidence import advance
from detectors.rank_detector import RankDetector
from detectors.rank_reference import RankReference, place, units_of
from detectors.scores import Units
from detectors.types import Budget, Floats, Process, State, Window

DAY = 86_400.0
MONDAY = 1_699_833_600.0  # 13 November 2023, 00:00 UTC
CHECK = 900.0


@dataclass(frozen=True, kw_only=True)
class Traffic:
    """Requests every 15 minutes; ``change`` maps (times, latents, rng) to latents."""

    per_check: int = 40
    change: Callable[[Floats, Floats, np.random.Generator], Floats] = lambda _at, z, _rng: z

    def window(self, rng: np.random.Generator, start: float, *, checks: int) -> Window:
        place_in_check = (np.arange(self.per_check) + 0.5) / self.per_check
        at = (start + CHECK * (np.arange(checks)[:, None] + place_in_check)).ravel()
        z = self.change(at, rng.normal(size=at.size), rng)
        noise = rng.normal(size=(3, at.size))
        signals = {
            "mean_nll": z,
            "p95_nll": 0.7 * z + 0.71 * noise[0],
            "near_certain": 0.71 * noise[1] - 0.7 * z,
            "log_length": noise[2],
        }
        return Window(start=start, end=start + CHECK * checks, at=at, signals=signals)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """When each process first crossed (hours from the start), and how often in all."""

    first: dict[Process, float] = field(default_factory=dict)
    count: dict[Process, int] = field(default_factory=dict)


def follow(
    detector: RankDetector, reference: RankReference, live: Window, *, budget: Budget
) -> Outcome:
    """Evaluate a long stretch check by check, as the service does."""
    every = np.ones(len(live), dtype=np.bool_)
    units = units_of(reference, live, place(reference, live), only=every)
    check = ((units.at - live.start) // CHECK).astype(int)
    state, outcome = State(), Outcome(first={}, count=dict.fromkeys(Process, 0))
    for number in range(round(live.seconds / CHECK)):
        now = check == number if len(units) < 1000 else _slice(check, number)
        unseen = None if units.unseen is None else units.unseen[now]
        new = Units(at=units.at[now], scores=units.scores[now], unseen=unseen)
        start = live.start + CHECK * number
        window = Window(start=start, end=start + CHECK, at=new.at, signals={})
        given = {Process.NOTICE: new} | ({Process.PAGE: new} if detector.pages else {})
        step = advance(reference.null, state, window, given, budget=budget)
        state = step.state
        for process in (p for p, level in step.evidence.items() if level >= 0.0):
            outcome.count[process] += 1
            outcome.first.setdefault(process, (number + 1) * CHECK / 3600.0)
    return outcome


def _slice(check: np.ndarray, number: int) -> slice:
    return slice(*np.searchsorted(check, [number, number + 1]))


@dataclass(frozen=True)
class Simulation:
    """What tests ask the simulation for."""

    day: float = DAY
    monday: float = MONDAY
    check: float = CHECK
    traffic: type[Traffic] = Traffic

    def run(
        self,
        detector: RankDetector,
        *,
        seed: int,
        reference_checks: int,
        live_checks: int,
        before: Traffic,
        after: Traffic | None = None,
        budget: Budget | None = None,
    ) -> Outcome:
        rng = np.random.default_rng(seed)
        baseline = before.window(rng, MONDAY, checks=reference_checks)
        live = (after or before).window(rng, baseline.end, checks=live_checks)
        reference = detector.fit(baseline)
        return follow(detector, reference, live, budget=budget or Budget(notice=1.0, page=1.0))


@pytest.fixture(scope="session")
def simulation() -> Simulation:
    return Simulation()


@pytest.fixture
def rng() -> np.random.Generator:
    return np.random.default_rng(20_261_125)

"""Expected delays against simulated ones: medians of fixed seeds, within .6 and 1.6."""

from dataclasses import dataclass
from functools import cache

import numpy as np
import pytest

from detectors import rank_reference
from detectors.empty import EMPTY
from detectors.evidence import evidence_of, window_increments
from detectors.expected_delay import Drift, expected_delay, growth_of, minimum_detectable
from detectors.logit_ks import LOGIT_KS
from detectors.rank_reference import RankReference
from detectors.types import HORIZON_SECONDS, Budget, Floats, Process, State, Window

CHECK, MINUTE, DAY = 900.0, 60.0, 86_400.0
MONDAY = 1_699_833_600.0
BEFORE = 96
"""Checks of nothing before the drift, so that the process has settled."""
LOWEST, HIGHEST = 0.6, 1.6
NOT_SEEN = 12.0
"""Hours: four times that long is followed what is expected never to be seen."""
CHANGES = {
    Drift.HALF_SD: (0.5, 0.0),
    Drift.ONE_SD: (1.0, 0.0),
    Drift.BAD_REQUESTS: (0.0, 0.05),
}


@dataclass(frozen=True, kw_only=True)
class Case:
    """A reference, the traffic, a drift, and the share of the budget."""

    days: float
    per_check: int
    drift: Drift
    process: Process
    share: float

    @property
    def id(self) -> str:
        return (
            f"{self.days:g} d, {self.per_check} a check, {self.drift}, {self.process} {self.share}"
        )

    @property
    def expected(self) -> float:
        growth = growth_of(reference_of(self.days, self.per_check))
        assert growth is not None
        found = expected_delay(
            growth,
            self.drift,
            self.process,
            share=self.share,
            units_per_day=96.0 * self.per_check,
            check_seconds=CHECK,
        )
        assert found is not None
        assert found.units == pytest.approx(found.hours * 4 * self.per_check)
        return found.hours


def requests(
    rng: np.random.Generator, checks: int, per_check: int, *, shift: float = 0.0, bad: float = 0.0
) -> Window:
    """Requests of which only the mean NLL drifts: the worst case of what is promised."""
    within = (np.arange(per_check) + 0.5) / per_check
    at = (MONDAY + CHECK * (np.arange(checks)[:, None] + within)).ravel()
    z = rng.normal(size=at.size) + shift + 5.0 * (rng.random(at.size) < bad)
    others = ("p95_nll", "near_certain", "log_length")
    signals = {"mean_nll": z} | {name: rng.normal(size=at.size) for name in others}
    return Window(start=MONDAY, end=MONDAY + CHECK * checks, at=at, signals=signals)


@cache
def reference_of(days: float, per_check: int) -> RankReference:
    rng = np.random.default_rng([7, per_check, round(days)])
    return LOGIT_KS.fit(requests(rng, round(96 * days), per_check))


def simulated(case: Case, *, seed: int) -> float:
    """Hours from the drift to the crossing of one stream."""
    rng, reference = np.random.default_rng(seed), reference_of(case.days, case.per_check)
    shift, bad = CHANGES[case.drift]
    checks = round(4 * 4 * min(case.expected, NOT_SEEN)) + 8
    calm = requests(rng, BEFORE, case.per_check)
    drifting = requests(rng, checks, case.per_check, shift=shift, bad=bad)
    grown = np.concatenate([_grown(reference, case, part) for part in (calm, drifting)])
    start = np.log(case.share * CHECK / HORIZON_SECONDS)
    log_m = np.full(grown.shape[1:], -np.inf)
    for number, by in enumerate(grown):
        log_m = np.logaddexp(log_m, start) + by
        if number >= BEFORE and evidence_of(reference.null, log_m) >= 0.0:
            return (number + 1 - BEFORE) / 4
    return np.inf


def _grown(reference: RankReference, case: Case, part: Window) -> Floats:
    every = np.ones(len(part), dtype=np.bool_)
    units = rank_reference.units_of(
        reference, part, rank_reference.place(reference, part), only=every
    )
    sizes = np.full(len(part) // case.per_check, case.per_check)
    return window_increments(
        reference.null,
        case.process,
        units.scores,
        sizes=sizes,
        share=case.share,
        unseen=units.unseen,
    )


def close(case: Case, *, runs: int) -> bool:
    """A delay of a few checks is seen at their ends: one check either way is no error."""
    median = float(np.median([simulated(case, seed=seed) for seed in range(runs)]))
    if np.isinf(case.expected):
        return bool(np.isinf(median))
    near = abs(case.expected - median) <= CHECK / 3600.0
    return near or LOWEST <= case.expected / median <= HIGHEST


CASES = [
    Case(days=days, per_check=per_check, drift=drift, process=process, share=share)
    for days, per_check in ((14, 40), (14, 8), (14, 4), (1, 40))
    for drift in Drift
    for process in Process
    for share in (1.0, 0.1, 0.001)
]
TELLING = [
    Case(days=14, per_check=8, drift=Drift.HALF_SD, process=Process.PAGE, share=0.1),
    Case(days=14, per_check=8, drift=Drift.ONE_SD, process=Process.NOTICE, share=1.0),
    Case(days=1, per_check=40, drift=Drift.ONE_SD, process=Process.PAGE, share=0.1),
    Case(days=1, per_check=40, drift=Drift.HALF_SD, process=Process.PAGE, share=0.1),
]


@pytest.mark.parametrize("case", TELLING, ids=lambda case: case.id)
def test_a_delay_is_what_simulated_streams_take(case: Case) -> None:
    assert close(case, runs=15)


@pytest.mark.slow
@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
def test_every_delay_is_what_simulated_streams_take(case: Case) -> None:
    assert close(case, runs=41)


def test_failures_of_a_rate_are_seen_when_they_are_expected() -> None:
    rng = np.random.default_rng(3)
    at = MONDAY + np.sort(rng.uniform(0.0, 14 * DAY, 10_000))
    reference = EMPTY.fit(
        Window(start=MONDAY, end=MONDAY + 14 * DAY, at=at, signals={"empty": np.zeros(at.size)})
    )
    growth = growth_of(reference)
    assert growth is not None
    assert (
        expected_delay(
            growth, Drift.ONE_SD, Process.PAGE, share=1.0, units_per_day=1e4, check_seconds=MINUTE
        )
        is None
    )
    expected = expected_delay(
        growth,
        Drift.BAD_REQUESTS,
        Process.PAGE,
        share=1 / 800,
        units_per_day=4_000.0,
        check_seconds=MINUTE,
    )
    assert expected is not None
    seen = [_failures_until_seen(reference, seed) for seed in range(21)]
    assert LOWEST <= expected.units / float(np.median(seen)) <= HIGHEST


def _failures_until_seen(reference: object, seed: int) -> float:
    """Requests until `empty` pages: 4,000 a day in minutes, every 20th one fails."""
    rng, state, requests_seen = np.random.default_rng(seed), State(), 0
    for minute in range(2_000):
        start = MONDAY + 15 * DAY + MINUTE * minute
        n = int(rng.poisson(4_000 / 1_440))
        window = Window(
            start=start,
            end=start + MINUTE,
            at=np.full(n, start),
            signals={"empty": (rng.random(n) < 0.05).astype(np.float64)},
        )
        requests_seen += n
        budget = Budget(notice=1.0, page=1 / 800)
        score, state = EMPTY.score(reference, window, state, budget)  # type: ignore[arg-type]
        if score.evidence_page >= 0.0:
            return float(requests_seen)
    return np.inf


def test_less_budget_less_traffic_and_no_data_take_longer() -> None:
    growth = growth_of(reference_of(14, 40))
    assert growth is not None

    def hours(drift: Drift, share: float, per_day: float) -> float:
        found = expected_delay(
            growth, drift, Process.PAGE, share=share, units_per_day=per_day, check_seconds=CHECK
        )
        assert found is not None
        return found.hours

    assert hours(Drift.ONE_SD, 1.0, 400) < hours(Drift.ONE_SD, 0.001, 400)
    assert hours(Drift.ONE_SD, 1.0, 4_000) < hours(Drift.HALF_SD, 1.0, 4_000)
    assert hours(Drift.HALF_SD, 1.0, 4_000) < hours(Drift.HALF_SD, 1.0, 400)
    assert hours(Drift.HALF_SD, 1.0, 2) == np.inf
    assert hours(Drift.HALF_SD, 0.0, 4_000) == hours(Drift.HALF_SD, 1.0, 0.0) == np.inf
    assert growth_of(object()) is None


def test_a_constant_signal_is_no_reason_to_promise_anything() -> None:
    rng = np.random.default_rng(5)
    calm = requests(rng, 96, 8)
    flat = {**calm.signals, "mean_nll": np.zeros(len(calm))}
    reference = LOGIT_KS.fit(Window(start=calm.start, end=calm.end, at=calm.at, signals=flat))
    growth = growth_of(reference)
    assert growth is not None
    found = expected_delay(
        growth, Drift.ONE_SD, Process.PAGE, share=1.0, units_per_day=768.0, check_seconds=CHECK
    )
    assert found is not None
    assert found.hours == np.inf


def test_the_smallest_change_is_what_a_score_says_at_the_same_traffic() -> None:
    reference = reference_of(14, 8)
    rng = np.random.default_rng(6)
    check = requests(rng, 1, 8)
    budget = Budget(notice=0.2, page=0.01)
    said = LOGIT_KS.score(reference, check, State(), budget)[0].minimum_detectable
    found = minimum_detectable(
        reference.null, budget=budget, units_per_day=8 * 96.0, check_seconds=CHECK
    )
    assert found == pytest.approx(said)

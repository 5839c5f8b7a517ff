"""What a reference is said to see in time, against simulated streams of fixed seeds."""

from dataclasses import dataclass, replace
from itertools import pairwise

import numpy as np
import numpy.typing as npt
import pytest

from detectors.empty import EMPTY
from detectors.evidence import evidence_of
from detectors.expected_delay import Drift, expected_delay, growth_of
from detectors.faults import Fault
from detectors.logit_ks import LOGIT_KS
from detectors.prompt_length import PROMPT_LENGTH
from detectors.rate_detector import RateReference
from detectors.smallest_seen import LATE, POWER, SHARES, SHIFTS, Movable, movable, smallest_seen
from detectors.types import HORIZON_SECONDS, Budget, Process, State, Window
from tests.detectors.test_expected_delay import (
    BEFORE,
    CHECK,
    DAY,
    MINUTE,
    MONDAY,
    Case,
    _grown,
    reference_of,
    requests,
)

HOURS = (1.0, 24.0, 168.0)
LESS_CERTAIN = Fault(signal="mean_nll")
GARBAGE = Fault(signal="mean_nll", share=True)
SHORTER = Fault(signal="log_length", falls=True)


def moved(per_check: int, fault: Fault) -> Movable:
    reference = reference_of(14, per_check)
    growth = growth_of(reference)
    assert growth is not None
    found = movable(reference, growth, fault)
    assert found is not None
    return found


def sizes(
    per_check: int, fault: Fault, process: Process, *, share: float = 1.0
) -> tuple[float | None, ...]:
    return smallest_seen(
        moved(per_check, fault),
        process,
        share=share,
        units_per_day=96.0 * per_check,
        check_seconds=CHECK,
        hours=HOURS,
    )


@dataclass(frozen=True, kw_only=True)
class Told:
    """A fault of the told size, at some traffic, with some share of the budget."""

    per_check: int
    fault: Fault
    process: Process
    share: float
    hours: float

    @property
    def id(self) -> str:
        kind = f"{'share' if self.fault.share else 'shift'} of {self.fault.signal}"
        return f"{self.per_check} a check, {kind}, {self.process} {self.share}, {self.hours:g} h"

    def seen(self, *, runs: int, of_size: float = 1.0) -> int:
        """How many streams alarm in time after a fault began, of a part of the told size."""
        found = sizes(self.per_check, self.fault, self.process, share=self.share)
        size = found[HOURS.index(self.hours)]
        assert size is not None
        rngs = [np.random.default_rng([11, seed]) for seed in range(runs)]
        return sum(self._in_time(of_size * size, rng) for rng in rngs)

    def _in_time(self, size: float, rng: np.random.Generator) -> bool:
        checks = round(self.hours * 3600 / CHECK)
        whole = requests(rng, BEFORE + checks, self.per_check)
        values = whole.signals[self.fault.signal]
        hit = np.arange(values.size) >= BEFORE * self.per_check
        if self.fault.share:
            values[hit & (rng.random(values.size) < size)] = 9.0
        else:
            values[hit] += size * (-1.0 if self.fault.falls else 1.0)
        case = Case(
            days=14,
            per_check=self.per_check,
            drift=Drift.ONE_SD,
            process=self.process,
            share=self.share,
        )
        reference = reference_of(14, self.per_check)
        start = np.log(self.share * CHECK / HORIZON_SECONDS)
        log_m = np.full((5, len(reference.null.names)), -np.inf)
        for number, by in enumerate(_grown(reference, case, whole)):
            log_m = np.logaddexp(log_m, start) + by
            if number >= BEFORE and evidence_of(reference.null, log_m) >= 0.0:
                return True
        return False


EVERY = [
    Told(per_check=per_check, fault=fault, process=process, share=share, hours=hours)
    for per_check in (40, 8)
    for fault in (LESS_CERTAIN, GARBAGE, SHORTER)
    for process in Process
    for share in (1.0, 0.01)
    for hours in HOURS
]
SOME = [
    Told(per_check=40, fault=LESS_CERTAIN, process=Process.PAGE, share=0.01, hours=1.0),
    Told(per_check=8, fault=LESS_CERTAIN, process=Process.NOTICE, share=1.0, hours=24.0),
    Told(per_check=8, fault=GARBAGE, process=Process.PAGE, share=0.01, hours=24.0),
    Told(per_check=8, fault=SHORTER, process=Process.NOTICE, share=1.0, hours=24.0),
]


@pytest.mark.parametrize("told", SOME, ids=lambda told: told.id)
def test_faults_of_the_told_size_are_seen_in_time_and_smaller_ones_mostly_not(told: Told) -> None:
    assert told.seen(runs=20) >= POWER * 20
    assert told.seen(runs=20, of_size=0.5) <= 10


@pytest.mark.slow
@pytest.mark.parametrize("told", EVERY, ids=lambda told: told.id)
def test_every_fault_of_the_told_size_is_seen_in_time(told: Told) -> None:
    assert told.seen(runs=40) >= POWER * 40


def test_failures_of_the_told_share_are_seen_in_time() -> None:
    """4,000 requests a day in minutes: what `empty` is said to page for within an hour."""
    reference = _never_empty()
    found = _shares(reference, per_day=4_000.0)
    assert found[0] is not None
    in_time = sum(_pages_within_an_hour(reference, found[0], seed) for seed in range(20))
    assert in_time >= POWER * 20


def _never_empty() -> RateReference:
    at = MONDAY + np.sort(np.random.default_rng(3).uniform(0.0, 14 * DAY, 10_000))
    signals = {"empty": np.zeros(at.size)}
    return EMPTY.fit(Window(start=MONDAY, end=MONDAY + 14 * DAY, at=at, signals=signals))


def _shares(reference: RateReference, *, per_day: float) -> tuple[float | None, ...]:
    growth = growth_of(reference)
    assert growth is not None
    found = movable(reference, growth, Fault(signal="empty", share=True))
    assert found is not None
    return smallest_seen(
        found,
        Process.PAGE,
        share=1 / 800,
        units_per_day=per_day,
        check_seconds=MINUTE,
        hours=HOURS,
    )


def _pages_within_an_hour(reference: RateReference, share: float, seed: int) -> bool:
    rng, state = np.random.default_rng([12, seed]), State()
    for minute in range(60):
        start = MONDAY + 15 * DAY + MINUTE * minute
        n = int(rng.poisson(4_000 / 1_440))
        signals = {"empty": (rng.random(n) < share).astype(np.float64)}
        window = Window(start=start, end=start + MINUTE, at=np.full(n, start), signals=signals)
        budget = Budget(notice=1.0, page=1 / 800)
        score, state = EMPTY.score(reference, window, state, budget)
        if score.evidence_page >= 0.0:
            return True
    return False


@pytest.mark.parametrize("fault", [LESS_CERTAIN, GARBAGE, SHORTER])
@pytest.mark.parametrize("process", Process)
def test_more_time_traffic_or_budget_show_smaller_faults(fault: Fault, process: Process) -> None:
    found = [
        [np.inf if one is None else one for one in sizes(per_check, fault, process, share=share)]
        for per_check, share in ((40, 1.0), (40, 0.01), (8, 0.01), (1, 0.01))
    ]
    for each in found:
        assert each == sorted(each, reverse=True)
    for more, less in pairwise(found):
        assert all(a <= b for a, b in zip(more, less, strict=True))


def test_a_size_is_one_of_those_tried_and_no_traffic_shows_none() -> None:
    assert set(sizes(40, LESS_CERTAIN, Process.PAGE)) <= {None, *SHIFTS}
    assert set(sizes(40, GARBAGE, Process.PAGE)) <= {None, *SHARES}
    assert sizes(40, GARBAGE, Process.PAGE, share=0.0) == (None, None, None)
    assert _shares(_never_empty(), per_day=0.0) == (None, None, None)
    assert list(SHIFTS) == sorted(set(SHIFTS))
    assert list(SHARES) == sorted(set(SHARES))


def test_a_signal_that_the_reference_has_not_is_no_fault_of_it() -> None:
    reference = reference_of(14, 40)
    growth = growth_of(reference)
    assert growth is not None
    assert movable(reference, growth, Fault(signal="entropy")) is None


def test_a_constant_signal_shows_no_shift_but_shows_a_share_far_out() -> None:
    calm = requests(np.random.default_rng(5), 96, 40)
    rounding = 1e-15 * np.arange(len(calm), dtype=np.float64)
    flat = {**calm.signals, "mean_nll": rounding}
    reference = LOGIT_KS.fit(Window(start=calm.start, end=calm.end, at=calm.at, signals=flat))
    growth = growth_of(reference)
    assert growth is not None
    asked = {fault: movable(reference, growth, fault) for fault in (LESS_CERTAIN, GARBAGE)}
    said = {
        fault: smallest_seen(
            found,
            Process.NOTICE,
            share=1.0,
            units_per_day=3_840.0,
            check_seconds=CHECK,
            hours=(24.0,),
        )
        for fault, found in asked.items()
        if found is not None
    }
    assert said[LESS_CERTAIN] == (None,)
    assert said[GARBAGE][0] is not None


@pytest.mark.parametrize("values", [np.arange(8, 20), np.array([10, 200])], ids=["near", "far"])
@pytest.mark.parametrize("signal", ["prompt_tokens", "log_length"])
def test_a_count_moves_by_whole_steps(signal: str, values: npt.NDArray[np.int64]) -> None:
    """Moved by a hundredth of a token, all requests of 12 tokens would leave their rank."""
    calm = requests(np.random.default_rng(5), 96 * 4, 40)
    counts = np.random.default_rng(6).choice(values, len(calm)).astype(np.float64)
    known = {**calm.signals, "prompt_tokens": counts, "log_length": np.log1p(counts)}
    detector = PROMPT_LENGTH if signal == "prompt_tokens" else LOGIT_KS
    reference = detector.fit(replace(calm, signals=known))
    growth = growth_of(reference)
    assert growth is not None
    steps = (0.4, 1.0) if signal == "prompt_tokens" else (0.4 / 201, np.log(10 / 9))
    for falls in (False, True):
        found = movable(reference, growth, Fault(signal=signal, falls=falls))
        assert found is not None
        still, hardly, surely = (
            found.by(size / found.sd, Process.NOTICE, 1.0) for size in (0.0, *steps)
        )
        assert np.array_equal(still, hardly)
        assert surely.max() > still.max()


def test_of_the_drifts_of_the_budget_it_says_the_same() -> None:
    """What is expected in some hours is told as seen in half as many more, and in no fewer."""
    growth = growth_of(reference_of(14, 8))
    assert growth is not None
    expected = expected_delay(
        growth, Drift.ONE_SD, Process.PAGE, share=0.1, units_per_day=768.0, check_seconds=CHECK
    )
    assert expected is not None
    found = movable(reference_of(14, 8), growth, LESS_CERTAIN)
    assert found is not None
    shown, hidden = (
        smallest_seen(
            found,
            Process.PAGE,
            share=0.1,
            units_per_day=768.0,
            check_seconds=CHECK,
            hours=(expected.hours * late,),
        )[0]
        for late in (LATE, 0.9 * LATE)
    )
    assert shown is not None
    assert shown <= 1.0
    assert hidden is None or hidden > 1.0

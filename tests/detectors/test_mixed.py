"""A window in parts, each against a reference of its own, is one process."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.logit_ks import LOGIT_KS
from detectors.mixed import effect_mixed, score_mixed
from detectors.types import Budget, Process, State, Window
from tests.detectors.conftest import CHECK, DAY, MONDAY, Traffic

BUDGET = Budget(notice=1.0, page=1.0)
LIVE = MONDAY + 14 * DAY


def traffic(seed: int, *, start: float, checks: int, shift: float = 0.0) -> Window:
    rng = np.random.default_rng(seed)
    return Traffic(change=lambda _at, z, _rng: z + shift).window(rng, start, checks=checks)


COLD = LOGIT_KS.fit(traffic(1, start=MONDAY, checks=14 * 96))
WARM = LOGIT_KS.fit(traffic(2, start=MONDAY, checks=14 * 96, shift=3.0))
"""Answers at another temperature: 3 sd away from those of the first."""


def of(window: Window, rows: np.ndarray) -> Window:
    """Leave some rows measured, as settings that are not alike leave the others out."""
    signals = {name: np.where(rows, values, np.nan) for name, values in window.signals.items()}
    return Window(start=window.start, end=window.end, at=window.at, signals=signals)


@given(split=st.integers(0, 40), seed=st.integers(0, 50))
def test_parts_of_one_reference_add_up_to_the_whole(split: int, seed: int) -> None:
    window = traffic(seed, start=LIVE, checks=1, shift=0.5)
    rows = np.arange(len(window)) < split
    whole, after = LOGIT_KS.score(COLD, window, State(), BUDGET)
    mixed, state = score_mixed(
        LOGIT_KS, [(COLD, of(window, rows)), (COLD, of(window, ~rows))], State(), BUDGET
    )
    assert mixed.evidence_notice == pytest.approx(whole.evidence_notice)
    assert mixed.n_window == whole.n_window
    for process in Process:
        assert state.log_m[process] == pytest.approx(after.log_m[process])


def follow(shift: float, *, checks: int) -> list[float]:
    """Give the notice evidence of windows of which half are of either settings."""
    state, found = State(), []
    for check in range(checks):
        start = LIVE + check * CHECK
        cold = traffic(1_000 + check, start=start, checks=1)
        warm = traffic(5_000 + check, start=start, checks=1, shift=3.0 + shift)
        rows = np.arange(len(cold)) % 2 == 0
        parts = [(COLD, of(cold, rows)), (WARM, of(warm, ~rows))]
        score, state = score_mixed(LOGIT_KS, parts, state, BUDGET)
        found.append(score.evidence_notice)
    return found


def test_two_settings_far_apart_are_no_drift_of_each_other() -> None:
    assert max(follow(0.0, checks=96)) < 0.0
    alone = LOGIT_KS.score(COLD, traffic(9, start=LIVE, checks=1, shift=3.0), State(), BUDGET)[0]
    assert alone.evidence_page > 0.0  # as it would be without a reference of their own


@pytest.mark.slow
@pytest.mark.timeout(1_800)
def test_days_that_move_both_parts_keep_the_budget() -> None:
    """Six months at a budget of 1, days of .2 sd common to both, references of 14 days.

    Alarms are at most Poisson with mean 6: P(X <= 12) = .991.
    """
    rng = np.random.default_rng(29)
    days = 0.2 * rng.normal(size=14 + 180)

    def requests(day: int, check: int, *, checks: int, offset: float) -> Window:
        seed, start = int(rng.integers(2**32)), MONDAY + day * DAY + check * CHECK
        return traffic(seed, start=start, checks=checks, shift=offset + days[day])

    def baseline(offset: float) -> Window:
        parts = [requests(day, 0, checks=96, offset=offset) for day in range(14)]
        signals = {
            name: np.concatenate([part.signals[name] for part in parts])
            for name in parts[0].signals
        }
        at = np.concatenate([part.at for part in parts])
        return Window(start=MONDAY, end=MONDAY + 14 * DAY, at=at, signals=signals)

    cold, warm = LOGIT_KS.fit(baseline(0.0)), LOGIT_KS.fit(baseline(3.0))
    state, alarms = State(), dict.fromkeys(Process, 0)
    for day in range(14, 14 + 180):
        for check in range(96):
            first = requests(day, check, checks=1, offset=0.0)
            second = requests(day, check, checks=1, offset=3.0)
            rows = np.arange(len(first)) % 2 == 0
            parts = [(cold, of(first, rows)), (warm, of(second, ~rows))]
            score, state = score_mixed(LOGIT_KS, parts, state, BUDGET)
            alarms[Process.NOTICE] += score.evidence_notice >= 0.0
            alarms[Process.PAGE] += score.evidence_page >= 0.0
    print("alarms in six months", alarms)
    assert max(alarms.values()) <= 12


def test_a_drift_within_one_of_the_settings_is_seen() -> None:
    first = next(i for i, evidence in enumerate(follow(1.0, checks=48)) if evidence >= 0.0)
    assert first < 12


def test_a_window_that_was_seen_changes_nothing() -> None:
    window = traffic(3, start=LIVE, checks=1)
    parts = [
        (COLD, of(window, np.arange(len(window)) < 20)),
        (WARM, of(window, np.zeros(40, bool))),
    ]
    _, state = score_mixed(LOGIT_KS, parts, State(), BUDGET)
    score, again = score_mixed(LOGIT_KS, parts, state, BUDGET)
    assert score.details["refused"]
    assert again.log_m[Process.NOTICE] == pytest.approx(state.log_m[Process.NOTICE])


def test_a_healthy_majority_does_not_hide_a_broken_part() -> None:
    cold = traffic(4, start=LIVE, checks=5)
    warm = traffic(5, start=LIVE, checks=5, shift=3.0 + 3.0)
    few = np.arange(len(cold)) % 5 < 2
    parts = [(COLD, of(cold, ~few)), (WARM, of(warm, few))]
    found = effect_mixed(LOGIT_KS, parts)
    assert (found.part, found.worst.n) == (1, 80)
    assert found.worst.lo > 0.8
    score, _ = score_mixed(LOGIT_KS, parts, State(), BUDGET)
    assert score.effect == found.worst.value
    # and it has not recovered before every part has
    assert found.highest.hi > 0.8


def test_a_part_of_few_records_says_nothing_by_itself() -> None:
    cold = traffic(6, start=LIVE, checks=5)
    warm = traffic(7, start=LIVE, checks=5, shift=9.0)
    few = np.arange(len(cold)) < 3
    found = effect_mixed(LOGIT_KS, [(COLD, of(cold, ~few)), (WARM, of(warm, few))])
    assert found.part == 0


def test_nothing_at_all_has_no_effect() -> None:
    nothing = Window(start=0.0, end=1.0, at=np.empty(0), signals={})
    assert np.isnan(effect_mixed(LOGIT_KS, [(COLD, nothing)]).worst.value)

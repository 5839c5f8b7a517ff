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

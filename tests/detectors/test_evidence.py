from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.errors import StateMismatch
from detectors.evidence import (
    advance,
    evidence_of,
    onset,
    recovery_sums,
    window_increments,
)
from detectors.null import FRACTIONS, Null, bet_terms, equal_weights, null_mean
from detectors.scores import Units
from detectors.types import HORIZON_SECONDS, Budget, Floats, Process, State, Window

ONE = Budget(notice=1.0, page=1.0)


def rate_null(
    rate: float = 0.01, *, scores: int = 1, deff: float = 1.0, weights: Floats | None = None
) -> Null:
    return Null(
        names=tuple(f"s{i}:rate" for i in range(scores)),
        mean=np.full(scores, rate),
        sd=np.full(scores, np.sqrt(rate * (1 - rate))),
        deff=np.full(scores, deff),
        upper=np.full(scores, rate),
        indicator=np.full(scores, True),
        units=np.full(scores, 10_000),
        weights=equal_weights(scores) if weights is None else weights,
    )


def units(*scores: float) -> Units:
    table = np.array(scores, dtype=float)[:, None]
    return Units(at=np.zeros(len(scores)), scores=table)


def window(start: float, end: float) -> Window:
    return Window(start=start, end=end, at=np.array([]), signals={})


def step(null: Null, state: State, at: Window, new: Units, budget: Budget = ONE) -> State:
    return advance(null, state, at, {Process.NOTICE: new}, budget=budget).state


def test_one_failure_multiplies_the_process_by_the_bet() -> None:
    null = rate_null()
    new = {Process.NOTICE: units(1.0)}
    log_m = advance(null, State(), window(0, 900), new, budget=ONE).state.log_m[Process.NOTICE]
    # by hand: m0 = .01 + max(25 %, .005) = .015, lam = g / sd = g / .0995
    factor = 1 + FRACTIONS / np.sqrt(0.01 * 0.99) * (1 - 0.015)
    assert log_m[:, 0] == pytest.approx(np.log(900 / HORIZON_SECONDS) + np.log(factor))


@given(st.floats(0.0, 0.015), st.integers(1, 4))
def test_the_process_does_not_grow_on_average_under_the_null(rate: float, n: int) -> None:
    # exact expectation over all 2^n outcomes: E[factor] <= 1 for any rate up to m0 = .015
    null = rate_null()
    total = np.zeros(FRACTIONS.size)
    for outcome in range(2**n):
        bits = [float(outcome >> i & 1) for i in range(n)]
        chance = np.prod([rate if bit else 1 - rate for bit in bits])
        new = {Process.NOTICE: units(*bits)}
        grown = advance(null, State(), window(0, 900), new, budget=ONE)
        total += chance * np.exp(grown.increments[Process.NOTICE][:, 0])
    assert (total <= 1 + 1e-12).all()


def test_time_is_what_the_budget_buys() -> None:
    # 1 window of 4 checks and 4 windows of 1 check start the same weight
    null = rate_null()
    once = step(null, State(), window(0, 3600), units())
    state = State()
    for i in range(4):
        state = step(null, state, window(900 * i, 900 * (i + 1)), units())
    assert state.log_m[Process.NOTICE] == pytest.approx(once.log_m[Process.NOTICE])


def test_a_gap_between_windows_counts_as_time() -> None:
    null = rate_null()
    state = step(null, State(watermark=0.0), window(2700, 3600), units())
    assert state.log_m[Process.NOTICE] == pytest.approx(np.log(3600 / HORIZON_SECONDS))


def test_time_alone_never_alarms() -> None:
    null, state = rate_null(), State()
    for month in range(5):
        at = window(month * HORIZON_SECONDS, (month + 1) * HORIZON_SECONDS)
        taken = advance(null, state, at, {Process.NOTICE: units()}, budget=ONE)
        assert taken.evidence[Process.NOTICE] < 0.0
        state = taken.state


def test_an_alarm_starts_the_process_afresh() -> None:
    null = rate_null()
    taken = advance(null, State(), window(0, 900), {Process.NOTICE: units(*[1] * 9)}, budget=ONE)
    assert taken.evidence[Process.NOTICE] >= 0.0
    assert taken.winner == "s0:rate"
    assert np.isneginf(taken.state.log_m[Process.NOTICE]).all()
    assert taken.state.units == 0


def test_the_same_window_again_changes_nothing() -> None:
    null = rate_null()
    new = {Process.NOTICE: units(1.0)}
    first = advance(null, State(), window(0, 900), new, budget=ONE)
    again = advance(null, first.state, window(0, 900), new, budget=ONE)
    assert again.refused
    assert again.state is first.state
    assert again.evidence == first.evidence
    assert again.increments == {}


def test_a_late_window_is_refused() -> None:
    null = rate_null()
    state = step(null, State(), window(900, 1800), units(0.0))
    late = {Process.NOTICE: units(1.0)}
    assert advance(null, state, window(1700, 2600), late, budget=ONE).state is state


def test_without_a_budget_there_is_no_evidence() -> None:
    taken = advance(
        rate_null(),
        State(),
        window(0, 900),
        {Process.NOTICE: units(*[1.0] * 50)},
        budget=Budget(notice=0.0, page=0.0),
    )
    assert taken.evidence[Process.NOTICE] == -np.inf
    assert taken.winner is None


def test_half_the_budget_is_log10_of_two_less_evidence() -> None:
    null, new = rate_null(), {Process.NOTICE: units(1.0, 0.0)}
    full = advance(null, State(), window(0, 900), new, budget=ONE)
    half = advance(null, State(), window(0, 900), new, budget=Budget(notice=0.5, page=0.5))
    lost = full.evidence[Process.NOTICE] - half.evidence[Process.NOTICE]
    assert lost == pytest.approx(np.log10(2))


def test_a_missing_score_neither_adds_nor_removes() -> None:
    null = rate_null(scores=2)
    scores = np.array([[1.0, np.nan]])
    new = {Process.NOTICE: Units(at=np.zeros(1), scores=scores)}
    grown = advance(null, State(), window(0, 900), new, budget=ONE).increments[Process.NOTICE]
    assert (grown[:, 1] == 0.0).all()
    assert (grown[:, 0] > 0.0).all()


def test_a_design_effect_of_two_halves_the_increment_where_the_bound_is_the_null_mean() -> None:
    new = {Process.NOTICE: units(1.0)}
    tight: dict[str, Any] = {"upper": np.array([0.015])}  # m0 = .01 + .005: no slack
    single = advance(replace(rate_null(), **tight), State(), window(0, 900), new, budget=ONE)
    double = advance(
        replace(rate_null(deff=2.0), **tight), State(), window(0, 900), new, budget=ONE
    )
    assert double.increments[Process.NOTICE] == pytest.approx(single.increments[Process.NOTICE] / 2)


def test_slack_pays_for_common_movement_before_the_evidence_does() -> None:
    # by hand: slack .015 - .01 and lam = g / sd with sd² = .01 (1 - .01), so the divisor is
    # 4 / (1 + .01 / (g .0995)): 1.33 for g = .05, 3.55 for g = .8
    shrunk = bet_terms(rate_null(deff=4.0), Process.NOTICE).divisors[:, 0]
    assert shrunk[0] == pytest.approx(4.0 / (1.0 + 0.01 / (0.05 * np.sqrt(0.0099))), rel=1e-9)
    assert (np.diff(shrunk) > 0.0).all()
    assert (bet_terms(rate_null(deff=1.0), Process.NOTICE).divisors == 1.0).all()


@given(st.floats(1.0, 20.0), st.sampled_from(FRACTIONS.tolist()), st.sampled_from(Process))
def test_a_block_that_moves_together_does_not_grow_on_average(
    deff: float, fraction: float, process: Process
) -> None:
    # the claim behind the divisor, with its constants: E exp over delta ~ N(0, sd² (deff - 1) / n)
    null = rate_null(0.1, deff=deff)
    row = FRACTIONS.tolist().index(fraction)
    terms = bet_terms(null, process)
    lam, shrink = terms.stakes[row, 0], terms.divisors[row, 0]
    variance, slack = 0.09, null_mean(null, process)[0] - 0.1
    per_unit = (
        -lam * slack / shrink
        - (shrink - 1.0) * lam**2 * variance / (2.0 * shrink**2)
        + (deff - 1.0) * lam**2 * variance / (2.0 * shrink**2)
    )
    assert per_unit <= 1e-12


def test_factors_multiply_as_their_logarithms_add(rng: np.random.Generator) -> None:
    null = rate_null(0.3, scores=3)
    scores = rng.random((1_037, 3))
    scores[5, 1] = np.nan
    sizes = np.array([0, 1, 100, 101, 0, 835])
    grown = window_increments(null, Process.PAGE, scores, sizes=sizes)
    bets, m0 = bet_terms(null, Process.PAGE).stakes, null_mean(null, Process.PAGE)
    plain = [
        np.stack([np.nansum(np.log1p(bet * (part - m0)), axis=0) for bet in bets])
        for part in np.split(scores, np.cumsum(sizes)[:-1])
    ]
    assert grown == pytest.approx(np.stack(plain), rel=1e-10, abs=1e-12)
    alone = window_increments(null, Process.PAGE, scores[-835:], sizes=np.array([835]))
    np.testing.assert_array_equal(alone[0], grown[-1])


def test_a_state_of_another_reference_is_refused() -> None:
    state = State(log_m={Process.NOTICE: np.zeros((5, 3))}, watermark=0.0)
    with pytest.raises(StateMismatch, match="start afresh"):
        step(rate_null(), state, window(0, 900), units())


def test_pages_tolerate_more_than_notices() -> None:
    null = rate_null(0.2)
    assert null_mean(null, Process.NOTICE) == pytest.approx(0.25)
    assert null_mean(null, Process.PAGE) == pytest.approx(0.3)


def test_no_bet_can_lose_more_than_nine_tenths() -> None:
    for rate in (0.0, 0.01, 0.5, 0.97, 1.0):
        null = rate_null(rate)
        for process in Process:
            terms = bet_terms(null, process)
            assert (1 - terms.stakes * terms.null_mean >= 0.1 - 1e-12).all()


@pytest.mark.parametrize("weights", [equal_weights(7), np.array([0.5, 0.2, *[0.06] * 5])])
def test_evidence_is_zero_at_the_line(weights: Floats) -> None:
    null = rate_null(scores=7, weights=weights)
    assert evidence_of(null, np.zeros((5, 7))) == pytest.approx(0.0)
    assert evidence_of(null, np.full((5, 7), -np.inf)) == -np.inf


def test_a_score_counts_by_its_part_of_the_capital() -> None:
    # by hand: one of two scores holds 3/4; e^9 in all its bets is .75 e^9 of the whole
    null = rate_null(scores=2, weights=np.array([0.75, 0.25]))
    log_m = np.full((5, 2), -np.inf)
    log_m[:, 0] = 9.0
    assert evidence_of(null, log_m) == pytest.approx((9.0 + np.log(0.75)) / np.log(10.0))


@given(st.floats(0.0, 0.015), st.integers(1, 4), st.floats(0.0, 1.0))
def test_no_weights_let_the_capital_grow_on_average_under_the_null(
    rate: float, n: int, first: float
) -> None:
    # exact expectation over all 2^n outcomes of two scores that fail together
    null = rate_null(scores=2, weights=np.array([first, 1.0 - first]))
    capital = 0.0
    for outcome in range(2**n):
        hits = np.array([[outcome >> i & 1] * 2 for i in range(n)], dtype=float)
        grown = window_increments(null, Process.NOTICE, hits, sizes=np.array([n]))[0]
        chance = rate ** hits[:, 0].sum() * (1.0 - rate) ** (n - hits[:, 0].sum())
        capital += chance * float((np.exp(grown) @ null.weights).mean())
    assert capital <= 1.0 + 1e-9


def history(*sums: float) -> Floats:
    return np.array(sums)[:, None, None] * np.array([1.0, 0.5])[None, :, None]


def test_onset_is_where_the_rise_began() -> None:
    found = onset(np.arange(7.0), history(-1, -1, -1, 5, 5, 5, 5), 0)
    assert found is not None
    assert (found.at, found.nats) == (3.0, 20.0)
    # starts within 2 nats: 3 itself, 2 (19) and 1 (18)
    assert (found.earliest, found.latest) == (1.0, 3.0)


def test_empty_windows_before_the_rise_are_not_part_of_it() -> None:
    found = onset(np.arange(4.0), history(0, 0, 5, 5), 0)
    assert found is not None
    assert found.at == 2.0


def test_without_history_there_is_no_onset() -> None:
    assert onset(np.array([]), np.zeros((0, 5, 7)), 0) is None


def test_recovery_sums_every_bet() -> None:
    assert recovery_sums(history(-1, -3, 1), 0).tolist() == [-3.0, -1.5]

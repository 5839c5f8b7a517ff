"""What probes may take of an engine's time: two purses, and what an engine is charged for."""

from collections.abc import Sequence
from copy import copy

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.probes.share import (
    RESERVED,
    SAVED,
    SLACK,
    EngineAllowance,
    EnginePace,
    Purpose,
)

WAITED_FOR = [purpose for purpose in Purpose if purpose is not Purpose.ROUTINE]

PROBES = st.lists(
    st.tuples(st.sampled_from(Purpose), st.floats(0.0, 5_000.0), st.floats(0.1, 500.0)),
    max_size=60,
)
Probe = tuple[Purpose, float, float]


def played(share: float, probes: Sequence[Probe]) -> list[tuple[float, Purpose, float, bool]]:
    """When each probe came, what it took, and whether it was let in."""
    allowance, at, found = EngineAllowance(share=share, at=0.0), 0.0, []
    for purpose, wait, seconds in probes:
        at += wait
        begins = allowance.wait(purpose, at) == 0
        if begins:
            allowance.spend(purpose, seconds)
        found.append((at, purpose, seconds, begins))
    return found


@pytest.mark.parametrize("purpose", Purpose)
def test_routine_alone_has_only_its_own_purse(purpose: Purpose) -> None:
    allowance = EngineAllowance(share=0.1, at=0.0)
    half = SAVED * 0.1 * RESERVED
    allowance.spend(purpose, half)
    left = (half, 0.0) if purpose is Purpose.ROUTINE else (0.0, half)
    assert (allowance.reserve, allowance.routine) == pytest.approx(left)


@given(st.floats(0.01, 1.0), PROBES)
def test_what_routine_has_spent_refuses_nobody_else(share: float, probes: list[Probe]) -> None:
    with_routine = [one for one in played(share, probes) if one[1] is not Purpose.ROUTINE]
    # routine that takes nothing leaves the times as they are
    idle = [(p, wait, 0.0 if p is Purpose.ROUTINE else s) for p, wait, s in probes]
    without = [one for one in played(share, idle) if one[1] is not Purpose.ROUTINE]
    assert [begins for *_, begins in with_routine] == [begins for *_, begins in without]


@given(st.floats(0.01, 1.0), PROBES, st.sampled_from(WAITED_FOR))
def test_a_first_suspicion_is_never_refused(
    share: float, probes: list[Probe], purpose: Purpose
) -> None:
    routine = [(Purpose.ROUTINE, wait, seconds) for _, wait, seconds in probes]
    assert played(share, [*routine, (purpose, 0.0, 1.0)])[-1][-1]


@given(st.floats(0.01, 1.0), PROBES)
def test_all_together_keep_to_the_share_over_any_stretch(share: float, probes: list[Probe]) -> None:
    begun = [
        (at, purpose, seconds) for at, purpose, seconds, begins in played(share, probes) if begins
    ]
    end = sum(wait for _, wait, _ in probes)
    last = sum(
        max((s for _, p, s in begun if (p is Purpose.ROUTINE) is routine), default=0.0)
        for routine in (True, False)
    )
    assert sum(seconds for *_, seconds in begun) <= share * (SAVED + end) + last + 1e-6


@given(st.floats(0.01, 1.0), PROBES, st.sampled_from(Purpose))
def test_a_probe_that_waits_as_long_as_it_is_told_may_begin(
    share: float, probes: list[Probe], purpose: Purpose
) -> None:
    allowance, at = EngineAllowance(share=share, at=0.0), 0.0
    for asked, wait, seconds in probes:
        at += wait
        if allowance.wait(asked, at) == 0:
            allowance.spend(asked, seconds)
    wait = allowance.wait(purpose, at)
    if wait > 2.0:
        assert copy(allowance).wait(purpose, at + wait - 2.0) > 0
    assert allowance.wait(purpose, at + wait) == 0


def test_the_reserve_fills_first() -> None:
    allowance = EngineAllowance(share=0.1, at=0.0)
    half = SAVED * 0.1 * RESERVED
    allowance.spend(Purpose.SUSPICION, half)
    allowance.spend(Purpose.ROUTINE, half)
    allowance.refill(half / 0.1)
    assert [allowance.reserve, allowance.routine] == pytest.approx([half, 0.0])


# --- the engine's own time -------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0.001, 60.0), st.integers(0, 100_000)), max_size=50))
def test_nothing_is_charged_more_than_it_took(answers: list[tuple[float, int]]) -> None:
    pace, at = EnginePace(), 0.0
    for seconds, size in answers:
        at += seconds
        assert 0 < pace.cost(seconds, size, at=at) <= seconds


@given(st.lists(st.floats(0.9, 1.1), min_size=2, max_size=50))
def test_an_engine_with_time_is_charged_all_of_it(noise: list[float]) -> None:
    pace = EnginePace()
    for at, factor in enumerate(noise):
        assert pace.cost(0.05 * factor, 400, at=float(at)) == 0.05 * factor


@given(st.lists(st.floats(1.0, 600.0), min_size=1, max_size=50))
def test_a_machine_without_time_is_no_work_of_the_engine(factors: list[float]) -> None:
    pace = EnginePace()
    pace.cost(0.05, 400, at=0.0)
    for at, factor in enumerate(factors, start=1):
        charged = pace.cost(0.05 * factor, 400, at=float(at))
        assert charged == pytest.approx(0.05 * min(factor, SLACK))


def test_an_engine_that_became_slower_is_charged_so_after_two_hours() -> None:
    pace = EnginePace()
    pace.cost(0.05, 400, at=0.0)
    charged = [pace.cost(1.0, 400, at=60.0 * minute) for minute in range(1, 130)]
    assert charged[0] == pytest.approx(0.1)
    assert charged[-1] == 1.0

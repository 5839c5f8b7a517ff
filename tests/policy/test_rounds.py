"""How often routine can probe every version of an engine within its share."""

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import VersionId
from monitor.policy.rounds import LONGEST, PLANNED, ProbeCost, period_of, plan_rounds

HOUR = timedelta(hours=1)
WANTED = 6 * HOUR
SECOND = timedelta(seconds=1)


def measured(
    count: int, *, seconds: float, engine: str = "http://e1", first: int = 0
) -> list[ProbeCost]:
    return [
        ProbeCost(version_id=VersionId(first + number), engine=engine, seconds=seconds)
        for number in range(count)
    ]


def test_a_round_that_fits_is_made_as_often_as_wanted() -> None:
    (found,) = plan_rounds(measured(20, seconds=6.0), share=0.1, wanted=WANTED)
    assert (found.period, found.stretched) == (WANTED, False)
    assert str(found) == "perplexity of each of 20 versions on http://e1 every 6 h"


def test_two_hundred_adapters_on_one_engine_are_probed_less_often_and_that_is_said() -> None:
    (found,) = plan_rounds(measured(200, seconds=12.15), share=0.1, wanted=WANTED)
    assert found.period == pytest.approx(9 * HOUR, abs=SECOND)
    assert str(found) == (
        "perplexity of each of 200 versions on http://e1 every 9 h, in place of 6 h: a round takes"
        " 40 min of the engine's time, and probes may have 10% of it"
    )


def test_every_engine_has_a_round_of_its_own() -> None:
    slow = measured(200, seconds=12.15)
    quick = measured(3, seconds=12.15, engine="http://e2", first=1_000)
    rounds = plan_rounds([*quick, *slow], share=0.1, wanted=WANTED)
    assert [one.engine for one in rounds] == ["http://e1", "http://e2"]
    assert period_of(VersionId(7), rounds, wanted=WANTED) == pytest.approx(9 * HOUR, abs=SECOND)
    assert period_of(VersionId(1_001), rounds, wanted=WANTED) == WANTED
    assert period_of(VersionId(5_000), rounds, wanted=WANTED) == WANTED


@given(
    st.lists(st.floats(0.0, 600.0), min_size=1, max_size=300),
    st.floats(0.001, 1.0),
    st.floats(60.0, 86_400.0),
)
def test_a_round_fits_its_part_of_the_share_and_is_no_longer_than_it_must(
    costs: list[float], share: float, interval: float
) -> None:
    wanted = timedelta(seconds=interval)
    found = [
        ProbeCost(version_id=VersionId(number), engine="e", seconds=seconds)
        for number, seconds in enumerate(costs)
    ]
    (planned,) = plan_rounds(found, share=share, wanted=wanted)
    assert wanted <= planned.period <= max(wanted, LONGEST)
    may = PLANNED * share * planned.period.total_seconds()
    if planned.period < LONGEST:
        assert sum(costs) <= may * (1 + 1e-6) + 1e-6
    if planned.stretched:
        assert planned.period == LONGEST or sum(costs) == pytest.approx(may, rel=1e-3)

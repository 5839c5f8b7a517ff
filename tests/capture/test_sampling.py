from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.capture.sampling import choose_rate, keep, next_rate

DAY = timedelta(days=1)


def test_about_the_wanted_share_is_kept() -> None:
    kept = sum(keep("support", f"r{n}", 0.3) for n in range(10_000))
    # binomial(10,000, .3): 3,000 with standard deviation 46; five of them
    assert abs(kept - 3_000) < 230


@given(st.text(), st.floats(min_value=1e-6, max_value=1))
def test_what_is_kept_at_a_rate_is_kept_at_every_larger_one(name: str, rate: float) -> None:
    if keep("support", name, rate):
        assert keep("support", name, min(1.0, rate * 2))


def test_adapters_and_stages_decide_independently() -> None:
    ids = [f"r{n}" for n in range(10_000)]
    first = [keep("support", one, 0.5, stage="gateway") for one in ids]
    for second in (
        [keep("support", one, 0.5) for one in ids],
        [keep("travel", one, 0.5, stage="gateway") for one in ids],
    ):
        both = sum(a and b for a, b in zip(first, second, strict=True))
        # binomial(10,000, .25): 2,500 with standard deviation 43; five of them
        assert abs(both - 2_500) < 217


def test_everything_is_kept_at_one() -> None:
    assert all(keep("support", f"r{n}", 1.0) for n in range(100))


@pytest.mark.parametrize(
    ("seen", "elapsed", "expected"),
    [
        pytest.param(0, DAY, 1.0, id="no traffic: everything"),
        pytest.param(4_000, DAY, 1.0, id="just the target: everything"),
        pytest.param(40_000, DAY, 0.1, id="ten times the target: a tenth"),
        pytest.param(4_000, timedelta(hours=6), 0.25, id="4,000 in 6 h is 16,000 a day"),
        pytest.param(10, timedelta(0), 1.0, id="10 at once count as 10 in 5 min: 2,880 a day"),
    ],
)
def test_the_rate_leads_to_the_target(seen: int, elapsed: timedelta, expected: float) -> None:
    assert choose_rate(seen=seen, elapsed=elapsed, target_per_day=4_000) == pytest.approx(expected)


def test_small_changes_of_traffic_do_not_change_the_rate() -> None:
    assert next_rate(None, 0.3) == 0.3
    assert next_rate(0.3, 0.25) == 0.3
    assert next_rate(0.3, 0.1) == 0.1
    assert next_rate(0.1, 1.0) == 1.0

"""Where intervals are drawn: laws of the places, not pixels."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from monitor.web.intervals import (
    BAND_HEIGHT,
    BAND_WIDTH,
    MOST_POINTS,
    RACK_WIDTH,
    GuardLook,
    band,
    rack_place,
    rack_x,
)

START = datetime(2026, 11, 25, 12, tzinfo=UTC)
NUMBERS = st.floats(-50.0, 50.0)
MARGINS = st.floats(1e-3, 1.0)


def _looks(*bounds: tuple[float, float, float] | None) -> list[GuardLook]:
    return [
        GuardLook(at=START + timedelta(minutes=5 * i), lo=lo, value=value, hi=hi)
        for i, (lo, value, hi) in enumerate(one or (None, None, None) for one in bounds)
    ]


@given(st.tuples(NUMBERS, NUMBERS, NUMBERS).map(sorted), MARGINS)
def test_the_rack_keeps_the_order_and_one_line_is_every_margin(
    ends: list[float], margin: float
) -> None:
    lo, value, hi = ends
    place = rack_place(lo=lo, value=value, hi=hi, bar=margin, margin=margin)
    assert 0.0 <= place.lo <= place.value <= place.hi <= RACK_WIDTH
    assert place.bar == rack_x(1.0)
    assert place.cut_low == (lo < -2 * margin)
    assert place.cut_high == (hi > 3 * margin)


@given(
    st.lists(st.tuples(NUMBERS, NUMBERS, NUMBERS).map(sorted), min_size=1, max_size=400), MARGINS
)
def test_a_band_stays_in_its_frame_and_ends_with_the_last_look(
    bounds: list[list[float]], margin: float
) -> None:
    looks = _looks(*[(lo, value, hi) for lo, value, hi in bounds])
    drawn = band(looks, margin=margin, bar=0.0, since=START, until=looks[-1].at)
    (stretch,) = drawn.stretches
    points = [tuple(map(float, one.split(","))) for one in stretch.band.split()]
    assert len(points) <= 2 * MOST_POINTS
    assert all(0.0 <= x <= BAND_WIDTH and 0.0 <= y <= BAND_HEIGHT for x, y in points)
    assert drawn.now is not None
    x, lo, value, hi = drawn.now
    assert (x, True) == (BAND_WIDTH if len(looks) > 1 else 0.0, hi <= value <= lo)
    assert drawn.margin < drawn.zero == drawn.bar  # worse is up


def test_looks_that_measured_nothing_leave_a_gap_and_steps_are_marked() -> None:
    looks = _looks((-0.4, 0.0, 0.4), None, (-0.1, 0.0, 0.1), (-0.04, 0.0, 0.04))
    steps = [START, START + timedelta(minutes=10)]
    until = START + timedelta(minutes=20)
    drawn = band(looks, margin=0.05, bar=0.05, since=START, until=until, steps=steps)
    assert len(drawn.stretches) == 2
    assert drawn.steps == [BAND_WIDTH / 2]  # the first began with the picture
    assert drawn.reach == 0.05 * 2.2  # 1.1 of the later half's widest bound
    blind = band(looks[:2], margin=0.05, bar=0.05, since=START, until=until)
    assert blind.now is None
    assert band([], margin=0.05, bar=0.05, since=START, until=until).stretches == []

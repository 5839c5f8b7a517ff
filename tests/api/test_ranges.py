"""The range of time that an address asks for."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.api.ranges import AGES, LONGEST, RangeRefused, TimeRange, read_range

NOW = datetime(2026, 11, 28, 14, 30, tzinfo=UTC)


def asked(since: str = "", until: str = "") -> TimeRange:
    return read_range(since, until, usual="24h", now=NOW)


def test_nothing_asked_is_the_usual_range_up_to_now() -> None:
    found = asked()
    assert (found.shown.start, found.shown.end) == (NOW - timedelta(days=1), NOW)
    assert (found.age, found.query) == ("24h", "from=24h")


@pytest.mark.parametrize("age", AGES)
def test_a_button_asks_for_its_own_range_again(age: str) -> None:
    assert asked(age).query == f"from={age}"


def test_times_are_utc_and_may_name_another_zone() -> None:
    found = asked("2026-11-25T12:00", "2026-11-25T15:30+02:00")
    assert found.shown.end - found.shown.start == timedelta(hours=1, minutes=30)
    assert found.query == "from=2026-11-25T12:00&to=2026-11-25T13:30"


@pytest.mark.parametrize(
    ("since", "until", "why"),
    [
        ("nonsense", "", "“from” is not a time: write it in UTC as 2026-11-28T14:30"),
        ("24h", "tomorrow", "“to” is not a time"),
        ("99999d", "", "90 days at most"),
        ("0001-01-01T00:00", "", "90 days at most"),
        ("0001-01-01T00:00+10:00", "", "“from” is not a time"),
        ("1h", "2h", "The range begins at 2026-11-28 13:30 UTC, which is not before its end"),
        ("2026-11-28T14:00", "2026-11-28T14:00:10", "a minute at least"),
        ("2027-01-01", "", "not before its end"),
    ],
)
def test_what_makes_no_sense_is_refused_in_a_sentence(since: str, until: str, why: str) -> None:
    with pytest.raises(RangeRefused) as refused:
        asked(since, until)
    assert why in str(refused.value)
    assert str(refused.value).endswith(".")


@given(st.integers(10, 80_000), st.integers(4, int(LONGEST.total_seconds() / 120)))
def test_zooming_in_and_out_again_shows_the_same(ago: int, minutes: int) -> None:
    start = NOW.replace(second=0) - timedelta(minutes=ago)
    end = start + timedelta(minutes=4 * (minutes // 4))
    first = asked(f"{start:%Y-%m-%dT%H:%M}", f"{end:%Y-%m-%dT%H:%M}")
    inner = asked(*_parts(first.zooms["Zoom in"]))
    assert asked(*_parts(inner.zooms["Zoom out"])).shown == first.shown
    later = asked(*_parts(first.zooms["Later"]))
    assert later.shown.end - later.shown.start == end - start


def _parts(query: str) -> list[str]:
    return [part.partition("=")[2] for part in query.split("&")]

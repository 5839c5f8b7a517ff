"""Lines that follow each other and say the same stand together."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from monitor.domain import ArmKind
from monitor.views.incident import MomentBody
from monitor.views.route import RouteChange
from monitor.web.incident_pages import repeats
from monitor.web.traffic import together

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def moment(hours: int, text: str, *, bad: bool = False) -> MomentBody:
    return MomentBody(at=NOW + hours * HOUR, kind="told", text=text, bad=bad)


def test_a_timeline_counts_what_was_told_again() -> None:
    told = [moment(0, "told"), moment(1, "told"), moment(2, "told", bad=True), moment(3, "told")]
    found = [(one.times, one.first.at, one.last.at) for one in repeats(told)]
    hours = [NOW + n * HOUR for n in range(4)]
    assert found == [(2, hours[0], hours[1]), (1, hours[2], hours[2]), (1, hours[3], hours[3])]


def change(generation: int, reason: str) -> RouteChange:
    return RouteChange(
        adapter="support", generation=generation, arms=(), reason=reason, by="ann",
        since=NOW + generation * HOUR, valid_until=None, on_expiry=ArmKind.STABLE,
    )  # fmt: skip


def test_generations_that_changed_nothing_are_one_line() -> None:
    third, second, first = (change(number, "by hand") for number in (3, 2, 1))
    [line] = together([(third, None), (second, third.since), (first, second.since)])
    assert (line.first, line.newest, line.until) == (first, third, None)
    other = replace(second, reason="the sale is over")
    lines = together([(third, None), (other, third.since), (first, other.since)])
    assert [one.until for one in lines] == [None, third.since, other.since]

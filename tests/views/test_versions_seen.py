"""The budget of a version in one row: its weakest check, and which are blind, and why."""

from dataclasses import replace

from monitor.views.budget import DelayBody, DelaysBody, ShareBody
from monitor.views.versions_seen import by_version

SEES = ShareBody(
    adapter="support",
    version="v1",
    tier="standard",
    detector="errors",
    title="errors",
    pages_per_30_days=0.25,
    notices_per_30_days=0.5,
    requests_per_day=800.0,
    minimum_detectable=0.1,
    delays={},
    blind=None,
    only_tickets=None,
    uncompared=None,
    day_effect=None,
)


def seen_after(drift: str, hours: float | None, *, page: float | None = 99.0) -> ShareBody:
    delays = DelaysBody(
        notice=DelayBody(hours=hours, requests=None), page=DelayBody(hours=page, requests=None)
    )
    return replace(SEES, title=drift, delays={drift: delays}, only_tickets="the baseline is young")


def blind(why: str) -> ShareBody:
    return replace(SEES, blind=why, pages_per_30_days=0.0)


def test_the_slowest_check_is_the_weakest_by_what_it_opens() -> None:
    quick = seen_after("bad_requests", 2.0)
    slow = seen_after("one_sd", 7.5)
    [one] = by_version([quick, slow])
    assert one.weakest is not None
    assert (one.weakest.title, one.weakest.hours) == ("one_sd", 7.5)
    assert one.weakest.drift == "a shift of one standard deviation"
    [one] = by_version([quick, replace(quick, only_tickets=None)])
    assert one.weakest is not None
    assert one.weakest.hours == 99.0
    [never] = by_version([seen_after("half_sd", None)])
    assert never.weakest is not None
    assert never.weakest.hours == float("inf")
    [nothing] = by_version([SEES])
    assert nothing.weakest is None


def test_blind_checks_are_counted_by_reason_and_stand_first() -> None:
    young = "nothing came in a day"
    lines = [
        replace(SEES, adapter="calm"),
        SEES,
        blind("the baseline never measured any of: entropy, margin"),
        blind("the baseline never measured any of: ttft_ms"),
        blind(young),
    ]
    first, last = by_version(lines)
    assert (first.name, last.name) == ("support@v1", "calm@v1")
    assert (first.pages, first.tickets) == (0.25, 2.0)
    assert {why: first.how_many(some) for why, some in first.blind.items()} == {
        "the baseline never measured what they look at": "2 of 4 checks are blind",
        young: "1 of 4 checks is blind",
    }
    [unlearned] = by_version([replace(blind("it has no reference"), detector="all detectors")])
    [some] = unlearned.blind.values()
    assert unlearned.how_many(some) == "every check is blind"

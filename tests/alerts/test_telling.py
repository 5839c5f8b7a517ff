"""Who is told what now: the six reasons, the waits, and what is never told."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from types import MappingProxyType

import pytest

from alerts.incident import Condition
from alerts.matching import parse_matcher
from alerts.silences import Silence
from alerts.telling import AT_ONCE, Manner, Matter, Telling, Told, group_of, news
from alerts.types import Blame, Kind, Reason, Severity, Status
from tests.alert_samples import an_alert
from tests.telling_world import BEGIN, World

TICKET, PAGE, CLEAR = Condition.TICKET, Condition.PAGE, Condition.CLEAR
SECOND, MINUTE, HOUR = timedelta(seconds=1), timedelta(minutes=1), timedelta(hours=1)
TOGETHER = Manner(
    wait=30 * SECOND,
    interval=5 * MINUTE,
    together=True,
    repeat=MappingProxyType({Severity.PAGE: 4 * HOUR, Severity.TICKET: 24 * HOUR}),
)

Event = Callable[[World], None]


def seen(condition: Condition, *adapters: str) -> Event:
    def event(world: World) -> None:
        for adapter in adapters:
            world.observe(adapter, condition)

    return event


def play(manner: Manner, *script: tuple[float, Event], until: timedelta = 6 * MINUTE) -> World:
    """Let events happen at their seconds; look every second, a minute apart when long."""
    world = World(manners={"desk": manner})
    events = list(script)
    step = SECOND if until <= HOUR else 10 * SECOND
    while world.now <= BEGIN + until:
        while events and world.now >= BEGIN + timedelta(seconds=events[0][0]):
            events.pop(0)[1](world)
        world.tick()
        world.now += step
    return world


def story(world: World) -> list[tuple[float, Reason, set[str]]]:
    return [
        ((one.at - BEGIN).total_seconds(), one.reason, {alert.adapter for alert in one.alerts})
        for one in world.sent
    ]


FIRST, NEW, REPEAT = Reason.FIRST, Reason.NEW_ALERTS, Reason.REPEAT


@pytest.mark.parametrize(
    ("script", "told"),
    [
        ([(0, seen(TICKET, "a"))], [(30, FIRST, {"a"})]),
        ([(0, seen(TICKET, "a")), (20, seen(TICKET, "b"))], [(30, FIRST, {"a", "b"})]),
        (
            [(0, seen(TICKET, "a")), (40, seen(TICKET, "b")), (50, seen(TICKET, "c"))],
            [(30, FIRST, {"a"}), (330, NEW, {"b", "c"})],
        ),
        (
            [(0, seen(TICKET, "a", "b")), (60, seen(CLEAR, "a"))],
            [(30, FIRST, {"a", "b"}), (330, Reason.NEW_RESOLVED, {"a"})],
        ),
        (
            [(0, seen(TICKET, "a", "b")), (60, seen(CLEAR, "a", "b"))],
            [(30, FIRST, {"a", "b"}), (330, Reason.ALL_RESOLVED, {"a", "b"})],
        ),
        ([(0, seen(TICKET, "a")), (29, seen(CLEAR, "a"))], []),
        (
            [(0, seen(TICKET, "a")), (60, seen(CLEAR, "a")), (120, seen(TICKET, "a"))],
            [(30, FIRST, {"a"})],
        ),
        ([(0, seen(TICKET, "a")), (60, seen(TICKET, "a"))], [(30, FIRST, {"a"})]),
    ],
    ids=[
        "first",
        "what comes within the wait comes along",
        "new in the group, after the interval",
        "one of two is over",
        "all are over",
        "fired and gone",
        "gone and back",
        "nothing new",
    ],
)
def test_why_a_group_is_told(
    script: list[tuple[float, Event]], told: list[tuple[float, Reason, set[str]]]
) -> None:
    assert story(play(TOGETHER, *script)) == told


LATER = Manner(unacknowledged_for=15 * MINUTE)


def test_a_channel_for_what_nobody_acknowledges_hears_of_it_after_its_time() -> None:
    world = play(LATER, (60, seen(PAGE, "a")), (1_200, seen(CLEAR, "a")), until=HOUR)
    assert story(world) == [
        (960, Reason.NOT_ACKNOWLEDGED, {"a"}),
        (1_200, Reason.ALL_RESOLVED, {"a"}),
    ]


def test_what_is_acknowledged_or_over_in_time_does_not_reach_it() -> None:
    def taken(world: World) -> None:
        world.acknowledge("a", lasts=2 * HOUR)

    script = (0, seen(PAGE, "a", "b")), (300, taken), (600, seen(CLEAR, "b"))
    assert story(play(LATER, *script, until=HOUR)) == []


def test_it_is_called_when_an_acknowledgement_ends_and_the_incident_goes_on() -> None:
    def taken(world: World) -> None:
        world.acknowledge("a", lasts=30 * MINUTE)

    world = play(LATER, (0, seen(PAGE, "a")), (300, taken), until=HOUR)
    assert story(world) == [(2_100, Reason.NOT_ACKNOWLEDGED, {"a"})]


def test_its_time_counts_from_when_the_first_channel_was_told_and_not_in_a_silence() -> None:
    first = Manner(wait=30 * SECOND)
    hour = Silence(
        id=1,
        matcher=parse_matcher({"adapter": "a"}),
        starts_at=BEGIN,
        ends_at=BEGIN + HOUR,
        author="ann",
        comment="an upgrade",
    )
    for manners in ({"a": first, "b": LATER}, {"b": LATER, "a": first}):
        world = World(manners=manners, silences=[hour])
        while world.now <= BEGIN + 2 * HOUR:
            if world.now == BEGIN + 5 * MINUTE:
                world.observe("a", PAGE)
            if world.now == BEGIN + 110 * MINUTE:
                world.observe("b", PAGE)
            world.tick()
            world.now += 30 * SECOND
        assert [((one.at - BEGIN) / MINUTE, one.channel) for one in world.sent] == [
            (60, "a"),
            (75, "b"),
            (110.5, "a"),
        ]


def test_a_page_joins_its_group_without_waiting_for_the_interval() -> None:
    world = play(TOGETHER, (0, seen(TICKET, "a", "b")), (60, seen(PAGE, "b")))
    assert story(world) == [(30, FIRST, {"a", "b"}), (90, NEW, {"b"})]
    assert world.sent[-1].alerts[0].status is Status.WORSENED


def test_what_a_receiver_knows_as_a_ticket_ends_as_one_and_worsens_when_it_is_back_as_a_page() -> (
    None
):
    known = Matter(
        incident=1,
        group="g",
        told=Told.by(an_alert(severity=Severity.TICKET), at=BEGIN),
        since=BEGIN,
        called=BEGIN,
    )
    over, back = (
        an_alert(
            status=Status.RECOVERED, severity=Severity.PAGE, blame=Blame.UNKNOWN, owner="others"
        ),
        an_alert(status=Status.REOPENED, severity=Severity.PAGE),
    )
    ended = news(replace(known, held=(over,)))
    assert ended is not None
    assert (ended.status, ended.severity) == (Status.RECOVERED, Severity.TICKET)
    assert (ended.blame, ended.owner) == (Blame.ADAPTER, "search")  # as it was told
    worse = news(replace(known, held=(over, back)))
    assert worse is not None
    assert (worse.status, worse.severity) == (Status.WORSENED, Severity.PAGE)
    same = replace(back, severity=Severity.TICKET)
    assert news(replace(known, held=(over, same))) is None


def test_the_most_urgent_is_named_first_and_ends_last() -> None:
    def mixed(world: World) -> None:
        world.observe("a", CLEAR)
        world.observe("c", PAGE)
        world.observe("b", TICKET)

    world = play(TOGETHER, (0, seen(TICKET, "a")), (40, mixed))
    assert [alert.adapter for alert in world.sent[-1].alerts] == ["c", "b", "a"]


def test_groups_are_told_apart_and_without_grouping_so_is_each_incident() -> None:
    owners = {"a": "search", "b": "billing"}
    for manner, messages in ((TOGETHER, 2), (Manner(wait=30 * SECOND), 3)):
        world = World(manners={"desk": manner}, owners=owners)
        for adapter in ("a", "b", "c"):
            world.observe(adapter, TICKET)
        world.now += 30 * SECOND
        world.tick()
        assert len(world.sent) == messages


def test_an_open_page_is_told_again_after_four_hours_and_a_ticket_after_a_day() -> None:
    def in_hand(world: World) -> None:
        world.acknowledge("a", lasts=6 * HOUR)

    hours = 26
    pages = play(TOGETHER, (0, seen(PAGE, "a")), (5 * 3600, in_hand), until=hours * HOUR)
    # 4 h after the first; in hand from 5 h to 11 h; then again
    assert [round(at / 3600) for at, *_ in story(pages)] == [0, 4, 11, 15, 19, 23]
    assert {reason for _, reason, _ in story(pages)[1:]} == {REPEAT}
    # a repeat is the same page: the receipt counts by these
    assert {(one.alerts[0].status, one.alerts[0].started_at) for one in pages.sent} == {
        (Status.STARTED, BEGIN)
    }
    tickets = play(TOGETHER, (0, seen(TICKET, "a")), until=hours * HOUR)
    assert [(round(at / 3600), reason) for at, reason, _ in story(tickets)] == [
        (0, FIRST),
        (24, REPEAT),
    ]


def test_a_page_is_news_to_whoever_had_the_ticket_in_hand() -> None:
    def in_hand(world: World) -> None:
        world.acknowledge("a", lasts=24 * HOUR)

    world = play(
        TOGETHER, (0, seen(TICKET, "a")), (60, in_hand), (120, seen(PAGE, "a")), until=9 * HOUR
    )
    assert [round(at / 60) for at, *_ in story(world)] == [0, 2, 242, 482]


def test_a_silence_keeps_what_is_open_and_lets_the_end_of_what_was_told_go() -> None:
    world = World(manners={"desk": AT_ONCE})
    world.silences = [
        Silence(
            id=1,
            matcher=parse_matcher({"adapter": ["open", "gone", "told"]}),
            starts_at=BEGIN + MINUTE,
            ends_at=BEGIN + HOUR,
            author="ann",
            comment="the load test",
        )
    ]
    world.observe("told", PAGE)
    world.tick()
    world.now += 2 * MINUTE
    for adapter in ("open", "gone"):
        world.observe(adapter, TICKET)
    world.observe("told", CLEAR)
    world.observe("open", PAGE)
    world.observe("gone", CLEAR)
    world.tick()
    world.observe("told", PAGE)  # and comes back: that is news, and waits
    world.tick()
    heard = [(one.alerts[0].adapter, one.alerts[0].status) for one in world.sent]
    assert heard == [("told", Status.STARTED), ("told", Status.RECOVERED)]
    world.now = BEGIN + HOUR
    world.tick()
    later = [(one.alerts[0].adapter, one.alerts[0].status) for one in world.sent[2:]]
    assert sorted(later) == [("open", Status.WORSENED), ("told", Status.REOPENED)]


def test_a_clock_that_is_put_back_makes_no_page_wait_for_it() -> None:
    world = World(manners={"desk": TOGETHER}, now=BEGIN + HOUR)
    world.observe("a", PAGE)
    world.now = BEGIN
    world.tick()
    assert [one.alerts[0].adapter for one in world.sent] == ["a"]


def test_missing_records_hold_back_what_is_no_more_urgent() -> None:
    world = World(manners={"desk": AT_ONCE})
    world.observe("a", TICKET, Kind.NO_DATA)
    world.observe("a", TICKET)
    world.observe("b", TICKET)
    world.tick()
    told = [(one.alerts[0].adapter, one.alerts[0].kind) for one in world.sent]
    assert told == [("a", Kind.NO_DATA), ("b", Kind.DRIFT)]
    world.observe("a", PAGE)  # a ticket about records never hides a page
    world.tick()
    assert world.sent[-1].alerts[0].severity is Severity.PAGE
    world.observe("c", TICKET, Kind.NO_DATA)
    world.observe("c", TICKET)
    world.tick()
    world.observe("c", CLEAR, Kind.NO_DATA)
    world.tick()
    assert [one.alerts[0].kind for one in world.sent if one.alerts[0].adapter == "c"] == [
        Kind.NO_DATA,
        Kind.NO_DATA,
        Kind.DRIFT,
    ]


HELD = 15 * MINUTE


def blamed(world: World, blame: Blame, *, condition: Condition = TICKET) -> None:
    """Two evaluations, a window apart, find this; then whoever is to hear it is told."""
    world.blames["a"] = blame
    for wait in (HELD, timedelta()):
        world.observe("a", condition)
        world.now += wait
    world.tick()


def heard(world: World) -> list[tuple[Status, Blame, str | None]]:
    return [
        (alert.status, alert.blame, alert.update.text if alert.update else None)
        for one in world.sent
        for alert in one.alerts
    ]


def test_what_has_held_is_told_once_under_the_blame_that_receivers_know() -> None:
    world = World(manners={"desk": AT_ONCE})
    blamed(world, Blame.SERVING)
    blamed(world, Blame.INPUT)
    blamed(world, Blame.INPUT)
    assert heard(world) == [
        (Status.STARTED, Blame.SERVING, None),
        (Status.UPDATED, Blame.INPUT, "likely cause was: serving, now: input"),
    ]
    assert [one.reason for one in world.sent] == [Reason.FIRST, Reason.UPDATED]
    assert world.sent[-1].alerts[0].known_as is Blame.SERVING
    world.observe("a", CLEAR)
    world.tick()
    end = world.sent[-1].alerts[0]
    assert (end.status, end.blame, end.known_as) == (Status.RECOVERED, Blame.INPUT, Blame.SERVING)


def test_a_silence_keeps_updates_back_and_its_end_tells_what_is_known_then() -> None:
    world = World(manners={"desk": AT_ONCE})
    blamed(world, Blame.SERVING)
    world.silences.append(
        Silence(
            id=1,
            matcher=parse_matcher({"adapter": "a"}),
            starts_at=world.now,
            ends_at=world.now + 24 * HOUR,
            author="ann",
            comment="load test",
        )
    )
    blamed(world, Blame.INPUT)
    blamed(world, Blame.ADAPTER)
    assert len(world.sent) == 1
    world.silences.clear()
    world.tick()
    assert heard(world)[1:] == [
        (Status.UPDATED, Blame.ADAPTER, "likely cause was: serving, now: adapter")
    ]


def test_what_went_back_while_it_was_silenced_is_not_told() -> None:
    world = World(manners={"desk": AT_ONCE})
    blamed(world, Blame.SERVING)
    world.silences.append(
        Silence(
            id=1,
            matcher=parse_matcher({}),
            starts_at=world.now,
            ends_at=world.now + 24 * HOUR,
            author="ann",
            comment="load test",
        )
    )
    blamed(world, Blame.INPUT)
    blamed(world, Blame.SERVING)
    world.silences.clear()
    world.tick()
    assert len(world.sent) == 1


def test_whoever_has_heard_nothing_yet_hears_of_a_beginning_by_what_is_known_now() -> None:
    world = World(manners={"desk": Manner(wait=HOUR)})
    blamed(world, Blame.SERVING)
    blamed(world, Blame.INPUT)
    world.now += HOUR
    world.tick()
    assert heard(world) == [(Status.STARTED, Blame.INPUT, None)]


def test_a_page_does_not_double_with_what_is_known_otherwise_of_it() -> None:
    world = World(manners={"desk": AT_ONCE})
    blamed(world, Blame.SERVING)
    world.blames["a"] = Blame.ADAPTER
    world.observe("a", PAGE)
    world.tick()
    blamed(world, Blame.ADAPTER, condition=PAGE)
    assert heard(world)[1:] == [
        (
            Status.WORSENED,
            Blame.ADAPTER,
            "severity was: ticket, now: page; likely cause was: serving, now: adapter",
        )
    ]


def test_an_update_of_a_page_waits_for_the_interval_as_it_calls_nobody() -> None:
    world = World(manners={"desk": TOGETHER})
    world.blames["a"] = Blame.SERVING
    world.observe("a", PAGE)
    world.now += 30 * SECOND
    world.tick()
    world.window = timedelta()
    world.blames["a"] = Blame.INPUT
    world.observe("a", PAGE)
    world.now += 4 * MINUTE
    world.tick()
    assert len(world.sent) == 1
    world.now += MINUTE
    world.tick()
    assert world.sent[-1].reason is Reason.UPDATED


def test_a_repeat_says_again_what_is_known_and_not_that_it_is_new() -> None:
    world = World(manners={"desk": replace(TOGETHER, wait=timedelta(), interval=timedelta())})
    blamed(world, Blame.SERVING)
    blamed(world, Blame.INPUT)
    world.now += 25 * HOUR
    world.tick()
    assert heard(world)[-1] == (Status.UPDATED, Blame.INPUT, None)
    assert world.sent[-1].reason is Reason.REPEAT


def test_what_goes_on_when_nobody_has_it_in_hand_any_more_lets_it_go() -> None:
    told = Told.by(an_alert(), at=BEGIN, taken=True)
    update = an_alert(status=Status.UPDATED, blame=Blame.INPUT)
    matter = Matter(incident=1, group="g", told=told, held=(update,), since=BEGIN, called=BEGIN)
    said = news(matter)
    assert said is not None
    telling = Telling(reason=Reason.UPDATED, news=((matter, said),))
    assert telling.reason_of(matter, said) is Reason.LET_GO
    in_hand = replace(matter, quiet=True)
    assert telling.reason_of(in_hand, said) is Reason.UPDATED


def test_a_group_is_named_by_the_facts_it_is_made_of() -> None:
    alert = an_alert(owner="search", tier="gold")
    assert group_of(alert, TOGETHER) == "owner=search blame=adapter"
    assert group_of(an_alert(owner=None), TOGETHER) == "owner= blame=adapter"
    assert group_of(alert, AT_ONCE) == alert.id

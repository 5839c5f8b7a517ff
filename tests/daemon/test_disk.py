"""A full disk is told by a way that needs no room, once to each who hears it."""

from dataclasses import dataclass, field

from alerts.delivery import DeliveryFailed
from alerts.matching import Matcher
from alerts.message import Alert
from alerts.types import Kind, Status
from monitor.daemon.disk import AGAIN, CALM, DiskPages
from monitor.outbox.channels import ConfiguredChannel


@dataclass
class Receiver:
    """A channel that refuses as often as it is told to."""

    refuses: int = 0
    taken: list[Alert] = field(default_factory=list)

    def deliver(self, alert: Alert, message_id: str) -> None:
        del message_id
        if self.refuses:
            self.refuses -= 1
            raise DeliveryFailed("it is away")
        self.taken.append(alert)


@dataclass
class World:
    first: Receiver = field(default_factory=Receiver)
    second: Receiver = field(default_factory=Receiver)
    matcher: Matcher = field(default_factory=Matcher)
    is_full: bool = False
    now: float = 0.0

    def __post_init__(self) -> None:
        self.pages = DiskPages(
            full=lambda: self.is_full,
            channels=[
                ConfiguredChannel(name="first", channel=self.first),  # type: ignore[arg-type]  # its `send` keeps alerts
                ConfiguredChannel(name="second", channel=self.second, matcher=self.matcher),  # type: ignore[arg-type]  # the same
            ],
            monotonic=lambda: self.now,
        )

    def go(self, *, full: bool, seconds: float = 2.0) -> None:
        self.is_full = full
        self.now += seconds
        self.pages.turn()


def test_each_channel_hears_of_it_once_and_of_its_end() -> None:
    world = World()
    for full in (False, True, True, True):
        world.go(full=full)
    for _ in range(2):
        world.go(full=False, seconds=CALM.total_seconds())
    for receiver in (world.first, world.second):
        assert [one.status for one in receiver.taken] == [Status.STARTED, Status.RECOVERED]
        started, over = receiver.taken
        assert started.id == over.id
        assert "disk-full" in started.reason


def test_a_channel_that_did_not_take_it_is_tried_again_and_the_other_is_not() -> None:
    world = World(first=Receiver(refuses=2))
    world.go(full=True)
    world.go(full=True)
    assert world.first.refuses == 1
    for _ in range(2):
        world.go(full=True, seconds=AGAIN.total_seconds())
    assert [len(one.taken) for one in (world.first, world.second)] == [1, 1]


def test_whoever_was_never_told_hears_no_end() -> None:
    world = World(first=Receiver(refuses=1))
    world.go(full=True)
    world.go(full=False, seconds=CALM.total_seconds())
    assert [len(one.taken) for one in (world.first, world.second)] == [0, 2]


def test_a_disk_that_refuses_once_a_minute_pages_once() -> None:
    """Half a minute without a refusal counts as room, and no more is tried meanwhile."""
    world = World()
    for _ in range(60):
        world.go(full=True, seconds=30.0)
        world.go(full=False, seconds=30.0)
    assert [one.status for one in world.first.taken] == [Status.STARTED]


def test_a_second_time_is_another_incident() -> None:
    world = World()
    for full in (True, False, True):
        world.go(full=full, seconds=CALM.total_seconds())
    assert len({one.id for one in world.first.taken}) == 2


def test_only_channels_for_such_pages_hear_it_where_there_are_some() -> None:
    world = World(matcher=Matcher(kind=frozenset({Kind.DRIFT.value})))
    world.go(full=True)
    assert [len(one.taken) for one in (world.first, world.second)] == [1, 0]

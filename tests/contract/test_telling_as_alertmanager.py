"""A real Alertmanager and we are told the same: who is told what, in which order, and why.

Both group by owner and blame, wait 1 s, then 3 s, and repeat after 9 s. The script goes on
when Alertmanager has told, and is then played to our rules at the same moments. Compared is
the news of each message (Alertmanager names all that fire, we what is new) and when it came.

Wanted differences, each shown here:

- it tells the end of what it never told to fire, once its group has been told of anything;
- a page of ours that joins a group does not wait for the interval;
- it repeats a group that was not told of anything for so long, since each of its messages
  names all that fire; we repeat an incident that was not named for so long.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts.channels import open_channel
from alerts.incident import Condition
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.telling import Manner
from alerts.types import Reason, Severity, Status
from tests.alert_samples import an_alert
from tests.loopback import LOOPBACK, Receiver
from tests.real_alertmanager import alertmanager, needs_alertmanager
from tests.telling_world import BEGIN, World

pytestmark = needs_alertmanager
PATIENCE = 30.0
WAIT, INTERVAL, REPEAT = 1.0, 3.0, 9.0
APART = 1.0
"""Seconds from a message to what happens next, so that both have sent it by then."""
CONFIG = """
global: {resolve_timeout: 1h}
route:
  receiver: hook
  group_by: [owner, blame]
  group_wait: 1s
  group_interval: 3s
  repeat_interval: 9s
receivers:
  - name: hook
    webhook_configs: [{url: "%s", send_resolved: true}]
"""
OURS = Manner(
    wait=timedelta(seconds=WAIT),
    interval=timedelta(seconds=INTERVAL),
    together=True,
    repeat={severity: timedelta(seconds=REPEAT) for severity in Severity},
)
OWNERS = {"flap": "billing"}
"""The others are of one owner, so of one group."""

News = tuple[str, frozenset[tuple[str, bool]]]
"""Whether it is a repeat, and whom it is new of: (adapter, whether it fires)."""


@dataclass
class Stage:
    """An Alertmanager, what was done to it, and what it said."""

    url: str
    hook: Receiver
    begun: float = field(default_factory=time.monotonic)
    done: list[tuple[float, str, bool]] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.channel = open_channel(
            "alertmanager", {"url": self.url}, client=OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
        )
        self.since: dict[str, datetime] = {}

    def say(self, adapter: str, *, firing: bool) -> None:
        now = datetime.now(tz=UTC)
        since = self.since.setdefault(adapter, now) if firing else self.since.pop(adapter)
        self.channel.deliver(
            an_alert(
                id=adapter,
                adapter=adapter,
                owner=OWNERS.get(adapter, "search"),
                severity=Severity.TICKET,
                status=Status.STARTED if firing else Status.RECOVERED,
                started_at=since,
                recovered_at=None if firing else now,
            ),
            "m",
        )
        self.done.append((time.monotonic() - self.begun, adapter, firing))

    def told(self) -> list[tuple[float, News]]:
        """What it said of the one group, as news."""
        found: list[tuple[float, News]] = []
        known: frozenset[str] = frozenset()
        for seen in list(self.hook.seen):
            body: dict[str, Any] = json.loads(seen.body)
            statuses = {one["labels"]["adapter"]: one["status"] for one in body["alerts"]}
            fires = frozenset(name for name, status in statuses.items() if status == "firing")
            new = {(name, True) for name in fires - known}
            new |= {(name, False) for name, status in statuses.items() if status == "resolved"}
            found.append((seen.at - self.begun, ("news" if new else "repeat", frozenset(new))))
            known = fires
        return found

    def until_told(self, messages: int) -> None:
        end = time.monotonic() + PATIENCE
        while len(self.hook.seen) < messages:
            assert time.monotonic() < end, self.told()
            threading.Event().wait(0.02)
        threading.Event().wait(APART)


@pytest.fixture
def stage(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    with alertmanager(tmp_path_factory.mktemp("am"), CONFIG) as (url, hook):
        yield Stage(url=url, hook=hook)


def ours(done: list[tuple[float, str, bool]], *, seconds: float) -> list[tuple[float, News]]:
    """Play the same events to our rules, looked at ten times a second."""
    world = World(manners={"hook": OURS}, owners=OWNERS)
    events = list(done)
    while world.now <= BEGIN + timedelta(seconds=seconds):
        while events and world.now >= BEGIN + timedelta(seconds=events[0][0]):
            _, adapter, firing = events.pop(0)
            world.observe(adapter, Condition.TICKET if firing else Condition.CLEAR)
        world.tick()
        world.now += timedelta(milliseconds=100)
    return [
        (
            (one.at - BEGIN).total_seconds(),
            ("repeat", frozenset())
            if one.reason is Reason.REPEAT
            else ("news", frozenset((alert.adapter, alert.firing) for alert in one.alerts)),
        )
        for one in world.sent
    ]


def test_the_same_script_is_told_alike(stage: Stage) -> None:
    say: Callable[..., None] = stage.say
    say("a", firing=True)
    say("flap", firing=True)
    say("b", firing=True)
    say("flap", firing=False)  # gone within the wait: never told, by nobody
    stage.until_told(1)
    say("c", firing=True)
    say("a", firing=True)  # nothing new
    stage.until_told(2)
    say("a", firing=False)
    stage.until_told(3)
    say("brief", firing=True)
    say("brief", firing=False)  # gone before its group is told: the first wanted difference
    stage.until_told(4)
    stage.until_told(5)  # nothing happens: the repeat
    say("b", firing=False)
    say("c", firing=False)
    stage.until_told(6)
    theirs = stage.told()
    mine = ours(stage.done, seconds=theirs[-1][0] + INTERVAL)

    expected = [
        {("a", True), ("b", True)},
        {("c", True)},
        {("a", False)},
        {("b", False), ("c", False)},
    ]
    assert [said for _, said in news(mine)] == expected
    told = news(theirs)
    assert told.pop(3)[1] == {("brief", False)}  # the end of what was never told
    assert [said for _, said in told] == expected
    for (at, _), (their_at, said) in zip(news(mine), told, strict=True):
        assert at == pytest.approx(their_at, abs=INTERVAL / 2), said
    # theirs counts from the message before, ours from the one that named it
    again = theirs.index(repeats(theirs)[0])
    assert theirs[again][0] - theirs[again - 1][0] >= REPEAT - 0.5
    assert repeats(mine)[0][0] - mine[0][0] == pytest.approx(REPEAT, abs=0.5)


def news(told: list[tuple[float, News]]) -> list[tuple[float, frozenset[tuple[str, bool]]]]:
    return [(at, said) for at, (kind, said) in told if kind == "news"]


def repeats(told: list[tuple[float, News]]) -> list[tuple[float, News]]:
    return [one for one in told if one[1][0] == "repeat"]

"""The carrier: what the table says reaches a router that must be told, and stays there."""

import base64
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import timedelta

import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import ArmKind
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.traffic import routes
from monitor.store.traffic.routes import Behind
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.carrying import LONGEST_PAUSE, Carrier
from monitor.traffic.routers.webhook import WebhookRouter, WebhookRouting
from tests.fleet import NOW, register
from tests.loopback import LOOPBACK
from tests.routed import Receiver, answering

SECRET = "whsec_" + base64.b64encode(b"between the two of them only").decode()
RESYNC = timedelta(minutes=1)


@dataclass
class World:
    """A table, a carrier and a receiver over a socket; time is told."""

    database: Database
    receiver: Receiver
    carrier: Carrier = field(init=False)
    now: float = 0.0

    def wait(self, seconds: float) -> bool:
        self.now += seconds
        return self.carrier.turn()

    def put(self, adapter: str = "support", version: str = "v7") -> None:
        with self.database.begin() as tx:
            current = routes.get(tx, adapter)
            table.put(
                tx,
                adapter,
                arms=[ArmRequest(arm=ArmKind.STABLE, version=version, weight=1.0)],
                expected_generation=current.generation if current else 0,
                reason="by hand",
                actor="ann",
                now=NOW,
            )

    def held(self) -> dict[str, tuple[int, str]]:
        return {
            name: (route["generation"], route["arms"][0]["version"])
            for name, route in self.receiver.held.items()
        }

    def behind(self) -> Behind | None:
        with self.database.begin() as tx:
            row = routes.row(tx, "support", lock=True)
        return row.behind if row else None

    def acts(self) -> list[tuple[str, str]]:
        with self.database.begin() as tx:
            entries = audit.newest(tx)
        return [
            (entry.act, entry.subject)
            for entry in reversed(entries)
            if entry.act.endswith("carried")
        ]


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    receiver = Receiver(secret=SECRET)
    with answering(receiver.respond) as url:
        client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
        router = WebhookRouter(WebhookRouting(url=f"{url}/routes", secret=SECRET), client)
        made = World(database=database, receiver=receiver)
        made.carrier = Carrier(database, router, resync=RESYNC, monotonic=lambda: made.now)
        with database.begin() as tx:
            for adapter in ("support", "travel"):
                register(tx, adapter, "v6", "v7", "v8")
        yield made


def test_a_route_is_told_whoever_wrote_it_and_only_once(world: World) -> None:
    world.put()
    assert world.wait(0.5)
    assert world.held() == {"support": (1, "v7")}
    assert not world.wait(0.5)
    world.put(version="v8")
    world.put("travel")
    assert world.wait(0.5)
    assert world.held() == {"support": (2, "v8"), "travel": (1, "v7")}
    assert world.receiver.posts == 3
    assert world.acts() == []


def test_a_router_that_has_lost_a_route_gets_it_again(world: World) -> None:
    world.put()
    world.wait(0.5)
    world.receiver.held.clear()
    assert not world.wait(1)
    assert world.wait(RESYNC.total_seconds())
    assert world.held() == {"support": (1, "v7")}
    world.wait(RESYNC.total_seconds())
    assert world.receiver.posts == 2  # asked, and found as told


def test_a_failure_is_tried_again_ever_more_slowly_and_written_down_once(world: World) -> None:
    world.receiver.away = True
    world.put()
    tries = [world.wait(1) for _ in range(100)]
    assert 5 <= sum(tries) <= 8
    assert world.acts() == [("route.not_carried", "support")]
    behind = world.behind()
    assert behind is not None
    assert behind.why.endswith("answered the route with 503")
    world.receiver.away = False
    world.wait(LONGEST_PAUSE)
    assert world.held() == {"support": (1, "v7")}
    assert world.acts()[1:] == [("route.carried", "support")]
    assert world.behind() is None


def test_one_that_is_refused_keeps_no_other_waiting(world: World) -> None:
    newer = {"adapter": "support", "generation": 9, "arms": [{"version": "v8"}]}
    world.receiver.held["support"] = newer
    world.put()
    world.put("travel")
    world.wait(0.5)
    assert world.held() == {"support": (9, "v8"), "travel": (1, "v7")}
    assert world.acts() == [("route.not_carried", "support")]


def test_a_router_that_is_away_is_not_asked_for_every_adapter(world: World) -> None:
    names = [f"adapter-{number}" for number in range(20)]
    with world.database.begin() as tx:
        for name in names:
            register(tx, name, "v7")
    for name in names:
        world.put(name)
    world.receiver.away = True
    world.wait(0.5)
    assert world.receiver.posts == 3
    world.receiver.away = False
    while world.wait(2):
        pass
    assert world.held() == dict.fromkeys(names, (1, "v7"))


def test_a_new_daemon_tells_everything_again_without_harm(world: World) -> None:
    world.put()
    world.wait(0.5)
    world.carrier._told.clear()  # noqa: SLF001 - as after a restart
    world.carrier._seen = None  # noqa: SLF001 - as after a restart
    assert world.wait(0.5)
    assert world.held() == {"support": (1, "v7")}

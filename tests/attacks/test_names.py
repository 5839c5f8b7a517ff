"""Names that lead elsewhere from one look-up to the next: what was checked is what is dialled."""

import asyncio
import socket
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from alerts import addresses
from alerts.channels import CHANNELS, open_channel
from alerts.delivery import DeliveryFailed
from alerts.outgoing import OutgoingClient, OutgoingError, OutgoingPolicy
from monitor.domain import Arm, ArmKind, Route
from monitor.gateway.engines import ReplicaGroup, Unreachable
from monitor.gateway.settings import GatewaySettings
from monitor.probes.cards import list_models
from monitor.probes.errors import ProbeFailed
from monitor.store.database import Database
from monitor.traffic.routers import ROUTERS, open_router
from monitor.traffic.routers.contract import Reach, RouterFailed
from monitor.traffic.routers.gateway import GatewayRouting
from monitor.traffic.routers.redis import RedisRouting
from monitor.traffic.routers.vllm import VllmRouting
from monitor.traffic.routers.webhook import WebhookRouting
from tests.alert_samples import FULL
from tests.loopback import Receiver

PERMITTED, INSIDE = "127.0.0.2", "127.0.0.1"
TURNS = 4
SECRET = "whsec_bmV2ZXIgdG8gYmUgc2VlbiBhbnl3aGVyZQ=="  # noqa: S105 - of nothing
SOON = timedelta(seconds=2)


@dataclass
class Flipping:
    """A resolver: the permitted address first, then the other one, in turn."""

    asked: list[str] = field(default_factory=list)

    def __call__(self, host: str, port: int) -> Sequence[str]:
        del host, port
        self.asked.append(INSIDE if len(self.asked) % 2 else PERMITTED)
        return [self.asked[-1]]


@dataclass
class World:
    """One name, two servers on one port behind it, of which the second must not be reached."""

    permitted: Receiver
    inside: Receiver
    names: Flipping
    client: OutgoingClient

    def url(self, scheme: str = "http") -> str:
        return f"{scheme}://name.example:{self.permitted.port}"


@pytest.fixture
def world() -> Iterator[World]:
    names = Flipping()
    policy = OutgoingPolicy(allow=(f"{PERMITTED}/32",), timeout=SOON.total_seconds())
    with ExitStack() as stack:
        permitted, inside = _on_one_port(stack)
        yield World(permitted, inside, names, OutgoingClient(policy, resolver=names))


def _on_one_port(stack: ExitStack) -> tuple[Receiver, Receiver]:
    for _ in range(20):  # somebody may have the other address's port
        permitted = stack.enter_context(Receiver(host=PERMITTED))
        with suppress(OSError):
            inside = Receiver(host=INSIDE, port=permitted.port)
            return permitted, stack.enter_context(inside)
    raise AssertionError("no port is free on both addresses")


OPTIONS = {
    "alertmanager": {"token": "t"},
    "custom": {"template": "{{ summary | tojson }}"},
    "opsgenie": {"key": "k"},
    "pagerduty": {"routing_key": "r" * 32},
    "slack": {},
    "teams": {},
    "webhook": {"secret": SECRET},
}


def options_of(kind: str, world: World) -> Mapping[str, object]:
    if kind == "email":
        place = {"host": "name.example", "port": world.permitted.port}
        return {"sender": "d@x.example", "to": ["a@x.example"], **place}
    return {"url": f"{world.url()}/x", **OPTIONS[kind]}


def tell(kind: str, world: World) -> None:
    channel = open_channel(kind, options_of(kind, world), client=world.client)
    with suppress(DeliveryFailed):
        channel.deliver(FULL, "msg_1")


def list_engine(world: World) -> None:
    with suppress(OutgoingError, ProbeFailed):
        list_models(world.url(), http=world.client, headers={})


async def answered(url: str) -> int | None:
    """Ask an engine as the gateway does; None where nothing was sent."""
    engines = ReplicaGroup(GatewaySettings(upstreams=(url,), service=url))
    await engines.open()
    try:
        reply = await engines.ask(engines.all[0], "GET", "/health", headers=[], body=b"")
        await reply.read()
    except Unreachable as refused:
        return 0 if refused.sent else None
    else:
        return reply.status
    finally:
        await engines.close()


def carry(kind: str, world: World, database: Database) -> None:
    settings = {
        "gateway": lambda: GatewayRouting(addresses=(world.url(),), wait=SOON, timeout=SOON),
        "redis": lambda: RedisRouting(url=world.url("redis"), timeout=SOON),
        "vllm": lambda: VllmRouting(engines=(world.url(),), timeout=SOON),
        "webhook": lambda: WebhookRouting(url=world.url(), secret=SECRET, timeout=SOON),
    }[kind]()
    reach = Reach(outside=world.client, inside=world.client)
    router = open_router(kind, settings, reach=reach, database=database)
    for step in (lambda: router.apply(ROUTE), lambda: router.read_back(ROUTE.adapter)):
        with suppress(RouterFailed):
            step()


ROUTE = Route(
    adapter="support",
    generation=1,
    arms=(Arm(arm=ArmKind.STABLE, version="v1", model="support@v1", weight=1.0),),
    reason="a test",
    since=datetime.now(UTC),
)


def assert_only_what_was_checked_was_reached(world: World) -> None:
    assert world.inside.connections == 0
    assert world.names.asked.count(INSIDE) > 0
    assert world.permitted.connections == world.names.asked.count(PERMITTED) > 0


@pytest.mark.parametrize("kind", [kind for kind in CHANNELS if kind != "log"])
def test_channels_reach_the_address_that_was_checked(kind: str, world: World) -> None:
    for _ in range(TURNS):
        tell(kind, world)
    assert_only_what_was_checked_was_reached(world)


def test_engines_are_asked_at_the_address_that_was_checked(world: World) -> None:
    for _ in range(TURNS):
        list_engine(world)
    assert_only_what_was_checked_was_reached(world)


def test_the_gateway_asks_no_engine_at_an_address_of_the_platform(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before, it dialled whatever a name led to: 169.254.169.254 as well."""
    monkeypatch.setattr(addresses, "PLATFORM", addresses.parse_networks([f"{INSIDE}/32"]))

    def found(host: str, port: int, *_args: object, **_more: Any) -> list[tuple[object, ...]]:
        [address] = world.names(host, port)
        return [(socket.AF_INET, socket.SOCK_STREAM, 6, "", (address, port))]

    monkeypatch.setattr(socket, "getaddrinfo", found)
    for _ in range(TURNS):
        asyncio.run(answered(world.url()))
    assert_only_what_was_checked_was_reached(world)
    monkeypatch.undo()
    for literal in ("169.254.169.254", "[fd00:ec2::254]", "[::ffff:169.254.169.254]"):
        assert asyncio.run(answered(f"http://{literal}")) is None


@pytest.mark.parametrize("kind", [kind for kind in ROUTERS if kind != "none"])
def test_routers_reach_the_address_that_was_checked(
    kind: str, world: World, database: Database
) -> None:
    for _ in range(TURNS):
        carry(kind, world, database)
    assert_only_what_was_checked_was_reached(world)

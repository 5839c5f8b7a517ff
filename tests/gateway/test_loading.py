"""Which adapters are worth a place in an engine's memory."""

import asyncio
import json
from collections import deque
from collections.abc import Sequence

import pytest

from monitor.gateway import residents
from monitor.gateway.engines import ReplicaGroup, Unreachable
from monitor.gateway.loading import ENOUGH, HALF_LIFE, Loaded, Loading
from monitor.gateway.meters import Meters
from monitor.gateway.residents import ResidentKeeper
from monitor.gateway.routebook import RouteBook, read_routes
from monitor.gateway.settings import GatewaySettings
from tests.gateway.conftest import listening, route
from tests.gateway.stub_engine import StubEngine
from tests.loopback import unused_port

A, B, C = Loaded("a", "v1"), Loaded("b", "v1"), Loaded("c", "v1")


def seen(loading: Loading, one: Loaded, *, same: float, switched: float, switches: int = 8) -> None:
    for _ in range(ENOUGH):
        loading.observe(one, same, switched=False)
    for _ in range(switches):
        loading.observe(one, switched, switched=True)


def keeping(loading: Loading, engines: ReplicaGroup, *, places: int) -> ResidentKeeper:
    """A keeper of the versions v1 of a, b and c."""
    book = RouteBook()
    book.update(read_routes(json.dumps([route(name, stable=1.0) for name in "abc"]).encode()))
    settings = GatewaySettings(resident_adapters=places, engine_key="k")
    return ResidentKeeper(engines, loading=loading, book=book, meters=Meters(), settings=settings)


def test_the_versions_with_most_time_to_save_are_kept() -> None:
    loading = Loading(2)
    seen(loading, A, same=0.050, switched=0.080)
    seen(loading, B, same=0.050, switched=0.060, switches=60)
    seen(loading, C, same=0.050, switched=0.053)
    assert loading.switch_seconds(A) == pytest.approx(0.030)
    assert loading.to_keep() == [B, A]  # 60 x 10 ms, 8 x 30 ms; c: 8 x 3 ms


def test_nothing_is_recommended_where_switches_cost_nothing() -> None:
    loading = Loading(2)
    seen(loading, A, same=0.050, switched=0.054)
    assert loading.to_keep() == ()


def test_a_few_streams_say_nothing() -> None:
    loading = Loading(2)
    seen(loading, A, same=0.050, switched=0.500, switches=ENOUGH - 1)
    assert loading.switch_seconds(A) is None
    assert loading.to_keep() == ()


def test_a_person_is_told_once_and_again_when_it_changes(
    capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(residents, "TOLD_EVERY", 0.0)
    loading = Loading(1)
    keeper = keeping(loading, ReplicaGroup(GatewaySettings()), places=1)
    keeper.tell()
    seen(loading, A, same=0.050, switched=0.080)
    keeper.tell()
    keeper.tell()
    seen(loading, B, same=0.050, switched=0.060, switches=60)
    keeper.tell()
    told = [line for line in "".join(capfd.readouterr()).splitlines() if "keep_loaded" in line]
    assert len(told) == 2
    assert "a@v1: a switch costs 30.0 ms" in told[0]
    assert "b@v1: a switch costs 10.0 ms" in told[1]


def test_a_version_that_is_kept_loaded_stays_worth_it_for_a_while() -> None:
    loading = Loading(2)
    seen(loading, A, same=0.050, switched=0.080)
    loading.fade(5.0, routed={A})
    seen(loading, A, same=0.050, switched=0.050, switches=64)
    assert loading.switch_seconds(A) == 0.0
    assert (loading.to_keep(), loading.dear()) == ([A], [A])
    loading.fade(4 * HALF_LIFE, routed={A})
    assert (loading.to_keep(), loading.dear()) == ((), [])


def test_old_streams_and_versions_without_a_route_count_no_more() -> None:
    loading = Loading(2)
    seen(loading, A, same=0.050, switched=0.080)
    loading.fade(2 * HALF_LIFE, routed={A})
    assert loading.switch_seconds(A) is None
    seen(loading, A, same=0.050, switched=0.080)
    loading.fade(5.0, routed={B})
    assert (loading.seen, loading.to_keep(), loading.dear()) == ((), (), [])


def looked(
    loading: Loading, stub: StubEngine, *, places: int, held: Sequence[str] = (), looks: int = 1
) -> list[str]:
    """What a replica that answered for some models holds after some looks."""

    async def look(url: str) -> list[str]:
        engines = ReplicaGroup(GatewaySettings(upstreams=(url,)))
        await engines.open()
        for model in held:
            engines.all[0].used(model, places)
        keeper = keeping(loading, engines, places=places)
        for _ in range(looks):
            await keeper.look()
        await engines.close()
        return [*engines.all[0].recent]

    with listening(stub.app()) as url:
        return asyncio.run(look(url))


def dear(*versions: Loaded, places: int = 8) -> Loading:
    loading = Loading(places)
    for number, one in enumerate(versions):
        seen(loading, one, same=0.050, switched=0.080, switches=80 - 20 * number)
    return loading


def test_a_replica_is_given_what_is_worth_it_one_version_a_look_by_one_token() -> None:
    stub = StubEngine(models={"a@v1", "b@v1"})
    assert looked(dear(A, B), stub, places=4, held=["c@v1"], looks=3) == ["c@v1", "a@v1", "b@v1"]
    assert [one.body["model"] for one in stub.asked] == ["a@v1", "b@v1"]
    assert {one.body["max_tokens"] for one in stub.asked} == {1}
    assert stub.asked[0].headers["authorization"] == "Bearer k"


def test_a_version_worth_keeping_makes_no_room_for_another() -> None:
    stub = StubEngine(models={"a@v1", "b@v1"})
    assert looked(dear(A, B, places=1), stub, places=1, held=["b@v1"]) == ["a@v1"]
    stub = StubEngine(models={"a@v1", "b@v1"})
    held = ["a@v1", "b@v1"]
    assert looked(dear(A, B, C, places=2), stub, places=2, held=held, looks=3) == held
    assert stub.asked == []


def test_replicas_share_what_is_worth_keeping() -> None:
    async def look(first: str, *held: Sequence[str]) -> list[list[str]]:
        engines = ReplicaGroup(GatewaySettings(upstreams=(first, second)))
        await engines.open()
        for engine, models in zip(engines.all, held, strict=True):
            for model in models:
                engine.used(model, 1)
        await keeping(dear(A, B), engines, places=1).look()
        await engines.close()
        return [[*engine.recent] for engine in engines.all]

    stub = StubEngine(models={"a@v1", "b@v1"})
    with listening(stub.app()) as first, listening(stub.app()) as second:
        assert asyncio.run(look(first, ["a@v1"], ["b@v1"])) == [["a@v1"], ["b@v1"]]
        assert stub.asked == []
        assert asyncio.run(look(first, ["a@v1"], ["a@v1"])) == [["b@v1"], ["a@v1"]]
        assert asyncio.run(look(first, [], [])) == [["a@v1"], ["b@v1"]]


def test_a_replica_without_the_model_or_that_refuses_is_left_alone() -> None:
    unknown = StubEngine()
    assert looked(dear(A), unknown, places=4, looks=3) == []
    assert len(unknown.asked) == 1
    without = StubEngine(models={"a@v1"}, failures={"a@v1": deque([404] * 9)})
    assert looked(dear(A), without, places=4, looks=3) == []
    assert len(without.asked) == 1
    refusing = StubEngine(failures={"a@v1": deque([401] * 9)})
    assert looked(dear(A), refusing, places=4, looks=3) == []
    assert len(refusing.asked) == 1


def test_a_version_that_cannot_be_loaded_keeps_no_other_from_it() -> None:
    stub = StubEngine(models={"b@v1"})
    assert looked(dear(A, B), stub, places=4, looks=2) == ["b@v1"]


def test_metrics_of_versions_without_a_route_go() -> None:
    loading, meters = dear(A, B), Meters()
    meters.show(loading)
    loading.fade(5.0, routed={B})
    meters.show(loading)
    shown = meters.exposition().decode()
    assert 'keep_loaded{adapter="b",version="v1"} 1.0' in shown
    assert 'adapter="a"' not in shown


def test_nothing_is_loaded_where_nothing_is_dear() -> None:
    stub = StubEngine(models={"a@v1"})
    assert looked(Loading(4), stub, places=4) == []
    assert stub.asked == []


def test_a_replica_that_holds_a_dear_model_is_preferred_until_it_is_busy() -> None:
    engines = ReplicaGroup(GatewaySettings(upstreams=("http://one:1", "http://two:1")))
    one, two = engines.all
    two.used("a@v1", 4)
    assert engines.pick("a@v1") is one, "it costs nothing to load"
    engines.dear = {"a@v1"}
    assert [engines.pick("a@v1") for _ in range(3)] == [two] * 3
    two.busy = 2
    assert {engines.pick("a@v1").name for _ in range(2)} == {"one:1", "two:1"}
    two.busy = 3
    assert engines.pick("a@v1") is one
    assert engines.pick("b@v1") is one, "others go where there is less to do"


def test_a_replica_that_refused_a_model_does_not_hold_it() -> None:
    (engine,) = ReplicaGroup(GatewaySettings(upstreams=("http://one:1",))).all
    engine.used("a@v1", 4)
    engine.lacks("a@v1")
    assert engine.recent == {}


def test_an_engines_own_places_count() -> None:
    (engine,) = ReplicaGroup(GatewaySettings(upstreams=("http://one:1",))).all
    engine.places = 1
    engine.used("a@v1", 4)
    engine.used("b@v1", 4)
    assert (engine.recent, engine.next_dropped(4)) == ({"b@v1": None}, "b@v1")


def test_a_replica_that_was_away_holds_nothing() -> None:
    async def asked() -> int:
        engines = ReplicaGroup(GatewaySettings(upstreams=(f"http://127.0.0.1:{unused_port()}",)))
        await engines.open()
        engines.all[0].used("a@v1", 4)
        with pytest.raises(Unreachable):
            await engines.ask(engines.all[0], "GET", "/", headers=[], body=b"")
        await engines.close()
        return len(engines.all[0].recent)

    assert asyncio.run(asked()) == 0

"""The vLLM router: new names beside the old ones, on every replica, and nothing in place."""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.domain import Arm, ArmKind, Route, Version
from monitor.engine_addresses import EngineAddresses
from monitor.probes.engines import Engines
from monitor.probes.weights.errors import WeightsRefused, unsupported
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.store.traffic import canaries
from monitor.traffic import table
from monitor.traffic.carrying import Carrier
from monitor.traffic.proof import Proof
from monitor.traffic.routers.contract import Reach, RouterFailed
from monitor.traffic.routers.none import TableOnly
from monitor.traffic.routers.vllm import Replicas, VllmRouting
from tests.loopback import LOOPBACK
from tests.routed import Vllm, answering
from tests.service import until

NOW = datetime(2026, 3, 4, 14, 10, tzinfo=UTC)
DRAIN = timedelta(minutes=5)


@dataclass
class World:
    """Two replicas, the router before them and a clock."""

    database: Database
    engines: list[Vllm]
    urls: list[str]
    versions: dict[str, Version] = field(default_factory=dict)
    generation: int = 0
    now: datetime = NOW
    files: dict[str, Path | WeightsRefused] = field(default_factory=dict)
    """Where versions' files were fetched to, or why they were not."""

    def found(self, version: Version) -> Path | None:
        """A version's files, as Driftline finds them."""
        found = self.files.get(version.name)
        if isinstance(found, WeightsRefused):
            raise found
        return found

    @property
    def client(self) -> OutgoingClient:
        return OutgoingClient(OutgoingPolicy(allow=LOOPBACK))

    @property
    def router(self) -> Replicas:
        settings = VllmRouting(engines=tuple(self.urls), drain=DRAIN)
        reach = Reach(inside=self.client, files=self.found, at_hand=self.found)
        return Replicas(settings, reach, self.database, clock=lambda: self.now)

    def register(
        self,
        *names: str,
        parent: str | None = None,
        at: str = "file:///adapters/support",
        metadata: Mapping[str, object] | None = None,
    ) -> None:
        with self.database.begin() as tx:
            adapter = adapters.put(tx, name="support")
            for name in names:
                self.versions[name] = versions.put(
                    tx,
                    adapter=adapter,
                    name=name,
                    model=f"support@{name}",
                    parent=parent,
                    uri=f"{at}/{name}",
                    metadata=metadata,
                )

    def flip(self, **weights: float) -> Route:
        """Write a route, the first version stable, and tell the router."""
        self.generation += 1
        kinds = (ArmKind.STABLE, ArmKind.CANARY)
        arms = tuple(
            Arm(arm=kind, version=name, model=f"support@{name}", weight=weight)
            for kind, (name, weight) in zip(kinds, weights.items(), strict=False)
        )
        route = Route(
            adapter="support", generation=self.generation, arms=arms, reason="x", since=self.now
        )
        with self.database.begin() as tx:
            adapter_id = next(iter(self.versions.values())).adapter_id
            stored = table.write(tx, adapter_id, route=route, actor="ann")
        assert stored is not None
        self.router.apply(stored)
        return stored

    def served(self) -> list[set[str]]:
        return [set(engine.models) - {"base"} for engine in self.engines]


@pytest.fixture
def world(database: Database) -> Iterator[World]:
    engines = [Vllm(), Vllm()]
    with ExitStack() as stack:
        urls = [stack.enter_context(answering(engine.respond)) for engine in engines]
        made = World(database=database, engines=engines, urls=urls)
        made.register("v5", "v6", "v7", "v8")
        yield made


def names(*versions: str) -> list[set[str]]:
    return [{f"support@{name}" for name in versions}] * 2


def test_a_new_version_is_loaded_beside_the_old_one_and_the_old_one_goes_after_the_drain(
    world: World,
) -> None:
    world.flip(v5=1.0)
    world.flip(v6=1.0)
    world.flip(v7=1.0)
    assert world.engines[0].models["support@v7"] == "/adapters/support/v7"
    route = world.flip(v8=1.0)
    assert world.served() == names("v5", "v6", "v7", "v8")
    world.now += DRAIN - timedelta(seconds=1)
    world.router.apply(route)
    assert world.served() == names("v5", "v6", "v7", "v8")
    world.now += timedelta(seconds=1)
    world.router.apply(route)
    # v7 was last in charge: traffic may fall back to it, so it stays
    assert world.served() == names("v7", "v8")
    world.router.apply(route)
    assert [engine.unloads for engine in world.engines] == [["support@v5", "support@v6"]] * 2


def test_what_somebody_else_loaded_and_nobody_registered_stays(world: World) -> None:
    world.register("trial", metadata={versions.FOUND_BY: "engine"})
    for engine in world.engines:
        engine.models["support@trial"] = "/adapters/support/trial"
    route = world.flip(v5=1.0)
    world.now += 2 * DRAIN
    world.router.apply(route)
    assert [engine.unloads for engine in world.engines] == [[], []]
    world.register("trial")
    world.router.apply(route)
    assert [engine.unloads for engine in world.engines] == [["support@trial"]] * 2


def test_the_worker_lets_go_by_itself_once_a_route_has_drained(world: World) -> None:
    world.flip(v5=1.0)
    world.flip(v6=1.0)
    world.flip(v7=1.0)
    beat, resync = 0.0, timedelta(minutes=1)
    carrier = Carrier(
        world.database, world.router, resync=resync, later=True, monotonic=lambda: beat
    )
    for _ in range(6):
        assert world.served() == names("v5", "v6", "v7")
        carrier.turn()
        beat += resync.total_seconds()
        world.now += resync
    carrier.turn()
    assert world.served() == names("v6", "v7")


def test_the_version_of_a_canary_that_waits_for_its_start_stays(world: World) -> None:
    world.router.prepare([world.versions["v8"]])
    with world.database.begin() as tx:
        canaries.add(
            tx,
            world.versions["v8"],
            control=world.versions["v6"],
            plan={},
            state={"phase": "checking"},
            guards=[],
            unchecked=[],
            mode=None,
            by="ann",
            now=world.now,
        )
    route = world.flip(v6=1.0)
    world.now += DRAIN
    world.router.apply(route)
    assert world.served() == names("v6", "v8")


def test_what_another_route_names_and_what_cannot_be_loaded_again_stays(world: World) -> None:
    with world.database.begin() as tx:
        other = adapters.put(tx, name="sales")
        shared = versions.put(tx, adapter=other, name="v1", model="support@v5")
        table.start(tx, shared, actor="ann", now=NOW)
        own = adapters.put(tx, name="support")
        versions.put(tx, adapter=own, name="old", model="support@old")
    for engine in world.engines:
        engine.models["support@old"] = "/somewhere"
        engine.models["stranger"] = "/somewhere/else"
    world.flip(v5=1.0)
    world.flip(v6=1.0)
    route = world.flip(v7=1.0)
    world.now += DRAIN
    world.router.apply(route)
    assert [one - {"stranger", "support@old"} for one in world.served()] == names("v5", "v6", "v7")
    assert all({"stranger", "support@old"} <= one for one in world.served())


def test_where_one_replica_fails_it_is_said_what_is_where_and_telling_again_mends_it(
    world: World,
) -> None:
    first, second = world.urls
    world.engines[1].refuses = True
    with pytest.raises(RouterFailed) as caught:
        world.router.prepare([world.versions["v7"]])
    assert str(caught.value) == (
        f"{second}/… does not serve support@v7: loading it was answered with 500"
        f" (complete: {first}/…)"
    )
    assert world.served() == [{"support@v7"}, set()]
    world.engines[1].refuses = False
    world.router.prepare([world.versions["v7"]])
    assert world.served() == names("v7")
    assert world.engines[0].loads == ["support@v7"]  # not loaded twice


def test_a_replica_that_lies_about_loading_is_found_out(world: World) -> None:
    world.engines[1].lies = True
    with pytest.raises(RouterFailed, match="does not serve support@v7"):
        world.router.prepare([world.versions["v7"]])


def test_a_name_that_stands_for_other_files_is_never_replaced(world: World) -> None:
    world.engines[0].models["support@v7"] = "/adapters/support/v6"
    with pytest.raises(RouterFailed, match="from another place than it is registered"):
        world.router.prepare([world.versions["v7"]])
    assert world.engines[0].models["support@v7"] == "/adapters/support/v6"
    assert (world.engines[0].loads, world.engines[0].unloads) == ([], [])


def test_a_restarted_replica_is_seen_when_read_back_and_gets_everything_again(
    world: World,
) -> None:
    route = world.flip(v7=0.9, v8=0.1)
    assert world.router.read_back("support") == route.arms
    world.engines[0].models = {"base": None}
    assert world.router.read_back("support") == ()
    world.router.apply(route)
    assert world.router.read_back("support") == route.arms


def test_a_version_without_a_place_and_one_that_is_served_already(world: World) -> None:
    nowhere = replace(world.versions["v7"], uri=None)
    with pytest.raises(RouterFailed, match="registered without a uri"):
        world.router.prepare([nowhere])
    for engine in world.engines:
        engine.models["support@v7"] = "/baked/in"
    world.router.prepare([nowhere])


def test_replicas_come_and_go_with_the_file_that_lists_them(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.engine_addresses.LOOK_EVERY", 0.0)
    file = tmp_path / "engines"
    urls, world.urls = world.urls, [file.as_uri()]
    router = world.router
    with pytest.raises(RouterFailed, match="no address of an engine is known"):
        router.prepare([world.versions["v7"]])
    file.write_text(urls[0])

    def loaded() -> bool:
        try:
            router.prepare([world.versions["v7"]])
        except RouterFailed:
            return False
        return True

    until(loaded, "it is loaded on the replica that came")
    assert world.served() == [{"support@v7"}, set()]
    engines = Engines(EngineAddresses(world.urls), world.client, headers={})
    assert engines.listing("support@v7").everywhere
    file.write_text("\n".join(urls))
    until(lambda: not engines.listing("support@v7").everywhere, "the replica that came lacks it")
    until(lambda: loaded() and world.served()[1], "it is loaded there")
    assert world.served() == names("v7")
    assert [one.url for one in engines.holding("support@v7")] == urls
    file.write_text(urls[1])
    until(
        lambda: [one.url for one in engines.holding("support@v7")] == urls[1:],
        "the first replica is gone",
    )


def test_nothing_is_proven_while_no_address_of_an_engine_is_known(
    world: World, tmp_path: Path
) -> None:
    nowhere = EngineAddresses([(tmp_path / "gone").as_uri()])
    engines = Engines(nowhere, world.client, headers={})
    proof = Proof(database=world.database, router=TableOnly(world.database), engines=engines)
    arm = Arm(arm=ArmKind.STABLE, version="v7", model="support@v7", weight=1.0)
    assert not proof.served("support@v7")
    assert proof.problems(None, [arm], [world.versions["v7"]]) == [
        "nothing shows that support@v7 is served: no address of an engine is known"
    ]


def test_the_proof_loads_a_version_before_it_asks_for_it(world: World) -> None:
    engines = Engines(world.urls, world.client, headers={})
    proof = Proof(database=world.database, router=world.router, engines=engines)
    assert not engines.listing("support@v7").everywhere
    assert proof.served("support@v7")
    assert world.served() == names("v7")
    world.engines[1].refuses = True
    assert not proof.served("support@v8")


def test_files_from_elsewhere_are_loaded_from_where_they_were_fetched_to(world: World) -> None:
    world.register("v9", "v10", at="s3://models/support")
    world.files = {"v9": Path("/cache/9f2a"), "v8": Path("/cache/never")}
    world.flip(v9=1.0)
    world.flip(v8=1.0)
    world.flip(v10=1.0)
    assert world.engines[0].models["support@v9"] == "/cache/9f2a"
    assert world.engines[0].models["support@v8"] == "/adapters/support/v8"
    assert world.engines[0].models["support@v10"] == "s3://models/support/v10", "an engine's own"


def test_files_that_cannot_be_fetched_are_why_a_route_is_not_carried_out(world: World) -> None:
    world.register("v9", at="s3://models/support")
    world.files = {"v9": unsupported("its files could not be fetched: access is denied")}
    with pytest.raises(RouterFailed, match=r"does not serve support@v9: .*access is denied"):
        world.flip(v9=1.0)


def test_an_engine_that_loaded_from_a_cache_is_known_by_the_folders_name(world: World) -> None:
    identity = "9f" * 32
    world.register("v9", at="s3://models/support")
    world.files = {"v9": Path(f"/cache/{identity}")}
    world.flip(v9=1.0)
    for elsewhere in (Path(f"/other/{identity}"), None):
        world.files = {} if elsewhere is None else {"v9": elsewhere}
        world.router.prepare([world.versions["v9"]])
    world.files = {"v9": Path(f"/cache/{'0a' * 32}")}
    with pytest.raises(RouterFailed, match="from another place"):
        world.router.prepare([world.versions["v9"]])

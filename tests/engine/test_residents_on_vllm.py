"""What a gateway keeps loaded, on a real vLLM with two places for adapters."""

import asyncio
import json
from pathlib import Path

import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from examples.weights import MODELS
from monitor.artifacts.cache import ArtifactCache
from monitor.artifacts.finding import Artifacts
from monitor.artifacts.settings import ArtifactSettings
from monitor.artifacts.stores import open_store
from monitor.domain import Version
from monitor.gateway.engines import EngineReplica, ReplicaGroup
from monitor.gateway.loading import ENOUGH, Loaded, Loading
from monitor.gateway.meters import Meters
from monitor.gateway.residents import ResidentKeeper
from monitor.gateway.routebook import RouteBook, read_routes
from monitor.gateway.settings import GatewaySettings
from monitor.gateway.software import SoftwareKeeper
from monitor.probes.engine_metrics import adapter_places
from monitor.probes.weights.process import inspect_apart
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.traffic.routers.contract import Reach
from monitor.traffic.routers.vllm import Replicas, VllmRouting
from tests.engine.conftest import Vllm
from tests.gateway.conftest import route
from tests.loopback import LOOPBACK
from tests.service import until

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DEAR = Loaded("travel", "v1")


def dear(loading: Loading) -> Loading:
    for _ in range(ENOUGH):
        loading.observe(DEAR, 0.05, switched=False)
        loading.observe(DEAR, 0.08, switched=True)
    return loading


def test_a_version_worth_it_is_loaded_into_the_engines_own_places(vllm: Vllm) -> None:
    for name in ("support@v1", "booking@v1"):
        vllm.answer(name, "hello", tokens=24)
    until(lambda: adapter_places(vllm.http.get("/metrics").content), "vLLM tells its places")

    async def look() -> EngineReplica:
        settings = GatewaySettings(upstreams=(vllm.url,))
        engines = ReplicaGroup(settings)
        await engines.open()
        await SoftwareKeeper(engines, settings=settings).look()
        book = RouteBook()
        book.update(read_routes(json.dumps([route("travel", stable=1.0)]).encode()))
        keeper = ResidentKeeper(
            engines, loading=dear(Loading(8)), book=book, meters=Meters(), settings=settings
        )
        await keeper.look()
        await engines.close()
        return engines.all[0]

    engine = asyncio.run(look())
    assert (engine.places, [*engine.recent]) == (2, ["travel@v1"])


def test_an_engine_loads_a_version_of_the_store(
    vllm: Vllm, database: Database, tmp_path: Path
) -> None:
    identity = inspect_apart(MODELS / "support-v2")["identity"]
    settings = ArtifactSettings(store=str(tmp_path / "store"))
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
    store = open_store(settings, client)
    assert store is not None
    store.put(identity, MODELS / "support-v2")
    files = Artifacts(settings, ArtifactCache(tmp_path / "cache", most_bytes=1 << 30), store)
    version = _registered(database, identity)
    reach = Reach(inside=client, files=files.fetched, at_hand=files.at_hand)
    router = Replicas(VllmRouting(engines=(vllm.url,)), reach, database)

    router.prepare([version])
    assert vllm.answer("stored@v1", "hello", tokens=4)
    router.prepare([version])  # what is listed is held against what is registered
    vllm.unload("stored@v1")


def _registered(database: Database, identity: str) -> Version:
    with database.begin() as tx:
        return versions.put(
            tx,
            adapter=adapters.put(tx, name="stored"),
            name="v1",
            model="stored@v1",
            uri=f"store:{identity}",
            sha256=identity,
        )

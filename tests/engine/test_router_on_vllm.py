"""The router ``vllm`` before a real vLLM: loaded, proven, flipped, drained, unloaded."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import httpx2
import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from examples.weights import MODELS
from monitor.domain import Arm, ArmKind, Route, Version
from monitor.probes.engines import Engines
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.traffic import table
from monitor.traffic.proof import Proof
from monitor.traffic.routers.contract import Reach, RouterFailed
from monitor.traffic.routers.vllm import Replicas, VllmRouting
from tests.engine.conftest import Vllm
from tests.loopback import LOOPBACK

pytestmark = [pytest.mark.engine, pytest.mark.timeout(600)]

DRAIN = timedelta(minutes=5)


@dataclass
class Clock:
    now: datetime


def test_a_new_version_comes_beside_the_old_one_and_the_oldest_goes(
    vllm: Vllm, database: Database, tmp_path: Path
) -> None:
    clock = Clock(datetime.now(UTC))
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
    settings = VllmRouting(engines=(vllm.url,), drain=DRAIN)
    router = Replicas(settings, Reach(inside=client), database, clock=lambda: clock.now)
    proof = Proof(
        database=database, router=router, engines=Engines((vllm.url,), client, headers={})
    )
    made = registered(
        database,
        r1=MODELS / "support-v1",
        r2=MODELS / "support-v2",
        r3=MODELS / "travel-v2",
        absent=tmp_path / "nowhere",
    )

    def flip(generation: int, name: str) -> Route:
        arm = Arm(arm=ArmKind.STABLE, version=name, model=made[name].model, weight=1.0)
        wanted = Route(
            adapter="routed", generation=generation, arms=(arm,), reason="x", since=clock.now
        )
        assert proof.problems(None, wanted.arms, list(made.values())) == []
        with database.begin() as tx:
            route = table.write(tx, made[name].adapter_id, route=wanted, actor="ann")
        router.apply(route)
        assert router.read_back("routed") == route.arms
        assert vllm.answer(made[name].model, "hello", tokens=2)
        return route

    flip(1, "r1")
    flip(2, "r2")
    route = flip(3, "r3")
    assert vllm.answer("routed@r1", "hello", tokens=1)  # not drained yet
    clock.now += DRAIN
    router.apply(route)
    with pytest.raises(httpx2.HTTPStatusError, match="404"):
        vllm.answer("routed@r1", "hello", tokens=1)
    assert vllm.answer("routed@r2", "hello", tokens=1)  # the fallback stays

    with pytest.raises(RouterFailed, match="it was not found there"):
        router.prepare([made["absent"]])
    assert not proof.served("routed@absent")
    vllm.load("routed@r4", MODELS / "support-v1")
    swapped = registered(database, r4=MODELS / "support-v2")["r4"]
    with pytest.raises(RouterFailed, match="from another place"):
        router.prepare([swapped])
    for name in ("r2", "r3", "r4"):
        vllm.unload(f"routed@{name}")


def registered(database: Database, **folders: Path) -> dict[str, Version]:
    with database.begin() as tx:
        adapter = adapters.put(tx, name="routed")
        return {
            name: versions.put(
                tx, adapter=adapter, name=name, model=f"routed@{name}", uri=folder.as_uri()
            )
            for name, folder in folders.items()
        }

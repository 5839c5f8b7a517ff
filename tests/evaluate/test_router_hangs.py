"""A router that hangs while traffic moves: versions are judged all the same."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Connection

from monitor.domain import Arm, ArmKind, EvaluationKind, Mode, Route, Version
from monitor.evaluate.evaluator import Ending
from monitor.probes.engines import ReplicaListing
from monitor.store.registry import adapters, versions
from monitor.store.traffic import actions, routes
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.fallback.changes import FallbackChanges
from monitor.traffic.fallback.deciding import Deciding
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.proof import Proof
from monitor.traffic.readback import Confirming
from monitor.traffic.settings import RoutingSettings

PATIENCE = 120.0
NONSENSE = [-0.1, float("nan"), -0.2, -0.3, -0.4, -0.1]


@dataclass
class Hanging:
    """It hangs in one of its calls until it is let go, and then does as it was told."""

    where: str
    reached: threading.Event = field(default_factory=threading.Event)
    let_go: threading.Event = field(default_factory=threading.Event)
    arms: tuple[Arm, ...] | None = None

    def prepare(self, versions: Sequence[Version]) -> None:
        del versions
        self._hang("prepare")

    def apply(self, route: Route) -> None:
        self._hang("apply")
        self.arms = route.arms

    def read_back(self, adapter: str) -> tuple[Arm, ...] | None:
        del adapter
        self._hang("read_back")
        return self.arms

    def _hang(self, call: str) -> None:
        if call == self.where:
            self.reached.set()
            assert self.let_go.wait(PATIENCE)


class Everywhere:
    def listing(self, model: str) -> ReplicaListing:
        del model
        return ReplicaListing(holding=("engine",))


def v7_after_v6(tx: Connection) -> None:
    adapter = adapters.fetch(tx, "support")
    assert adapter is not None
    before = versions.put(tx, adapter=adapter, name="v6", model="support@v6")
    now = datetime.now(tz=UTC)
    table.start(tx, before, actor="ann", now=now)
    arms = [ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)]
    table.put(
        tx, "support", arms=arms, expected_generation=1, reason="release", actor="ci", now=now
    )


@pytest.mark.parametrize("where", ["prepare", "apply", "read_back"])
def test_it_holds_up_no_evaluation_and_obeys_once_it_answers(
    world: Any, tmp_path: Path, where: str
) -> None:
    world.database.run(v7_after_v6)
    router = Hanging(where)
    # a reference as young as this one would stop it
    settings = RoutingSettings(cycle=timedelta())
    changes = FallbackChanges(settings=settings)
    confirming = Confirming(database=world.database, router=router, log=changes)
    deciding = Deciding(
        breaker=Breaker(
            database=world.database,
            settings=settings,
            mode=Mode.AUTO,
            kill_switch=KillSwitch(tmp_path, {}),
            changes=changes,
            confirm=confirming.confirm,
            served=Proof(database=world.database, router=router, engines=Everywhere()).served,
        )
    )
    evaluator = world.evaluator(react=deciding.ask)

    def evaluate() -> Ending:
        world.make_due()
        claim = world.claim(EvaluationKind.HARD)
        assert claim is not None
        ending: Ending = evaluator.evaluate(claim)
        return ending

    world.refreeze(non_finite=0.0)
    world.send(40, token_logprobs=NONSENSE)
    assert evaluate() is Ending.DONE

    def move() -> None:
        deciding.turn()
        confirming.turn()

    moving = threading.Thread(target=move)
    moving.start()
    assert router.reached.wait(PATIENCE)
    for _ in range(3):
        world.send(5)
        assert evaluate() is Ending.DONE
    assert moving.is_alive()
    router.let_go.set()
    moving.join(PATIENCE)
    with world.database.begin() as tx:
        [action] = actions.action_list(tx)
        route = routes.get(tx, "support")
    assert action.state is actions.ActionState.VERIFIED
    assert route is not None
    assert router.arms == route.arms
    assert {arm.version: arm.weight for arm in route.arms} == {"v7": 0.0, "v6": 1.0}

"""What evaluations leave for the breaker is decided at once, and again where somebody died."""

import threading
from contextlib import ExitStack
from dataclasses import replace
from datetime import timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.types import Blame
from monitor.domain import Mode, Route, Version
from monitor.policy import ActionEvidence
from monitor.schedule import Loop, Pulse
from monitor.store.traffic import pending_decisions
from monitor.store.traffic.actions import ActionKind
from monitor.store.wakeups import DECISIONS, WakeUps
from monitor.traffic.fallback.deciding import Deciding
from monitor.traffic.readback import Confirming
from tests.fleet import NOW
from tests.traffic.stage import (
    CRITICAL,
    MINUTE,
    STABLE,
    Engine,
    World,
    evidence,
    executing,
    with_router,
)

HOUR = timedelta(hours=1)
PATIENCE = 60.0


def ill(world: World, name: str = "support") -> Version:
    """A version whose stored verdict is critical, by the database's own clock."""
    version = world.adapter(name)
    world.judge(version, CRITICAL)
    world.settings = replace(world.settings, evidence_age=timedelta(days=9_999))
    return version


def ask(world: World, version: Version, found: ActionEvidence) -> None:
    deciding = Deciding(breaker=world.breaker)
    world.database.run(lambda tx: deciding.ask(tx, [(version, found, NOW)]))


def waiting(world: World) -> int:
    with world.database.begin() as tx:
        return int(tx.execute(sa.text("SELECT count(*) FROM pending_decisions")).scalar_one())


def lapse(world: World) -> None:
    """Let the leases of those who decide run out."""
    with world.database.begin() as tx:
        tx.execute(sa.text("UPDATE pending_decisions SET lease_until = now() - interval '1 s'"))


def test_what_an_evaluation_found_is_decided_once(world: World) -> None:
    version = ill(world)
    ask(world, version, replace(evidence(), measured_from=NOW, effect_low=float("-inf")))
    deciding = Deciding(breaker=world.breaker)
    assert deciding.turn()
    assert not deciding.turn()
    assert world.states() == ["verified"]
    [action] = world.actions()
    known = {name: action.evidence[name] for name in ("reason", "detectors", "effect_low", "n")}
    assert known == {
        "reason": evidence().reason,
        "detectors": ["logit_ks"],
        "effect_low": None,
        "n": 412,
    }
    assert action.evidence["measured_from"] == NOW.isoformat()


def test_nothing_waits_of_a_version_that_is_well_and_has_its_traffic(world: World) -> None:
    ask(world, world.adapter(), evidence(allowed=False))
    assert waiting(world) == 0


def test_whether_traffic_returns_is_decided_while_it_is_away(world: World) -> None:
    version = ill(world)
    world.breaker.consider(version, evidence(), now=NOW)
    world.judge(version, STABLE, since=NOW)
    ask(world, version, evidence(allowed=False))
    assert Deciding(breaker=world.breaker).turn()
    assert world.actions()[0].kind is ActionKind.TRIAL


def test_what_was_found_and_what_waits_stand_together_or_not_at_all(world: World) -> None:
    version, deciding = ill(world), Deciding(breaker=world.breaker)

    def dies(tx: Connection) -> None:
        deciding.ask(tx, [(version, evidence(), NOW)])
        raise InterruptedError

    with pytest.raises(InterruptedError):
        world.database.run(dies)
    assert waiting(world) == 0


def test_a_decision_that_was_killed_is_made_again_by_another_daemon(world: World) -> None:
    version = ill(world)
    ask(world, version, evidence())

    def dies(model: str) -> bool:
        raise InterruptedError(model)

    with pytest.raises(InterruptedError):
        Deciding(breaker=replace(world.breaker, served=dies)).turn()
    other = Deciding(breaker=world.breaker)
    assert not other.turn(), "somebody may still be at it"
    lapse(world)
    assert other.turn()
    assert (world.states(), waiting(world)) == (["verified"], 0)


def test_what_is_found_meanwhile_is_decided_next(world: World) -> None:
    version = ill(world)
    ask(world, version, evidence())

    def served(model: str) -> bool:
        ask(world, version, replace(evidence(), at=NOW + MINUTE))
        return model == "support@v6"

    world.mode = Mode.OBSERVE
    world.database.run(
        lambda tx: tx.execute(sa.text("UPDATE pending_decisions SET asked_at = now()"))
    )
    assert Deciding(breaker=replace(world.breaker, served=served)).turn()
    assert waiting(world) == 1
    assert Deciding(breaker=world.breaker).turn()
    assert waiting(world) == 0
    [action] = world.actions()
    assert action.evidence["at"] == (NOW + MINUTE).isoformat()


def test_what_speaks_against_a_move_withdraws_what_spoke_for_it(world: World) -> None:
    version = ill(world)
    ask(world, version, evidence())
    ask(world, version, evidence(allowed=False))
    assert waiting(world) == 0


def test_a_blame_that_is_found_while_engines_are_asked_moves_no_traffic(world: World) -> None:
    version = ill(world)
    ask(world, version, evidence())

    def served(_model: str) -> bool:
        world.judge(version, CRITICAL, blame=Blame.SERVING)
        return True

    assert Deciding(breaker=replace(world.breaker, served=served)).turn()
    assert world.states() == []
    assert waiting(world) == 0


def test_a_process_that_stops_leaves_its_decisions_to_others_at_once(world: World) -> None:
    version = ill(world)
    ask(world, version, evidence())
    claimed = world.database.run(
        lambda tx: pending_decisions.claim(tx, owner="one", lease=timedelta(seconds=90))
    )
    assert claimed is not None
    other = Deciding(breaker=world.breaker, owner="other")
    assert not other.turn()
    world.database.run(lambda tx: pending_decisions.release(tx, owner="one"))
    assert other.turn()
    assert world.states() == ["verified"]


def test_an_action_in_doubt_is_decided_on_again_and_is_no_decision_that_nobody_makes(
    world: World,
) -> None:
    """The heartbeat is for deciders that hang, not for a router that never confirmed a move."""
    version = ill(world)
    executing(world, version)
    ask(world, version, evidence())  # asked for years ago, by the database's clock
    assert world.database.run(pending_decisions.longest_seconds) > HOUR.total_seconds()
    assert Deciding(breaker=world.breaker).turn()
    assert waiting(world) == 1
    assert world.database.run(pending_decisions.longest_seconds) < HOUR.total_seconds()


def test_who_is_asked_for_again_keeps_the_place_in_the_queue(world: World) -> None:
    first, second = ill(world), ill(world, "billing")
    for version, at in ((first, NOW), (second, NOW + MINUTE), (first, NOW + 2 * MINUTE)):
        found, when = evidence(), at
        world.database.run(
            lambda tx, v=version, f=found, w=when: Deciding(breaker=world.breaker).ask(
                tx, [(v, f, w)]
            )  # type: ignore[misc]  # default arguments
        )
    claimed = world.database.run(
        lambda tx: pending_decisions.claim(tx, owner="one", lease=timedelta(seconds=90))
    )
    assert claimed is not None
    assert claimed.version_id == first.id
    assert claimed.asked_at == NOW + 2 * MINUTE


def test_the_router_is_told_as_soon_as_an_evaluation_has_committed(world: World) -> None:
    """Both loops sleep for an hour: nothing but a wake-up gets them to turn."""
    version, told = ill(world), threading.Event()

    class Heard(Engine):
        def apply(self, route: Route) -> None:
            Engine.apply(self, route)
            told.set()

    router, pulse = Heard(), Pulse(every=HOUR)
    breaker = with_router(world, router).alone
    deciding = Deciding(breaker=breaker)
    confirming = Confirming(database=world.database, router=router, log=breaker.changes)
    ready, turned = threading.Event(), threading.Semaphore(0)

    def decide() -> bool:
        more = deciding.turn()
        turned.release()
        return more

    decides = Loop("decide", decide, pulse=pulse, every=HOUR)
    confirms = Loop("confirm", lambda: bool(confirming.turn()), pulse=pulse, every=HOUR)
    breaker.changes.wake = confirms.wake

    def heard(_payload: str) -> None:
        ready.set()
        decides.wake()

    with ExitStack() as stack:
        stack.callback(pulse.stop)
        wakeups = WakeUps(world.database)
        wakeups.on(DECISIONS, heard)
        wakeups.start()
        stack.callback(wakeups.stop)
        decides.start()
        confirms.start()
        assert ready.wait(PATIENCE)
        assert turned.acquire(timeout=PATIENCE)
        ask(world, version, evidence())
        assert told.wait(PATIENCE)

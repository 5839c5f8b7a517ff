"""Guards of actions beyond evidence and budgets: is Driftline to be believed, did it help."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa

from alerts.types import Blame, VerdictKind
from monitor.domain import ArmKind, VerdictSeverity, Version
from monitor.policy import Memory
from monitor.store.evaluation import verdicts
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.tables.references import references
from monitor.store.traffic.actions import ActionKind, ActionState
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.fallback.decision import Decision, DecisionKind
from monitor.traffic.fallback.gate_names import Gate
from tests.fleet import NOW, register, verdict
from tests.traffic.stage import (
    CRITICAL,
    DRIFTING,
    MINUTE,
    Engine,
    World,
    evidence,
    executing,
    reroute,
    with_router,
)

# --- whether Driftline is to be believed --------------------------------------------------


def refused(world: World, decision: Decision, words: str) -> None:
    assert (decision.kind, decision.gate) == (DecisionKind.BLOCK, Gate.SELF_HEALTH)
    assert words in decision.reason
    assert world.states() == ["blocked"]
    assert world.weights() == {"v7": 1.0}


def ill(world: World) -> Version:
    version = world.adapter()
    world.judge(version, CRITICAL)
    return version


def test_a_detector_that_fails_blocks(world: World) -> None:
    v7 = ill(world)
    with world.database.begin() as tx:
        verdicts.put(
            tx,
            version_id=v7.id,
            verdict=verdict(CRITICAL),
            memory=Memory(failures={"entropy": 2}),
            size=None,
        )
    refused(
        world,
        world.breaker.consider(v7, evidence(), now=NOW),
        "these checks of it fail: token entropy",
    )


@pytest.mark.parametrize("kind", ["no_data", "error"])
def test_an_open_incident_of_its_own_sight_blocks_and_one_that_is_over_does_not(
    world: World, kind: str
) -> None:
    v7 = ill(world)

    def put(*, closed_at: datetime | None) -> None:
        update = IncidentUpdate(
            number=1,
            phase="firing" if closed_at is None else "ok",
            state={},
            severity=VerdictSeverity.TICKET,
            blame=Blame.UNKNOWN,
            summary="",
            opened_at=NOW,
            closed_at=closed_at,
        )
        with world.database.begin() as tx:
            incidents.put(tx, StoredKey.of(v7, kind), update)

    put(closed_at=None)
    refused(
        world,
        world.breaker.consider(v7, evidence(), now=NOW),
        {"error": "Driftline cannot check it", "no_data": "it sends no records"}[kind],
    )
    put(closed_at=NOW)
    assert world.breaker.consider(v7, evidence(), now=NOW).kind is DecisionKind.EXECUTE


def test_a_reference_younger_than_a_window_blocks(world: World) -> None:
    v7 = ill(world)
    with world.database.begin() as tx:
        tx.execute(
            references.insert().values(
                version_id=v7.id, generation=1, state="ready", source="freeze", cause="",
                created_by="ann", ready_at=NOW - 14 * MINUTE,
            )
        )  # fmt: skip
    refused(
        world, world.breaker.consider(v7, evidence(), now=NOW), "its reference is only 14 min old"
    )
    assert world.breaker.consider(v7, evidence(), now=NOW + MINUTE).kind is DecisionKind.EXECUTE


@pytest.mark.parametrize("seconds", [-3600, 3600])
def test_a_clock_that_differs_from_the_databases_blocks(world: World, seconds: float) -> None:
    v7 = ill(world)
    skew = timedelta(seconds=seconds)
    wrong = replace(world.breaker, clock=lambda: datetime.now(UTC) + skew)
    refused(world, wrong.consider(v7, evidence(), now=NOW), "from the database's")


@pytest.mark.parametrize("kind", [ActionKind.FALLBACK, ActionKind.RETURN])
def test_a_verdict_that_nobody_has_looked_at_for_two_windows_moves_nothing(
    world: World, kind: ActionKind
) -> None:
    v7 = world.adapter()
    if kind is ActionKind.RETURN:
        world.break_down(v7)
    before = world.weights()
    begun = executing(world, v7, kind)
    with world.database.begin() as tx:
        old = {"then": NOW - 31 * MINUTE}
        tx.execute(sa.text("UPDATE verdicts SET updated_at = :then"), old)
    done = world.breaker.carry_out(begun.id, now=NOW)
    assert (done.state, world.weights()) == (ActionState.EXPIRED, before)
    assert done.reason == "v7 was judged 31 min ago (at most 30 min)"


# --- whether it helped --------------------------------------------------------------------


@pytest.mark.parametrize("kind", [DRIFTING, CRITICAL])
def test_a_target_that_fires_within_two_windows_has_not_helped_and_nothing_else_is_done(
    world: World, kind: VerdictKind
) -> None:
    with world.database.begin() as tx:
        register(tx, "support", "v5")
        register(tx, "support", "v6", parent="v5")
    v7 = world.adapter()
    world.break_down(v7)
    later = NOW + 31 * MINUTE  # past the cool-down, so that it is not what stops
    v6 = world.version("v6")
    world.judge(v6, kind, since=later)
    decision = world.breaker.consider(v6, evidence(at=later), now=later)
    assert decision.kind is DecisionKind.NOTHING
    assert world.states() == ["verify_failed"]
    assert world.actions()[0].reason == f"v6 is {kind.value} 31 min after it got the traffic"
    assert world.weights() == {"v7": 0.0, "v6": 1.0}
    with world.database.begin() as tx:
        said = world.breaker.doubt(tx, v7)
    worse = f"v6 is {kind.value} 31 min after it got the traffic"
    assert said == f"the move of the traffic of v7 to v6 did not help: {worse}"
    # and it stays so, whatever the router says, until a person has looked
    assert world.breaker.reconcile(now=later + MINUTE) == 0
    reroute(world)
    with world.database.begin() as tx:
        assert world.breaker.doubt(tx, v7) is None


def test_what_is_not_its_fault_or_comes_later_says_nothing_of_the_move(world: World) -> None:
    v7 = world.adapter()
    world.break_down(v7)
    world.judge(world.version("v6"), CRITICAL, since=NOW + MINUTE, blame=Blame.INPUT)
    assert world.breaker.reconcile(now=NOW + 2 * MINUTE) == 0
    late = NOW + 46 * MINUTE
    world.judge(world.version("v6"), CRITICAL, since=late)
    assert world.breaker.reconcile(now=late) == 0
    assert world.states() == ["verified"]


def test_a_router_that_is_not_read_in_time_has_not_verified_until_it_says_so(
    world: World,
) -> None:
    v7 = world.adapter()
    engine = Engine(mute=True)
    breaker = with_router(world, engine)
    world.judge(v7, CRITICAL)
    breaker.consider(v7, evidence(), now=NOW)
    assert world.states() == ["applied"]
    breaker.reconcile(now=NOW + timedelta(seconds=30))
    assert world.states() == ["verify_failed"]
    assert world.actions()[0].reason == "not within 30 s: not read back yet: no answer"
    with world.database.begin() as tx:
        assert breaker.doubt(tx, v7) is not None
    engine.mute = False
    breaker.reconcile(now=NOW + MINUTE)
    assert world.states() == ["verified"]
    with world.database.begin() as tx:
        assert breaker.doubt(tx, v7) is None


# --- the audit ----------------------------------------------------------------------------


@pytest.mark.parametrize("act", ["action.executing", "route.changed", "action.applied"])
def test_what_cannot_be_written_down_is_not_done(world: World, act: str) -> None:
    """Refuse one kind of audit entry: its whole step is undone, and no router hears of it."""
    v7 = world.adapter()
    engine = Engine()
    with world.database.begin() as tx:
        tx.execute(
            sa.text(f"ALTER TABLE audit ADD CONSTRAINT full_disk CHECK (act <> '{act}') NOT VALID")
        )
    world.judge(v7, CRITICAL)
    with pytest.raises(sa.exc.IntegrityError):
        with_router(world, engine).consider(v7, evidence(), now=NOW)
    assert (world.weights(), engine.applied) == ({"v7": 1.0}, 0)
    assert set(world.states()) <= {ActionState.EXECUTING.value}
    with world.database.begin() as tx:
        tx.execute(sa.text("ALTER TABLE audit DROP CONSTRAINT full_disk"))
    with_router(world, engine).reconcile(now=NOW + MINUTE)
    assert set(world.states()) <= {"expired"}
    assert (world.weights(), engine.applied) == ({"v7": 1.0}, 0)


# --- what a person has said since ---------------------------------------------------------


@pytest.mark.parametrize(("ago", "kind"), [(5, DecisionKind.BLOCK), (1, DecisionKind.EXECUTE)])
def test_a_persons_route_is_overridden_only_by_what_was_measured_since(
    world: World, ago: int, kind: DecisionKind
) -> None:
    v7 = ill(world)
    with world.database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)],
            expected_generation=1,
            reason="the right weights are back",
            actor="ann",
            now=NOW - 3 * MINUTE,
        )
    measured = replace(evidence(), measured_from=NOW - ago * MINUTE)
    decision = world.breaker.consider(v7, measured, now=NOW)
    assert decision.kind is kind
    if kind is DecisionKind.BLOCK:
        assert decision.gate is Gate.PERSON
        assert decision.reason.startswith("ann set the route at ")
        assert world.states() == ["blocked"]
        assert world.weights() == {"v7": 1.0}

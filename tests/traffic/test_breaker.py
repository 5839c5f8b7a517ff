from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from alerts.message import Done
from alerts.types import Blame, VerdictKind
from monitor.domain import ActionId, ArmKind, Mode, VerdictSeverity, Version
from monitor.outbox.deeds import done
from monitor.store import audit
from monitor.store.errors import NotFound
from monitor.store.incidents import incidents
from monitor.store.incidents.incidents import IncidentUpdate, StoredKey
from monitor.store.registry import versions
from monitor.store.tables.traffic import canaries
from monitor.store.traffic import actions, flags, routes
from monitor.store.traffic.actions import ActionKind, ActionRow, ActionState
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.fallback.breaker import ActionNotOpen
from monitor.traffic.fallback.decision import Decision, DecisionKind
from monitor.traffic.fallback.gate_names import Gate
from monitor.traffic.killswitch import FILE
from monitor.traffic.settings import RoutingSettings
from tests.fleet import NOW, register
from tests.traffic.stage import (
    CRITICAL,
    DRIFTING,
    MINUTE,
    STABLE,
    Engine,
    World,
    evidence,
    executing,
    reroute,
    with_router,
)

# --- away ---------------------------------------------------------------------------------


def test_in_auto_a_critical_version_loses_its_traffic_to_the_previous_one(world: World) -> None:
    v7 = world.adapter()
    decision = world.break_down(v7)
    assert decision.kind is DecisionKind.EXECUTE
    assert world.weights() == {"v7": 0.0, "v6": 1.0}
    assert [(arm.arm, arm.model) for arm in world.route().arms] == [
        (ArmKind.STABLE, "support@v7"),
        (ArmKind.FALLBACK, "support@v6"),
    ]
    (action,) = world.actions()
    assert action.state is ActionState.VERIFIED
    assert action.evidence["n"] == 412
    with world.database.begin() as tx:
        acts = [entry.act for entry in audit.newest(tx)]
    assert acts[:4] == ["action.verified", "action.applied", "route.changed", "action.executing"]


@pytest.mark.parametrize(
    ("mode", "kind", "state"),
    [
        (Mode.OBSERVE, DecisionKind.RECOMMEND, ActionState.RECOMMENDED),
        (Mode.APPROVE, DecisionKind.ASK, ActionState.AWAITING_APPROVAL),
    ],
)
def test_other_modes_write_down_what_they_would_do_and_touch_nothing(
    world: World, mode: Mode, kind: DecisionKind, state: ActionState
) -> None:
    world.mode = mode
    v7 = world.adapter()
    assert world.break_down(v7).kind is kind
    again = world.breaker.consider(v7, evidence(at=NOW + MINUTE), now=NOW + MINUTE)
    assert again.kind is kind
    (action,) = world.actions()
    assert action.state is state
    assert action.evidence["at"] == (NOW + MINUTE).isoformat()
    assert world.weights() == {"v7": 1.0}


def test_the_adapters_own_mode_wins_over_the_services(world: World) -> None:
    v7 = world.adapter()
    with world.database.begin() as tx:
        tx.execute(sa.text("UPDATE adapters SET mode = 'observe'"))
    assert world.break_down(v7).kind is DecisionKind.RECOMMEND


def test_without_allowed_evidence_nothing_is_stored(world: World) -> None:
    v7 = world.adapter()
    world.judge(v7, CRITICAL)
    decision = world.breaker.consider(v7, evidence(allowed=False), now=NOW)
    assert decision.kind is DecisionKind.NOTHING
    assert world.actions() == []


def test_an_evaluation_that_finds_nothing_new_adds_no_second_action(world: World) -> None:
    v7 = world.adapter()
    world.break_down(v7)
    decision = world.breaker.consider(v7, evidence(), now=NOW + MINUTE)
    assert (decision.kind, decision.gate) == (DecisionKind.NOTHING, Gate.TRAFFIC)
    assert len(world.actions()) == 1


@pytest.mark.parametrize("kind", [STABLE, DRIFTING, VerdictKind.ERROR])
def test_evidence_does_not_act_against_the_stored_verdict(world: World, kind: VerdictKind) -> None:
    v7 = world.adapter()
    world.judge(v7, kind)
    decision = world.breaker.consider(v7, evidence(), now=NOW)
    assert (decision.kind, decision.gate) == (DecisionKind.NOTHING, Gate.VERDICT)


def blocked(world: World, decision: Decision, gate: Gate) -> None:
    assert (decision.kind, decision.gate) == (DecisionKind.BLOCK, gate), decision.reason
    assert world.actions()[0].state is ActionState.BLOCKED
    assert set(world.weights().values()) == {1.0}


def test_old_evidence_is_refused(world: World) -> None:
    v7 = world.adapter()
    world.judge(v7, CRITICAL)
    late = NOW + timedelta(minutes=31)
    blocked(world, world.breaker.consider(v7, evidence(), now=late), Gate.AGE)


def test_a_block_that_lasts_is_written_down_once(world: World) -> None:
    v7 = world.adapter()
    world.judge(v7, CRITICAL)
    for minute in range(31, 41):
        world.breaker.consider(v7, evidence(), now=NOW + minute * MINUTE)
    assert world.states() == ["blocked"]


def test_a_person_who_holds_the_route_is_not_overruled(world: World) -> None:
    v7 = world.adapter()
    with world.database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)],
            expected_generation=1,
            reason="leave it",
            actor="ann",
            now=NOW,
            hold_until=NOW + timedelta(hours=1),
        )
    blocked(world, world.break_down(v7), Gate.HOLD)
    after = NOW + timedelta(hours=1)
    assert world.break_down(v7, now=after).kind is DecisionKind.EXECUTE


def test_an_open_fleet_incident_of_its_base_stops_what_is_automatic_only(world: World) -> None:
    v7 = world.adapter()
    update = IncidentUpdate(
        number=1,
        phase="firing",
        state={},
        severity=VerdictSeverity.TICKET,
        blame=Blame.BASE,
        summary="2 of 8 adapters",
        opened_at=NOW,
        closed_at=None,
    )
    with world.database.begin() as tx:
        elsewhere = incidents.put(tx, StoredKey.on("another-base", "drift"), update)
        own = incidents.put(tx, StoredKey.on("", "drift"), update)
    decision = world.break_down(v7)
    blocked(world, decision, Gate.FLEET_INCIDENT)
    assert decision.reason == f"the base or its engine changed (fleet incident {own} is open)"
    assert elsewhere != own
    # a person may still move the adapter that stands apart
    world.mode = Mode.APPROVE
    assert world.break_down(v7, now=NOW + timedelta(minutes=1)).kind is DecisionKind.ASK
    waiting = world.actions()[0]
    world.breaker.approve(waiting.id, actor="ann", now=NOW + timedelta(minutes=2))
    assert world.weights() == {"v7": 0.0, "v6": 1.0}


@pytest.mark.parametrize("kind", [CRITICAL, DRIFTING])
def test_a_target_that_is_itself_ill_is_no_target(world: World, kind: VerdictKind) -> None:
    v7 = world.adapter()
    world.judge(world.version("v6"), kind, since=NOW - timedelta(days=3))
    decision = world.break_down(v7)
    blocked(world, decision, Gate.TARGET)
    assert decision.reason == f"the other versions are unfit: v6 is {kind.value}"


def by_hand(world: World, *, stable: float, until: datetime) -> None:
    """Ann shares the traffic between v7 and v6; routers follow her until then, then v7's arm."""
    with world.database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[
                ArmRequest(arm=ArmKind.STABLE, version="v7", weight=stable),
                ArmRequest(arm=ArmKind.FALLBACK, version="v6", weight=1 - stable),
            ],
            expected_generation=1,
            reason="for a while",
            actor="ann",
            now=NOW - 2 * MINUTE,
            valid_until=until,
        )


def test_an_expired_route_is_judged_by_what_routers_do_since(world: World) -> None:
    v7 = world.adapter()
    by_hand(world, stable=0.0, until=NOW - MINUTE)
    decision = world.break_down(v7)
    assert decision.kind is DecisionKind.EXECUTE
    assert world.weights() == {"v7": 0.0, "v6": 1.0}
    assert world.route().valid_until is None
    assert world.states() == ["verified"]


def test_a_version_that_a_valid_route_leaves_out_has_nothing_to_lose(world: World) -> None:
    v7 = world.adapter()
    by_hand(world, stable=0.0, until=NOW + MINUTE)
    decision = world.break_down(v7)
    assert (decision.kind, decision.gate) == (DecisionKind.NOTHING, Gate.TRAFFIC)
    assert world.route().generation == 2


def test_a_target_that_no_engine_serves_is_no_target(world: World) -> None:
    v7 = world.adapter()
    world.served = lambda model: model != "support@v6"
    decision = world.break_down(v7)
    blocked(world, decision, Gate.TARGET)
    assert "v6 is not served" in decision.reason


def test_the_bare_base_model_is_the_last_resort(world: World) -> None:
    with world.database.begin() as tx:
        known = register(tx, "support", "v7")
        tx.execute(sa.text("UPDATE versions SET base_model = 'llama'"))
        v7 = versions.fetch_by_id(tx, known.id)
        table.start(tx, v7, actor="ann", now=NOW - timedelta(days=1))
    world.served = lambda model: model != "llama"
    assert world.break_down(v7).gate is Gate.TARGET
    world.served = lambda model: True  # noqa: ARG005
    assert world.break_down(v7).kind is DecisionKind.EXECUTE
    assert [(arm.version, arm.model, arm.weight) for arm in world.route().arms] == [
        ("v7", "support@v7", 0.0),
        ("base", "llama", 1.0),
    ]
    with world.database.begin() as tx:
        base = versions.fetch(tx, adapter="support", name="base")
        (said,) = [entry for entry in audit.newest(tx) if entry.act == "version.put"]
    assert base is not None
    assert base.base_model is None
    assert said.details["reason"] == "support@v7 has nothing else to fall back to"


def test_a_previous_version_goes_before_the_base(world: World) -> None:
    v7 = world.adapter()
    with world.database.begin() as tx:
        tx.execute(sa.text("UPDATE versions SET base_model = 'llama'"))
        register(tx, "support", "base")
        tx.execute(sa.text("UPDATE versions SET model = 'llama' WHERE name = 'base'"))
        v7 = versions.fetch_by_id(tx, v7.id)
    world.break_down(v7)
    assert world.weights() == {"v7": 0.0, "v6": 1.0}


def test_a_version_that_was_rolled_back_as_a_canary_is_no_target(world: World) -> None:
    v7, v6 = world.adapter(), world.version("v6")
    with world.database.begin() as tx:
        tx.execute(
            canaries.insert().values(
                adapter_id=v7.adapter_id, version_id=v6.id, control_id=v7.id, plan={}, state={},
                phase="rolled_back", latched=True, guards={}, created_by="ann", ended_at=NOW,
            )
        )  # fmt: skip
    decision = world.break_down(v7)
    blocked(world, decision, Gate.TARGET)
    assert "v6 was rolled back as a canary" in decision.reason


def test_without_a_parent_the_version_that_was_in_charge_before_takes_over(
    world: World,
) -> None:
    with world.database.begin() as tx:
        old = register(tx, "support", "v5")
        new = register(tx, "support", "v7")
        table.start(tx, old, actor="ann", now=NOW - timedelta(days=9))
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)],
            expected_generation=1,
            reason="promoted",
            actor="ann",
            now=NOW - timedelta(days=1),
        )
    world.break_down(new)
    assert world.weights() == {"v7": 0.0, "v5": 1.0}


def test_two_bad_versions_do_not_hand_the_traffic_to_each_other(world: World) -> None:
    v7 = world.adapter()
    world.break_down(v7)
    world.judge(v7, STABLE, since=NOW)  # looks healthy without traffic, has not returned yet
    later = NOW + timedelta(hours=2)
    decision = world.break_down(world.version("v6"), now=later)
    assert (decision.kind, decision.gate) == (DecisionKind.BLOCK, Gate.TARGET)
    assert world.weights() == {"v7": 0.0, "v6": 1.0}


# --- budgets and common causes ------------------------------------------------------------


def test_the_fourth_fallback_of_the_fleet_within_an_hour_is_refused(world: World) -> None:
    names = ["one", "two", "three", "four"]
    fleet = [world.adapter(name) for name in names]
    # An hour of single failures, far enough apart not to be a common cause.
    kinds = [
        world.break_down(version, now=NOW + 16 * index * MINUTE).gate
        for index, version in enumerate(fleet)
    ]
    assert kinds == [None, None, None, Gate.FLEET_BUDGET]


def reinstate(world: World, now: datetime) -> Version:
    """A person puts v7 back by registering it as a new version that also breaks."""
    generation = world.route().generation
    with world.database.begin() as tx:
        version = register(tx, "support", f"v{10 + generation}", parent="v6")
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=ArmKind.STABLE, version=version.name, weight=1.0)],
            expected_generation=generation,
            reason="a new try",
            actor="ann",
            now=now,
        )
    return version


def test_an_adapter_cools_down_and_has_two_fallbacks_a_day(world: World) -> None:
    world.break_down(world.adapter())
    gates = []
    for minutes in (20, 40, 100, 23 * 60 + 59, 24 * 60 + 41):
        now = NOW + minutes * MINUTE
        gates.append(world.break_down(reinstate(world, now), now=now).gate)
    # 20 min: cooling down. 40 min: the second one. Then spent, until the first is a day old;
    # at 24 h 41 min the second one (at 40 min) is too.
    assert gates == [Gate.COOL_DOWN, None, Gate.ADAPTER_BUDGET, Gate.ADAPTER_BUDGET, None]


def test_twenty_adapters_that_break_together_move_no_traffic(world: World) -> None:
    fleet = [world.adapter(f"adapter-{number}") for number in range(20)]
    for version in fleet:  # the whole fleet was looked at a minute before
        world.looked_at(version, at=NOW - MINUTE)
    for version in fleet:  # found one after the other, as evaluations come in
        world.judge(version, CRITICAL, blame=Blame.UNKNOWN)
        world.breaker.consider(version, evidence(), now=NOW)
    for hours in (0, 1, 5):  # and again, long after the cycle
        now = NOW + timedelta(hours=hours)
        for version in fleet:
            world.breaker.consider(version, evidence(at=now), now=now)
    assert set(world.states()) == {"blocked"}
    gates = {action.evidence["gate"] for action in world.actions()}
    assert gates == {"fleet_unseen", "common_cause"}
    assert all(world.weights(f"adapter-{number}") == {"v7": 1.0} for number in range(20))


def test_one_of_twenty_breaks_and_moves_once_the_others_were_seen(world: World) -> None:
    fleet = [world.adapter(f"adapter-{number}") for number in range(20)]
    for version in fleet[1:]:
        world.judge(version, STABLE)
    world.judge(fleet[0], CRITICAL, blame=Blame.UNKNOWN)
    assert world.breaker.consider(fleet[0], evidence(), now=NOW).kind is DecisionKind.EXECUTE


# --- the kill switch ----------------------------------------------------------------------


def test_the_kill_switch_stops_automatic_actions_by_flag_and_by_file(world: World) -> None:
    v7 = world.adapter()
    with world.database.begin() as tx:
        flags.set_kill_switch(tx, on=True, reason="drill", actor="ann")
    blocked(world, world.break_down(v7), Gate.KILL_SWITCH)
    with world.database.begin() as tx:
        flags.set_kill_switch(tx, on=False, reason="over", actor="ann")
    (world.folder / FILE).touch()
    blocked(world, world.break_down(v7), Gate.KILL_SWITCH)


def test_a_switch_set_while_an_action_is_under_way_still_stops_it(world: World) -> None:
    v7 = world.adapter()
    begun = executing(world, v7)
    with world.database.begin() as tx:
        flags.set_kill_switch(tx, on=True, reason="drill", actor="ann")
    done = world.breaker.carry_out(begun.id, now=NOW)
    assert done.state is ActionState.BLOCKED
    assert world.weights() == {"v7": 1.0}


def test_a_switch_set_stops_what_a_person_approves(world: World) -> None:
    world.mode = Mode.APPROVE
    world.break_down(world.adapter())
    (world.folder / FILE).touch()
    (waiting,) = world.actions()
    done = world.breaker.approve(waiting.id, actor="ann", now=NOW)
    assert done.state is ActionState.BLOCKED
    assert world.weights() == {"v7": 1.0}


# --- approval -----------------------------------------------------------------------------


@pytest.fixture(params=[Mode.OBSERVE, Mode.APPROVE])
def waiting(world: World, request: pytest.FixtureRequest) -> ActionRow:
    world.mode = request.param
    world.break_down(world.adapter())
    (action,) = world.actions()
    return action


def test_an_approved_action_is_done_in_the_persons_name(world: World, waiting: ActionRow) -> None:
    done = world.breaker.approve(waiting.id, actor="ann", now=NOW + MINUTE)
    assert (done.state, done.actor) == (ActionState.VERIFIED, "ann")
    assert world.weights() == {"v7": 0.0, "v6": 1.0}
    with pytest.raises(ActionNotOpen) as refused:
        world.breaker.approve(waiting.id, actor="bob", now=NOW + MINUTE)
    assert refused.value.state is ActionState.VERIFIED


def test_an_unknown_action_cannot_be_approved(world: World) -> None:
    with pytest.raises(NotFound):
        world.breaker.approve(ActionId(404), actor="ann", now=NOW)


def recover(world: World) -> None:
    world.judge(world.version("v7"), STABLE)


def sicken_target(world: World) -> None:
    world.judge(world.version("v6"), CRITICAL, since=NOW - timedelta(days=3))


def unload_target(world: World) -> None:
    world.served = lambda model: model != "support@v6"


@pytest.mark.parametrize(
    ("happening", "minutes", "words"),
    [
        pytest.param(recover, 1, "the verdict of v7 is stable now", id="recovered"),
        pytest.param(reroute, 1, "the route has been changed", id="rerouted"),
        pytest.param(sicken_target, 1, "no longer fit", id="target ill"),
        pytest.param(unload_target, 1, "not served", id="target unloaded"),
        pytest.param(lambda world: None, 31, "what was found is 31 min old", id="stale"),  # noqa: ARG005
    ],
)
def test_an_approval_that_comes_too_late_expires_with_the_reason(
    world: World,
    waiting: ActionRow,
    happening: Callable[[World], None],
    minutes: int,
    words: str,
) -> None:
    happening(world)
    done = world.breaker.approve(waiting.id, actor="ann", now=NOW + minutes * MINUTE)
    assert done.state is ActionState.EXPIRED
    assert words in done.reason
    assert world.weights() == {"v7": 1.0}


def test_what_nobody_approved_expires_once_it_is_over(world: World, waiting: ActionRow) -> None:
    assert world.breaker.reconcile(now=NOW + MINUTE) == 0
    recover(world)
    assert world.breaker.reconcile(now=NOW + MINUTE) == 1
    with world.database.begin() as tx:
        assert actions.fetch(tx, waiting.id).state is ActionState.EXPIRED


# --- back ---------------------------------------------------------------------------------


WHOLE = RoutingSettings(trial_share=1.0)
"""Traffic returns without a trial; see `test_trial.py` for trials."""


@pytest.fixture
def moved(world: World) -> Version:
    """v7 has lost its traffic to v6."""
    world.settings = WHOLE
    v7 = world.adapter()
    world.break_down(v7)
    return v7


LATER = NOW + timedelta(hours=1)


def test_traffic_does_not_return_to_a_version_that_nobody_can_judge(
    world: World, moved: Version
) -> None:
    world.judge(moved, VerdictKind.BLIND, since=NOW + MINUTE)
    waits = world.breaker.consider_return(moved, now=LATER)
    assert waits.kind is DecisionKind.NOTHING
    assert "blind" in waits.reason
    assert world.weights() == {"v7": 0.0, "v6": 1.0}


def test_a_blind_version_is_no_fallback(world: World) -> None:
    v7 = world.adapter()
    world.judge(world.version("v6"), VerdictKind.BLIND)
    refused = world.break_down(v7)
    assert refused.gate is Gate.TARGET
    assert "v6 is blind" in refused.reason
    assert world.weights() == {"v7": 1.0}


@pytest.mark.parametrize("kind", [STABLE, VerdictKind.INSUFFICIENT])
def test_traffic_returns_after_the_hold_although_the_adapter_cools_down(
    world: World, moved: Version, kind: VerdictKind
) -> None:
    world.settings = replace(WHOLE, return_hold=10 * MINUTE, cool_down=timedelta(days=9))
    world.judge(moved, kind, since=NOW + MINUTE)
    early = world.breaker.consider_return(moved, now=NOW + 10 * MINUTE)
    assert (early.kind, early.gate) == (DecisionKind.NOTHING, Gate.HOLD)
    on_time = world.breaker.consider_return(moved, now=NOW + 11 * MINUTE)
    assert on_time.kind is DecisionKind.EXECUTE
    assert world.weights() == {"v7": 1.0}
    assert world.route().generation == 3
    with world.database.begin() as tx:
        reasons = [row.route.reason for row in routes.history(tx, "support")]
    assert reasons[0].startswith("return: recovered 10 min ago")
    newest = world.actions()[0]
    assert (newest.kind, newest.state) == (ActionKind.RETURN, ActionState.VERIFIED)
    said = world.database.run(lambda tx: done(tx, moved, since=NOW - timedelta(hours=1)))
    assert said is not None
    until = f"{NOW + 11 * MINUTE:%H:%M} UTC"
    assert said.text.endswith(f"by the router; v6 served from {NOW:%H:%M} UTC to {until}")


def test_a_return_under_way_is_not_begun_again(world: World, moved: Version) -> None:
    begun = executing(world, moved, ActionKind.RETURN)
    decision = world.breaker.consider_return(moved, now=LATER)
    assert (decision.kind, decision.gate) == (DecisionKind.NOTHING, Gate.UNFINISHED)
    assert world.breaker.carry_out(begun.id, now=LATER).state is ActionState.VERIFIED
    assert world.weights() == {"v7": 1.0}
    assert world.states() == ["verified", "verified"]


def test_a_version_that_returned_may_be_a_target_again(world: World, moved: Version) -> None:
    world.judge(moved, STABLE)
    world.breaker.consider_return(moved, now=LATER)
    with world.database.begin() as tx:
        assert actions.abandoned_versions(tx, moved.adapter_id) == frozenset()


@pytest.mark.parametrize("kind", [CRITICAL, DRIFTING, VerdictKind.ERROR, VerdictKind.LEARNING])
def test_traffic_stays_away_until_the_version_has_recovered(
    world: World, moved: Version, kind: VerdictKind
) -> None:
    world.judge(moved, kind)
    decision = world.breaker.consider_return(moved, now=LATER)
    assert (decision.kind, decision.gate) == (DecisionKind.NOTHING, Gate.VERDICT)


def test_a_version_that_nobody_serves_does_not_return(world: World, moved: Version) -> None:
    world.judge(moved, STABLE)
    world.served = lambda model: model != "support@v7"
    assert world.breaker.consider_return(moved, now=LATER).kind is DecisionKind.NOTHING


def test_what_a_person_routed_a_person_routes_back(world: World) -> None:
    v7 = world.adapter()
    with world.database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[
                ArmRequest(arm=ArmKind.STABLE, version="v7", weight=0.0),
                ArmRequest(arm=ArmKind.FALLBACK, version="v6", weight=1.0),
            ],
            expected_generation=1,
            reason="by hand",
            actor="ann",
            now=NOW,
        )
    world.judge(v7, STABLE)
    decision = world.breaker.consider_return(v7, now=LATER)
    assert decision.kind is DecisionKind.NOTHING
    assert "set by ann" in decision.reason


def test_in_observe_a_return_is_recommended(world: World, moved: Version) -> None:
    world.mode = Mode.OBSERVE
    world.judge(moved, STABLE)
    for _ in range(2):
        assert world.breaker.consider_return(moved, now=LATER).kind is DecisionKind.RECOMMEND
    assert world.states() == ["recommended", "verified"]
    done = world.breaker.approve(world.actions()[0].id, actor="ann", now=LATER)
    assert done.state is ActionState.VERIFIED
    assert world.weights() == {"v7": 1.0}


def test_the_kill_switch_also_stops_a_return(world: World, moved: Version) -> None:
    world.judge(moved, STABLE)
    (world.folder / FILE).touch()
    decision = world.breaker.consider_return(moved, now=LATER)
    assert (decision.kind, decision.gate) == (DecisionKind.BLOCK, Gate.KILL_SWITCH)
    assert world.weights() == {"v7": 0.0, "v6": 1.0}


# --- crashes and routers that lie ---------------------------------------------------------


def test_an_action_that_died_before_the_route_changed_is_not_sent_again(world: World) -> None:
    v7 = world.adapter()
    begun = executing(world, v7)
    assert world.breaker.reconcile(now=NOW + MINUTE / 3) == 0  # it may still be under way
    assert world.breaker.reconcile(now=NOW + MINUTE) == 1
    with world.database.begin() as tx:
        assert actions.fetch(tx, begun.id).state is ActionState.EXPIRED
    assert world.weights() == {"v7": 1.0}
    assert world.breaker.consider(v7, evidence(), now=NOW + MINUTE).kind is DecisionKind.EXECUTE


def test_while_an_action_is_under_way_there_is_no_second(world: World) -> None:
    v7 = world.adapter()
    executing(world, v7)
    decision = world.breaker.consider(v7, evidence(), now=NOW)
    assert (decision.kind, decision.gate) == (DecisionKind.NOTHING, Gate.UNFINISHED)


@pytest.mark.parametrize("kind", [STABLE, DRIFTING])
def test_a_verdict_that_changed_before_execution_expires_the_action(
    world: World, kind: VerdictKind
) -> None:
    v7 = world.adapter()
    begun = executing(world, v7)
    world.judge(v7, kind)
    assert world.breaker.carry_out(begun.id, now=NOW).state is ActionState.EXPIRED
    assert world.weights() == {"v7": 1.0}


def test_a_route_that_a_person_changed_meanwhile_is_not_overwritten(world: World) -> None:
    v7 = world.adapter()
    begun = executing(world, v7)
    reroute(world)
    assert world.breaker.carry_out(begun.id, now=NOW).state is ActionState.EXPIRED
    assert world.route().reason == "touched"


def test_a_router_that_lies_is_found_out_and_not_trusted_again(world: World) -> None:
    v7 = world.adapter()
    engine = Engine(deaf=True)
    breaker = with_router(world, engine)
    world.judge(v7, CRITICAL)
    breaker.consider(v7, evidence(), now=NOW)
    assert world.states() == ["verify_failed"]
    assert engine.applied == 1


def test_an_answer_that_is_lost_is_settled_by_reading_back(world: World) -> None:
    v7 = world.adapter()
    engine = Engine(fails=True)
    world.judge(v7, CRITICAL)
    with_router(world, engine).consider(v7, evidence(), now=NOW)
    assert (world.states(), engine.applied) == (["verified"], 1)


def test_a_router_that_cannot_be_read_is_read_later_and_not_told_twice(world: World) -> None:
    v7 = world.adapter()
    engine = Engine(mute=True)
    breaker = with_router(world, engine)
    world.judge(v7, CRITICAL)
    breaker.consider(v7, evidence(), now=NOW)
    assert world.states() == ["applied"]
    engine.mute = False
    assert breaker.reconcile(now=NOW + MINUTE) == 1
    assert (world.states(), engine.applied) == (["verified"], 1)


def test_a_crash_between_the_table_and_the_router_is_made_good_once(world: World) -> None:
    v7 = world.adapter()
    begun = executing(world, v7)
    engine = Engine()
    breaker = with_router(world, engine)
    breaker._execution.apply(begun.id, now=NOW)  # noqa: SLF001 - the half that another thread does
    assert engine.applied == 0  # died here
    breaker.reconcile(now=NOW + MINUTE)
    breaker.reconcile(now=NOW + 2 * MINUTE)
    assert (world.states(), engine.applied) == (["verified"], 1)


# --- messages -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("mode", "done", "text"),
    [
        (Mode.AUTO, Done.TAKEN, "moving 100 % of traffic to v6"),
        (Mode.OBSERVE, Done.RECOMMENDED, "move 100 % of traffic to v6"),
    ],
)
def test_a_message_can_say_what_is_about_to_happen(
    world: World, mode: Mode, done: Done, text: str
) -> None:
    world.mode = mode
    v7 = world.adapter()
    world.judge(v7, CRITICAL)
    with world.database.begin() as tx:
        line = world.breaker.preview(tx, v7, evidence(), now=NOW)
        silent = world.breaker.preview(tx, v7, evidence(allowed=False), now=NOW)
    assert line is not None
    assert (line.done, line.text) == (done, text)
    assert silent is None
    assert world.actions() == []


def test_the_first_page_sends_nobody_past_a_stop_that_is_no_mere_brake(world: World) -> None:
    v7 = world.adapter()
    world.judge(v7, CRITICAL)
    with world.database.begin() as tx:
        flags.set_kill_switch(tx, on=True, reason="drill", actor="ann")
        first = world.breaker.preview(tx, v7, evidence(), now=NOW)
    world.break_down(v7)
    with world.database.begin() as tx:
        later = done(tx, v7, since=NOW - MINUTE)
    for line in (first, later):
        assert line is not None
        assert (line.done, line.target) == (Done.BLOCKED, "")
        assert line.instead == "Ask who set the kill switch before you send traffic away."

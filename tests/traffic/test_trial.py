"""Trials: a version that has recovered answers a trickle before it gets its traffic back."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest
import sqlalchemy as sa

from alerts.types import Blame, VerdictKind
from monitor.domain import ArmKind, Mode, Version
from monitor.store import partitions
from monitor.store.traffic import actions
from monitor.store.traffic.actions import ActionKind
from monitor.traffic.arms import effective
from monitor.traffic.fallback.decision import Decision, DecisionKind
from monitor.traffic.fallback.gate_names import Gate
from monitor.traffic.killswitch import FILE
from monitor.views.reading import breaker
from monitor.views.route import BreakerBody
from tests.fleet import NOW
from tests.traffic.stage import CRITICAL, DRIFTING, MINUTE, STABLE, World, evidence

HOUR = timedelta(hours=1)
BEGUN = NOW + HOUR
"""When the trial begins: v7 broke at NOW, and has been stable for more than half an hour."""


@pytest.fixture
def moved(world: World) -> Version:
    """v7 has lost its traffic to v6, and its probes found it unchanged twice since."""
    v7 = world.adapter()
    world.break_down(v7)
    world.judge(v7, STABLE, since=NOW + MINUTE)
    return v7


@pytest.fixture
def on_trial(world: World, moved: Version) -> Version:
    assert world.breaker.consider_return(moved, now=BEGUN).action is ActionKind.TRIAL
    return moved


def answer(world: World, version: Version, count: int, *, at: datetime) -> None:
    """Let the version have answered so many requests, all at one moment."""
    with world.database.begin() as tx:
        partitions.ensure(tx, {at.date()}, tables=("records",))
        context = tx.execute(
            sa.text("INSERT INTO contexts (source, stratum) VALUES ('test', :at) RETURNING id"),
            {"at": at.isoformat()},
        ).scalar_one()
        tx.execute(
            sa.text(
                "INSERT INTO records (id, adapter_id, version_id, at, context_id, sample_prob)"
                " SELECT gen_random_uuid()::text, :adapter, :version, :at, :context, 1"
                " FROM generate_series(1, :count) AS n"
            ),
            {
                "adapter": version.adapter_id,
                "version": version.id,
                "at": at,
                "count": count,
                "context": context,
            },
        )


def look(world: World, version: Version, now: datetime) -> Decision:
    return world.breaker.consider_return(version, now=now)


def test_a_recovered_version_gets_a_trickle_with_a_term(world: World, on_trial: Version) -> None:
    assert world.weights() == {"v7": 0.1, "v6": 0.9}
    route = world.route()
    assert (route.valid_until, route.on_expiry) == (BEGUN + timedelta(days=1), ArmKind.FALLBACK)
    after = effective(route, BEGUN + timedelta(days=1))
    assert {arm.version: arm.weight for arm in after.arms} == {"v7": 0.0, "v6": 1.0}
    assert world.states() == ["verified", "verified"]
    with world.database.begin() as tx:  # on trial it is nobody's fallback
        assert actions.abandoned_versions(tx, on_trial.adapter_id) == {"v7"}


def test_it_returns_after_the_hold_and_over_enough_records(world: World, on_trial: Version) -> None:
    answer(world, on_trial, 49, at=BEGUN + MINUTE)
    early = look(world, on_trial, BEGUN + HOUR - MINUTE)
    assert early.reason == "on trial for 59 min of 60 min"
    few = look(world, on_trial, BEGUN + HOUR)
    assert (few.kind, few.gate) == (DecisionKind.NOTHING, Gate.HOLD)
    assert few.reason == "49 of 50 requests on trial"
    answer(world, on_trial, 1, at=BEGUN + HOUR)
    done = look(world, on_trial, BEGUN + HOUR + MINUTE)
    assert (done.kind, done.action) == (DecisionKind.EXECUTE, ActionKind.RETURN)
    assert world.weights() == {"v7": 1.0}
    assert (world.route().valid_until, world.route().on_expiry) == (None, ArmKind.STABLE)


@pytest.mark.parametrize("kind", [DRIFTING, CRITICAL])
def test_a_version_that_fires_again_loses_the_trickle_and_waits_twice_as_long(
    world: World, on_trial: Version, kind: VerdictKind
) -> None:
    fired = BEGUN + 10 * MINUTE
    world.judge(on_trial, kind, since=fired)
    ended = look(world, on_trial, fired)
    assert (ended.kind, ended.action) == (DecisionKind.EXECUTE, ActionKind.END_TRIAL)
    assert world.weights() == {"v7": 0.0, "v6": 1.0}
    world.judge(on_trial, STABLE, since=fired + MINUTE)
    early = look(world, on_trial, fired + 60 * MINUTE)
    assert early.reason == "recovered 59 min ago, waits for 60 min"
    # two fallbacks in a day: nobody could end another trial before the first is a day old
    spent = look(world, on_trial, fired + 62 * MINUTE)
    assert (spent.kind, spent.gate) == (DecisionKind.BLOCK, Gate.ADAPTER_BUDGET)
    assert look(world, on_trial, NOW + timedelta(days=1, minutes=1)).action is ActionKind.TRIAL


def test_evidence_strong_enough_for_a_fallback_ends_a_trial_too(
    world: World, on_trial: Version
) -> None:
    now = BEGUN + MINUTE  # long before the cool-down is over
    world.judge(on_trial, CRITICAL, since=now)
    decision = world.breaker.consider(on_trial, evidence(at=now), now=now)
    assert decision.action is ActionKind.END_TRIAL
    assert world.weights() == {"v7": 0.0, "v6": 1.0}


@pytest.mark.parametrize("blame", [Blame.INPUT, Blame.BASE, Blame.SERVING])
def test_what_is_not_its_fault_neither_ends_a_trial_nor_completes_it(
    world: World, on_trial: Version, blame: Blame
) -> None:
    answer(world, on_trial, 100, at=BEGUN + MINUTE)
    world.judge(on_trial, CRITICAL, since=BEGUN + MINUTE, blame=blame)
    decision = look(world, on_trial, BEGUN + 2 * HOUR)
    assert (decision.kind, decision.gate) == (DecisionKind.NOTHING, Gate.VERDICT)
    assert world.weights() == {"v7": 0.1, "v6": 0.9}


def test_an_expired_trial_is_begun_anew_and_keeps_what_it_has_gathered(
    world: World, on_trial: Version
) -> None:
    answer(world, on_trial, 30, at=BEGUN + MINUTE)
    again = BEGUN + timedelta(days=1, minutes=1)
    assert look(world, on_trial, again).action is ActionKind.TRIAL
    assert world.weights() == {"v7": 0.1, "v6": 0.9}
    answer(world, on_trial, 20, at=again + MINUTE)
    assert look(world, on_trial, again + HOUR).action is ActionKind.RETURN


def test_a_trial_whose_fallback_is_ill_as_well_is_left_to_its_term(
    world: World, on_trial: Version
) -> None:
    world.judge(world.version("v6"), DRIFTING, since=BEGUN)
    world.judge(on_trial, DRIFTING, since=BEGUN)
    decision = look(world, on_trial, BEGUN + MINUTE)
    assert (decision.kind, decision.gate) == (DecisionKind.BLOCK, Gate.TARGET)
    assert "v6 is drifting" in decision.reason


def test_the_kill_switch_stops_the_end_of_a_trial_and_its_term_does_not_need_it(
    world: World, on_trial: Version
) -> None:
    (world.folder / FILE).touch()
    world.judge(on_trial, CRITICAL, since=BEGUN)
    decision = look(world, on_trial, BEGUN + MINUTE)
    assert (decision.kind, decision.gate) == (DecisionKind.BLOCK, Gate.KILL_SWITCH)
    assert effective(world.route(), BEGUN + timedelta(days=1)).arms[0].weight == 0.0


def test_a_trial_waits_for_a_person_where_the_mode_says_so(world: World, moved: Version) -> None:
    world.mode = Mode.APPROVE
    assert look(world, moved, BEGUN).kind is DecisionKind.ASK
    assert world.weights() == {"v7": 0.0, "v6": 1.0}
    world.breaker.approve(world.actions()[0].id, actor="ann", now=BEGUN)
    assert world.weights() == {"v7": 0.1, "v6": 0.9}


def test_the_share_of_a_trial_is_the_configs(world: World, moved: Version) -> None:
    world.settings = replace(world.settings, trial_share=0.25)
    look(world, moved, BEGUN)
    assert world.weights() == {"v7": 0.25, "v6": 0.75}


def test_people_can_read_where_the_breaker_stands(world: World) -> None:
    def read(adapter: str, *, now: datetime) -> BreakerBody | None:
        with world.database.begin() as tx:
            return breaker.read(
                tx, adapter, settings=world.settings, default_mode=world.mode, now=now
            )

    def standing(now: datetime) -> tuple[str, str, int, str]:
        found = read("support", now=now)
        assert found is not None
        return (found.state, found.answering, found.fallbacks, found.reason)

    assert read("unknown", now=NOW) is None
    v7 = world.adapter()
    assert standing(NOW) == ("healthy", "v7", 0, "not evaluated yet")
    world.mode = Mode.OBSERVE
    world.break_down(v7)
    said = "evidence says critical; mode observe: a person decides"
    assert standing(NOW) == ("degraded", "v7", 0, said)
    world.mode = Mode.AUTO
    world.breaker.consider(v7, evidence(), now=NOW)
    assert standing(NOW) == ("fallback", "v6", 1, "the verdict is critical")
    world.judge(v7, STABLE, since=NOW + MINUTE)
    assert standing(NOW + 11 * MINUTE)[3] == "recovered 10 min ago, waits for 30 min"
    look(world, v7, BEGUN)
    assert standing(BEGUN + MINUTE) == ("half_open", "v6", 1, "on trial for 60 s of 60 min")

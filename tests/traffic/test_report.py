"""What Driftline would have done, and what came of it."""

from datetime import timedelta
from pathlib import Path

import pytest

from monitor.domain import Adapter, AdapterId, Mode
from monitor.store.database import Database
from monitor.store.evaluation import verdicts
from monitor.traffic.killswitch import FILE
from monitor.traffic.settings import RoutingSettings
from monitor.views.action import ActionReportBody
from monitor.views.reading import action as reading
from tests.fleet import NOW, transition
from tests.traffic.stage import CRITICAL, MINUTE, STABLE, World, executing, reroute

DAY = timedelta(days=1)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database=database, folder=tmp_path, mode=Mode.OBSERVE)


def report(world: World, adapter: Adapter | None = None, *, days: int = 14) -> ActionReportBody:
    with world.database.begin() as tx:
        return reading.report(tx, adapter, settings=world.settings, days=days, now=NOW + 10 * DAY)


def test_three_episodes_in_observe_are_three_actions_with_what_happened_after(
    world: World,
) -> None:
    v7 = world.adapter()
    for day in (0, 3, 6):
        world.break_down(v7, now=NOW + day * DAY)
        world.breaker.reconcile(now=NOW + day * DAY + MINUTE)
        if day == 3:
            with world.database.begin() as tx:  # it recovered by itself
                verdicts.add_transition(
                    tx, transition(v7, STABLE, before=CRITICAL), evaluation_id=None
                )
        world.judge(v7, STABLE, since=NOW + day * DAY + 2 * MINUTE)
        world.breaker.reconcile(now=NOW + day * DAY + 3 * MINUTE)
    reroute(world)
    found = report(world)
    assert (found.would_have_acted, found.summary) == (3, "would have acted 3 times in 14 days")
    assert [one.at for one in found.items] == [NOW, NOW + 3 * DAY, NOW + 6 * DAY]
    assert [one.state for one in found.items] == ["expired"] * 3
    assert found.items[0].after[-1] == "not recovered so far: stable"
    assert (found.taken, dict(found.blocked), found.complete) == (0, {}, True)
    other = Adapter(id=AdapterId(404), name="other", created_at=NOW)
    assert report(world, other).items == []
    assert report(world, days=5).items[0].at == NOW + 6 * DAY


def test_what_became_of_a_recommendation_is_told(world: World) -> None:
    v7 = world.adapter()
    world.break_down(v7, now=NOW - 5 * MINUTE)
    action = world.actions()[0]
    world.breaker.approve(action.id, actor="ann", now=NOW - 4 * MINUTE)
    with world.database.begin() as tx:  # at NOW
        verdicts.add_transition(tx, transition(v7, STABLE, before=CRITICAL), evaluation_id=None)
    (one,) = report(world).items
    assert one.after == ("approved by ann: verified", "stable again 0:05:00 later")
    assert one.kept_by is None


def test_a_person_who_routes_instead_is_named(world: World) -> None:
    v7 = world.adapter()
    world.break_down(v7, now=NOW - 5 * MINUTE)
    reroute(world)
    (one,) = report(world).items
    assert one.after[0] == "bob set another route 0:05:00 later"


def test_budgets_count_as_they_would_in_auto(world: World) -> None:
    v7 = world.adapter()
    for minutes in (0, 20, 40, 100, 24 * 60 + 1):
        world.break_down(v7, now=NOW + minutes * MINUTE)
    found = report(world)
    assert [one.kept_by for one in found.items] == [
        None, "cool_down", None, "adapter_budget", None,
    ]  # fmt: skip
    assert found.would_have_acted == 3


def test_the_fleets_budget_counts_over_all_adapters(world: World) -> None:
    for number, name in enumerate(["one", "two", "three", "four"]):
        world.break_down(world.adapter(name), now=NOW + 16 * number * MINUTE)
    rows = world.actions()[::-1]  # oldest first
    assert [one.action for one in report(world).items] == [row.id for row in rows]
    assert reading.kept_by(rows, RoutingSettings()) == [None, None, None, "fleet_budget"]
    assert reading.kept_by(rows[:0], RoutingSettings()) == []


def test_what_is_refused_is_counted_by_its_gate(world: World) -> None:
    world.served = lambda model: model != "support@v6"
    world.break_down(world.adapter())
    found = report(world)
    assert (found.items, found.blocked) == ([], {"target": 1})


def test_what_had_begun_when_the_kill_switch_was_set_counts_as_its(world: World) -> None:
    begun = executing(world, world.adapter())
    (world.folder / FILE).touch()
    world.breaker.carry_out(begun.id, now=NOW)
    assert report(world).blocked == {"kill_switch": 1}

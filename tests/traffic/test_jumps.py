"""Automatic moves of traffic after the database's clock has jumped by months."""

from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from monitor.domain import ArmKind
from monitor.store import clock
from monitor.store.clock import Clock, Watcher
from monitor.store.database import Database
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.fallback.decision import DecisionKind
from monitor.traffic.fallback.gate_names import Gate
from monitor.traffic.settings import RoutingSettings
from tests.fleet import NOW
from tests.traffic.stage import MINUTE, STABLE, World

MONTHS = timedelta(days=120)
HOUR = timedelta(hours=1)


@pytest.fixture
def world(database: Database, tmp_path: Path) -> World:
    return World(database, tmp_path, settings=RoutingSettings(cycle=MINUTE))


def jump(world: World, by: timedelta, *, at: datetime) -> None:
    """A worker has seen that the clock, which now says ``at``, moved by so much."""
    known = Clock(seen=at, steady_since=at, jumped=by, reached=NOW, reached_at=NOW)
    with world.database.begin() as tx:
        Watcher().look(tx)
        clock.write(tx, known)


def test_a_hold_that_the_clock_jumped_past_holds_for_a_day(world: World) -> None:
    """Before, it was over, and traffic moved against what a person wanted."""
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
            hold_until=NOW + HOUR,
        )
    jump(world, MONTHS, at=NOW + MONTHS)
    assert world.break_down(v7, now=NOW + MONTHS + 2 * HOUR).gate is Gate.HOLD
    later = world.break_down(v7, now=NOW + MONTHS + 25 * HOUR)
    assert later.kind is DecisionKind.EXECUTE


@pytest.mark.parametrize("by", [MONTHS, -MONTHS])
def test_a_version_has_recovered_for_as_long_as_the_clock_has_surely_run(
    world: World, by: timedelta
) -> None:
    """Before, ahead it got its traffic back at once; back, not for four months."""
    world.settings = replace(world.settings, return_hold=10 * MINUTE, trial_share=1.0)
    v7 = world.adapter()
    world.break_down(v7)
    world.judge(v7, STABLE, since=NOW + MINUTE)
    then = NOW + 2 * MINUTE + by
    jump(world, by, at=then)
    early = world.breaker.consider_return(v7, now=then + 9 * MINUTE)
    assert (early.kind, early.gate) == (DecisionKind.NOTHING, Gate.HOLD)
    on_time = world.breaker.consider_return(v7, now=then + 10 * MINUTE)
    assert on_time.kind is DecisionKind.EXECUTE, on_time.reason


def test_a_fallback_by_a_clock_that_was_ahead_cools_down_from_its_return_on(world: World) -> None:
    """Before, the adapter cooled down until that time came again."""
    v7 = world.adapter()
    world.break_down(v7)
    with world.database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)],
            expected_generation=2,
            reason="again",
            actor="ann",
            now=NOW,
        )
    then = NOW - MONTHS
    jump(world, -MONTHS, at=then)
    assert world.break_down(v7, now=then + 20 * MINUTE).gate is Gate.COOL_DOWN
    assert world.break_down(v7, now=then + 31 * MINUTE).kind is DecisionKind.EXECUTE

"""A canary whose database's clock jumps by months: nothing of it ends by that."""

from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.store import clock, partitions
from monitor.store.clock import Clock
from monitor.store.database import Database
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import Pause, Phase
from tests.traffic.trial.conftest import HOUR, MINUTE, NOW, Trial

MONTHS = timedelta(days=120)
FAST = CanarySettings(
    signals=("mean_nll", "refusal"),
    weights=(0.2, 0.5),
    lasts=(2 * HOUR, HOUR),
    read_back=timedelta(),
)


class Jumping(Trial):
    """A trial whose clock the test moves, as a worker sees it ten seconds later."""

    def jump(self, by: timedelta) -> None:
        self.now += by
        known = Clock(seen=self.now, steady_since=self.now, jumped=by, reached=NOW, reached_at=NOW)
        days = {(self.now + timedelta(days=n)).date() for n in range(-1, 3)}

        def work(tx: sa.Connection) -> None:
            partitions.ensure(tx, days, tables=("records", "feedback"))
            tx.execute(
                sa.text(
                    "INSERT INTO flags (name, value, actor) VALUES ('clock', '{}', 'x')"
                    " ON CONFLICT DO NOTHING"
                )
            )
            clock.write(tx, known)
            # as clock.rewind does
            tx.execute(
                sa.text("UPDATE canaries SET next_look_at = :now WHERE next_look_at IS NOT NULL"),
                {"now": self.now},
            )

        self.database.run(work)


@pytest.fixture
def trial(database: Database, tmp_path: Path) -> Jumping:
    return Jumping(database=database, folder=tmp_path, settings=FAST)


@pytest.mark.parametrize("course", [(MONTHS,), (-MONTHS,), (MONTHS, -MONTHS), (-MONTHS, MONTHS)])
def test_a_step_begins_again_at_a_jump_and_keeps_what_it_measured(
    trial: Jumping, course: tuple[timedelta, ...]
) -> None:
    """Before, ahead it was rolled back and latched; back, it stood still for four months."""
    canary = trial.start()
    trial.pass_by(1.5, every=15 * MINUTE, per_hour=6000)
    for by in course:
        seen = trial.row(canary).carried["latest"]["feedback.solved"]["information"]
        trial.jump(by)
        trial.look()
        state = trial.state(canary)
        assert (state.phase, state.latched) == (Phase.RUNNING, False), state.reason
        assert trial.weights() == {"v7": 0.8, "v8": 0.2}
        until = trial.route().valid_until
        assert until is not None
        assert HOUR / 2 <= until - trial.now <= HOUR
        trial.pass_by(0.5, every=15 * MINUTE, per_hour=6000)
        assert trial.state(canary).step == 0  # before the jump its two hours would be over now
        assert trial.row(canary).carried["latest"]["feedback.solved"]["information"] > seen
    trial.pass_by(1.75, every=15 * MINUTE, per_hour=6000)
    assert trial.state(canary).step == 1
    trial.pass_by(1.25, every=15 * MINUTE, per_hour=6000)
    assert trial.state(canary).phase is Phase.SUCCEEDED, trial.state(canary).reason


@pytest.mark.parametrize("by", [MONTHS, -MONTHS])
def test_a_canary_that_is_worse_goes_back_whatever_the_clock_does(
    trial: Jumping, by: timedelta
) -> None:
    canary = trial.start()
    trial.pass_by(0.25, every=15 * MINUTE, per_hour=400, worse=0.3)
    trial.jump(by)
    trial.look()
    trial.pass_by(2, every=15 * MINUTE, per_hour=3000, worse=0.3)
    state = trial.state(canary)
    assert (state.phase, state.latched) == (Phase.ROLLED_BACK, True)
    assert "solved (feedback) worse by" in state.reason


@pytest.mark.parametrize("by", [MONTHS, -MONTHS])
def test_a_canary_that_nobody_can_see_after_a_jump_goes_back_in_its_time(
    trial: Jumping, by: timedelta
) -> None:
    canary = trial.start()
    trial.pass_by(1, every=15 * MINUTE, per_hour=6000)
    trial.jump(by)
    trial.pass_by(0.75, every=15 * MINUTE)
    assert trial.state(canary).phase in {Phase.RUNNING, Phase.PAUSED}
    trial.pass_by(0.5, every=15 * MINUTE)
    assert trial.state(canary).phase is Phase.ROLLED_BACK


def test_a_persons_term_and_hold_outlast_a_jump_by_a_day(trial: Jumping) -> None:
    canary = trial.start()
    trial.pass_by(0.25, every=15 * MINUTE, per_hour=6000)
    with trial.database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[
                ArmRequest(arm=arm.arm, version=arm.version, weight=arm.weight)
                for arm in trial.route().arms
            ],
            expected_generation=trial.route().generation,
            reason="by hand",
            actor="bob",
            now=trial.now,
            valid_until=trial.now + 6 * HOUR,
            hold_until=trial.now + 6 * HOUR,
        )
    trial.jump(MONTHS)
    trial.pass_by(3, every=15 * MINUTE, per_hour=6000)
    state = trial.state(canary)
    assert (state.phase, state.pause, state.step) == (Phase.PAUSED, Pause.PERMISSION, 0)
    assert "the route is held" in state.reason
    trial.pass_by(22, every=HOUR, per_hour=1000)
    assert trial.state(canary).phase is Phase.SUPERSEDED

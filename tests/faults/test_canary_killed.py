"""F20 and F23 of canaries: daemons killed round the router call, and the kill switch.

As for actions: at most one effective change of each generation, its end known by reading
back, and all of it in the audit. The router is the product's own, over a socket.
"""

import multiprocessing
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path

import pytest

from monitor.store import audit
from monitor.store.database import Database
from monitor.traffic.killswitch import FILE, KillSwitch
from monitor.traffic.readback import Confirming
from monitor.traffic.trial.changes import TrialChanges
from monitor.traffic.trial.hands import Hands
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import OrderKind, Pause, Phase
from tests.faults.switchboard import Fatal, Switchboard, Temper, line
from tests.traffic.trial.conftest import HOUR, Trial

FORK = multiprocessing.get_context("fork")
DIES_BEFORE_CALL = "before the call"
FAST = CanarySettings(
    signals=("mean_nll", "refusal"),
    weights=(0.2, 0.5),
    lasts=(HOUR, HOUR),
    read_back=timedelta(),
)


@pytest.fixture
def board() -> Iterator[Switchboard]:
    with Switchboard() as opened:
        yield opened


@pytest.fixture
def trial(database: Database, tmp_path: Path, board: Switchboard) -> Trial:
    return Trial(database=database, folder=tmp_path, settings=FAST, router=board.line())  # type: ignore[arg-type]  # a real one


def daemon(database: str, trial: Trial, board: str, point: str) -> None:
    """A process of its own that asks the router, and dies at the point."""
    hands = Hands(
        database=Database(database),
        settings=trial.settings,
        mode=trial.mode,
        kill_switch=KillSwitch(trial.folder, {}),
        served=lambda _model: True,
        promoted=lambda *_args, **_kwargs: None,
    )
    router = Fatal() if point == DIES_BEFORE_CALL else line(board)
    log = TrialChanges(hands=hands)
    Confirming(database=hands.database, router=router, log=log).turn(now=trial.now)


@pytest.mark.parametrize("point", [DIES_BEFORE_CALL, Temper.KILLS_BEFORE, Temper.KILLS_AFTER])
def test_a_daemon_killed_while_it_tells_of_a_rollback_changes_traffic_once(
    trial: Trial, board: Switchboard, point: str
) -> None:
    canary = trial.start()
    trial.orders.order(canary.id, OrderKind.ABORT, by="ann", now=trial.now)
    if isinstance(point, Temper):
        board.temper = point
    url = trial.database.engine.url.render_as_string(hide_password=False)
    child = FORK.Process(target=daemon, args=(url, trial, board.url, point))
    child.start()
    child.join(timeout=60)
    assert child.exitcode == -9, "it was killed where the test meant it to be"
    assert trial.state(canary).phase is Phase.ROLLING_BACK, "nobody has read it back yet"
    board.temper = Temper.HONEST
    trial.look()
    assert trial.state(canary).phase is Phase.ROLLED_BACK
    assert line(board.url).read_back("support") == trial.route().arms
    assert board.changes == {("support", 2): 1, ("support", 3): 1}
    with trial.database.begin() as tx:
        acts = [entry.act for entry in audit.newest(tx, subject="support@v8")]
    assert acts == ["canary.rolled_back", "canary.rolling_back", "canary.running", "canary.made"]


@pytest.mark.parametrize("temper", [Temper.REFUSES, Temper.LIES, Temper.LATE])
def test_a_router_that_misbehaves_is_found_out_by_reading_back_and_told_until_it_obeys(
    trial: Trial, board: Switchboard, temper: Temper
) -> None:
    canary = trial.start()
    trial.orders.order(canary.id, OrderKind.ABORT, by="ann", now=trial.now)
    board.temper = temper
    trial.router = board.line()  # type: ignore[assignment]  # a real one
    trial.look()
    state = trial.state(canary)
    assert state.phase is Phase.ROLLING_BACK
    assert state.unverified == "the router sends 80 % to v7 (stable), 20 % to v8 (canary)"
    board.catch_up()
    board.temper = Temper.HONEST
    trial.look()
    assert trial.state(canary).phase is Phase.ROLLED_BACK
    assert board.changes == {("support", 2): 1, ("support", 3): 1}


def test_nothing_is_raised_or_promoted_after_the_switch_is_set(
    trial: Trial, board: Switchboard
) -> None:
    """Its route is renewed, which keeps the share where it is; the router hears of no other."""
    canary = trial.start()
    told = board.told.copy()
    (trial.folder / FILE).touch()
    trial.pass_by(1.5, every=HOUR / 2, per_hour=6000)
    state = trial.state(canary)
    assert (state.phase, state.pause) == (Phase.PAUSED, Pause.PERMISSION)
    assert "kill switch" in state.reason
    assert trial.weights() == {"v7": 0.8, "v8": 0.2}
    assert board.told == told

import contextlib
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any, TypeVar

import pytest
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.types import Blame, VerdictKind
from monitor.domain import ArmKind, Mode, VerdictSeverity
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.traffic import canaries, canary_looks
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest, effective
from monitor.traffic.killswitch import FILE
from monitor.traffic.trial.judge import Judge
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import NotPossible, OrderKind, Pause, Phase, TrialMove
from monitor.traffic.trial.transitions import PLACED
from tests.fleet import judge, register, verdict
from tests.traffic.trial.conftest import HOUR, MINUTE, NOW, Trial

T = TypeVar("T")

FAST = CanarySettings(
    signals=("mean_nll", "refusal"),
    weights=(0.2, 0.5),
    lasts=(HOUR, HOUR),
    read_back=timedelta(),
)


@pytest.fixture
def trial(database: Database, tmp_path: Path) -> Trial:
    return Trial(database=database, folder=tmp_path, settings=FAST)


def test_a_good_canary_is_promoted_by_what_both_arms_answered_at_once(trial: Trial) -> None:
    canary = trial.start()
    assert trial.weights() == {"v7": 0.8, "v8": 0.2}
    assert trial.route().valid_until == NOW + HOUR
    trial.pass_by(2.25, every=15 * MINUTE, per_hour=6000)
    state = trial.state(canary)
    assert state.phase is Phase.SUCCEEDED, state.reason
    assert trial.weights() == {"v8": 1.0}
    assert trial.route().valid_until is None
    assert trial.promoted == [trial.route()]
    assert trial.told.severities == []
    looked = [look for look in trial.looks(canary) if look.event == "looked"]
    assert [look.weight for look in looked if look.guards] == [0.2] * 3 + [0.5] * 4 + [1.0]
    named = {guard["name"]: guard for guard in looked[-1].guards or ()}
    hard = {"error", "empty", "non_finite", "training_text"}
    assert set(named) == {"feedback.solved", "mean_nll", "refusal", *hard}
    assert named["feedback.solved"]["hi"] < named["feedback.solved"]["margin"] == 0.05
    assert named["mean_nll"]["lo"] < named["mean_nll"]["value"] < named["mean_nll"]["hi"]


def test_a_bad_canary_is_rolled_back_told_and_latched_until_a_person_lets_it(trial: Trial) -> None:
    canary = trial.start()
    trial.pass_by(1, every=10 * MINUTE, per_hour=3000, worse=0.3)
    state = trial.state(canary)
    assert (state.phase, state.latched) == (Phase.ROLLED_BACK, True)
    assert "solved (feedback) worse by" in state.reason
    assert trial.weights() == {"v7": 1.0}
    assert trial.told.severities == [VerdictSeverity.TICKET]
    with trial.database.begin() as tx:
        assert canaries.latched(tx, canary.adapter_id) == {"v8": canary.id}
        acts = [entry.act for entry in audit.newest(tx, subject="support@v8")]
    assert acts == ["canary.rolled_back", "canary.rolling_back", "canary.running", "canary.made"]
    with pytest.raises(NotPossible, match=f"rolled back by canary {canary.id}"):
        trial.start()
    trial.order(canary, OrderKind.RESUME)
    assert trial.weights() == {"v7": 0.8, "v8": 0.2}
    assert trial.told.severities[-1] is VerdictSeverity.NONE
    trial.pass_by(0.5, every=10 * MINUTE, per_hour=3000)
    assert trial.state(canary).phase is Phase.RUNNING  # nothing of the first try counts


@pytest.mark.parametrize("how", [{"shift": 1.5}, {"errors": 0.05}])
def test_signals_and_failures_roll_back_as_feedback_does(
    trial: Trial, how: dict[str, float]
) -> None:
    canary = trial.start()
    trial.pass_by(1, every=10 * MINUTE, per_hour=3000, **how)
    assert trial.state(canary).phase is Phase.ROLLED_BACK
    assert ("answers less certain" if "shift" in how else "more errors") in trial.state(
        canary
    ).reason


def test_in_observe_it_only_says_what_it_would_do(trial: Trial) -> None:
    trial.mode = Mode.OBSERVE
    canary = trial.start()
    trial.pass_by(1, every=10 * MINUTE, per_hour=3000, worse=0.3)
    state = trial.state(canary)
    assert (state.pause, trial.weights()["v8"]) == (Pause.PERMISSION, 0.2)
    assert trial.told.severities == [VerdictSeverity.PAGE]
    assert "not rolled back: mode observe leaves it to a person" in trial.told.reasons[0]
    trial.order(canary, OrderKind.ABORT)
    assert trial.weights() == {"v7": 1.0}
    assert trial.told.severities == [VerdictSeverity.PAGE, VerdictSeverity.NONE]


def test_a_canary_may_have_a_mode_of_its_own_and_the_kill_switch_stops_it_too(trial: Trial) -> None:
    trial.mode = Mode.OBSERVE
    canary = trial.start(mode=Mode.AUTO)
    (trial.folder / FILE).touch()
    trial.pass_by(1, every=10 * MINUTE, per_hour=3000, worse=0.3)
    assert trial.state(canary).pause is Pause.PERMISSION
    with pytest.raises(NotPossible, match="kill switch"):
        trial.order(canary, OrderKind.PROMOTE, force=True)
    (trial.folder / FILE).unlink()
    trial.pass_by(1 / 6, every=10 * MINUTE, per_hour=3000, worse=0.3)
    assert trial.state(canary).phase is Phase.ROLLED_BACK


def test_nobody_answers_for_a_version_that_is_not_served(trial: Trial) -> None:
    trial.served = lambda model: False  # noqa: ARG005
    canary = trial.start()
    assert trial.weights() == {"v7": 1.0}
    assert trial.state(canary).reason == "not every engine serves it"
    trial.pass_by(1.25, every=15 * MINUTE)
    assert trial.state(canary).pause is Pause.PRECHECKS
    assert trial.told.severities == [VerdictSeverity.TICKET]
    trial.served = lambda model: True  # noqa: ARG005
    trial.order(canary, OrderKind.RESUME)
    assert trial.weights()["v8"] == 0.2


def test_a_firing_stable_arm_is_no_measure(trial: Trial) -> None:
    canary = trial.start()
    with trial.database.begin() as tx:
        judge(tx, trial.version("v7"), verdict(VerdictKind.CRITICAL, blame=Blame.ADAPTER))
    trial.pass_by(2, every=30 * MINUTE, per_hour=3000)
    state = trial.state(canary)
    assert (state.pause, state.weight) == (Pause.STABLE, 0.2)
    assert trial.told.severities == [VerdictSeverity.TICKET]


def test_a_version_that_its_own_verdict_speaks_against_is_raised_by_people_only(
    trial: Trial,
) -> None:
    canary = trial.start()
    with trial.database.begin() as tx:
        judge(tx, trial.version("v8"), verdict(VerdictKind.DRIFTING, blame=Blame.ADAPTER))
    trial.pass_by(1.5, every=30 * MINUTE, per_hour=3000)
    state = trial.state(canary)
    assert (state.pause, state.proposal, state.weight) == (Pause.PERMISSION, TrialMove.ADVANCE, 0.2)
    assert "v8 is drifting" in state.reason
    assert trial.told.severities == [VerdictSeverity.TICKET]
    trial.order(canary, OrderKind.RESUME)
    assert trial.weights()["v8"] == 0.5


def test_a_newer_version_takes_the_place_of_one_on_trial(trial: Trial) -> None:
    first = trial.start()
    with trial.database.begin() as tx:
        register(tx, "support", "v9")
    second = trial.start("v9")
    assert trial.state(first).phase is Phase.SUPERSEDED
    assert trial.weights() == {"v7": 0.8, "v9": 0.2}
    with trial.database.begin() as tx:
        dropped = canary_looks.drop(tx, ended_before=trial.now + MINUTE)
        assert canary_looks.drop(tx, ended_before=trial.now + MINUTE) == 0
    assert dropped == 2
    assert (trial.looks(first), len(trial.looks(second))) == ([], 1)


def test_a_route_that_a_person_changed_is_the_persons(trial: Trial) -> None:
    canary = trial.start()

    def put(
        *arms: tuple[ArmKind, str, float],
        until: datetime | None = None,
        held: datetime | None = None,
    ) -> None:
        with trial.database.begin() as tx:
            table.put(
                tx,
                "support",
                arms=[ArmRequest(arm=arm, version=name, weight=w) for arm, name, w in arms],
                expected_generation=trial.route().generation,
                reason="by hand",
                actor="bob",
                now=trial.now,
                valid_until=until,
                hold_until=held,
            )

    put((ArmKind.STABLE, "v7", 0.6), (ArmKind.CANARY, "v8", 0.4))
    trial.pass_by(0.5, every=15 * MINUTE, per_hour=3000)
    assert (trial.state(canary).pause, trial.weights()["v8"]) == (Pause.MANUAL, 0.4)
    trial.order(canary, OrderKind.RESUME)
    assert trial.weights()["v8"] == 0.2
    same = (ArmKind.STABLE, "v7", 0.8), (ArmKind.CANARY, "v8", 0.2)
    term = trial.route().valid_until
    put(*same, until=term, held=trial.now + HOUR)  # the canary's own term: it is put off
    trial.pass_by(0.75, every=15 * MINUTE, per_hour=3000)
    assert term is not None
    renewed = trial.route().valid_until
    assert renewed is not None
    assert renewed > term
    soon = trial.now + 20 * MINUTE
    put(*same, until=soon)  # the person's
    trial.pass_by(0.25, every=15 * MINUTE, per_hour=3000)
    kept = trial.state(canary)  # neither put off nor raised, though the hold is over
    assert (kept.pause, kept.proposal, kept.weight) == (Pause.PERMISSION, TrialMove.ADVANCE, 0.2)
    assert trial.route().valid_until == soon
    trial.pass_by(0.25, every=15 * MINUTE, per_hour=3000)
    ended = trial.state(canary)  # as the person wrote: that is nothing against the version
    assert (ended.phase, ended.latched) == (Phase.SUPERSEDED, False)
    assert f"until {soon:%H:%M} UTC, then all to v7" in ended.reason
    assert (trial.weights(), trial.route().valid_until) == ({"v7": 1.0}, None)
    again = trial.start()
    put((ArmKind.STABLE, "v7", 1.0))
    trial.pass_by(0.25, every=15 * MINUTE)
    assert trial.state(again).phase is Phase.SUPERSEDED
    assert trial.weights() == {"v7": 1.0}


def test_a_router_that_lies_keeps_the_weight_where_it_is_and_is_told(trial: Trial) -> None:
    canary = trial.start()
    trial.router.lies = True
    trial.pass_by(1, every=30 * MINUTE, per_hour=6000)
    state = trial.state(canary)
    assert (state.weight, state.step) == (0.5, 1)
    assert state.unverified == "the router sends 80 % to v7 (stable), 20 % to v8 (canary)"
    assert trial.told.severities == [VerdictSeverity.TICKET]
    trial.pass_by(1.5, every=45 * MINUTE, per_hour=3000)
    assert trial.state(canary).step == 1
    trial.router.lies = False
    trial.pass_by(0.5, every=30 * MINUTE, per_hour=3000)
    assert trial.state(canary).phase is Phase.SUCCEEDED


def test_a_rollback_that_cannot_be_read_back_pages_and_is_tried_again(trial: Trial) -> None:
    canary = trial.start()
    trial.router.fails = True
    trial.pass_by(1, every=10 * MINUTE, per_hour=3000, worse=0.3)
    assert trial.state(canary).phase is Phase.ROLLING_BACK
    assert trial.weights() == {"v7": 1.0}
    assert trial.told.severities[-1] is VerdictSeverity.PAGE
    trial.router.fails = False
    trial.now += 5 * MINUTE
    as_before = "UPDATE canaries SET state = state - 'unread_since', next_look_at = :now"
    with trial.database.begin() as tx:  # as versions stored it that had no such key
        tx.execute(sa.text(as_before), {"now": trial.now})
    trial.look()
    assert trial.state(canary).phase is Phase.ROLLED_BACK


@pytest.mark.parametrize("away", [40 * MINUTE, 61 * MINUTE])
def test_routers_alone_end_a_canary_that_nobody_watches(trial: Trial, away: timedelta) -> None:
    """The service is away: the table stays as it is, and what it says of itself expires."""
    canary = trial.start()
    before = trial.route()
    trial.now += away
    followed = {arm.version: arm.weight for arm in effective(before, trial.now).arms}
    assert followed == ({"v7": 0.8, "v8": 0.2} if away < HOUR else {"v7": 1.0, "v8": 0.0})
    trial.traffic(5 * MINUTE, per_hour=600)
    trial.look()
    expected = Phase.RUNNING if away < HOUR else Phase.ROLLED_BACK
    assert trial.state(canary).phase is expected
    assert effective(trial.route(), trial.now) == trial.route()


def test_a_canary_that_sends_no_records_any_more_is_blind(trial: Trial) -> None:
    canary = trial.start()
    trial.pass_by(0.5, every=30 * MINUTE, per_hour=2000)
    trial.pass_by(0.6)
    state = trial.state(canary)
    assert (state.pause, state.weight) == (Pause.BLIND, 0.2)
    assert trial.told.severities == [VerdictSeverity.TICKET]
    trial.pass_by(0.6)
    assert trial.state(canary).phase is Phase.ROLLED_BACK
    assert "not measured: the route expired" in trial.state(canary).reason


def test_records_that_never_came_are_missed_too(trial: Trial) -> None:
    trial.traffic(2 * HOUR, per_hour=6000)
    canary = trial.start()
    trial.pass_by(0.6)
    assert trial.state(canary).pause is Pause.BLIND
    assert "the last record came at 12:00 UTC" in trial.state(canary).reason


def test_two_judges_do_nothing_twice(trial: Trial) -> None:
    canary = trial.start()
    trial.now += 5 * MINUTE
    with trial.database.begin() as tx:
        lease = trial.settings.lease
        first = canaries.claim(tx, owner="one", lease=lease, phases=PLACED, now=trial.now)
        assert first is not None
        assert canaries.claim(tx, owner="two", lease=lease, phases=PLACED, now=trial.now) is None
    trial.order(canary, OrderKind.PAUSE)
    with trial.database.begin() as tx:
        assert canaries.held(tx, first[0]) is None  # what it would have done is void


def test_the_fleets_budget_of_rollbacks_asks_a_person(trial: Trial) -> None:
    trial.settings = replace(trial.settings, rollbacks=0)
    canary = trial.start()
    trial.pass_by(1, every=10 * MINUTE, per_hour=3000, worse=0.3)
    assert trial.state(canary).pause is Pause.BUDGET
    assert trial.told.severities == [VerdictSeverity.PAGE]


def test_a_shadow_is_judged_by_pairs_and_answers_nobody(trial: Trial) -> None:
    trial.settings = replace(trial.settings, shadow_lasts=2 * HOUR)
    canary = trial.start(shadow=True)
    assert {(a.version, a.arm.value, a.weight) for a in trial.route().arms} == {
        ("v7", "stable", 1.0),
        ("v8", "shadow", 0.0),
    }
    for _ in range(4):
        trial.now += 30 * MINUTE
        trial.mirror(150, solved=1.0, worse=0.0)
        trial.look()
    measured = [look for look in trial.looks(canary) if look.guards][-1]
    assert measured.trial_requests == measured.control_requests
    assert 590 < (measured.trial_requests or 0) <= 600  # the first came before it began
    assert trial.state(canary).phase is Phase.SUCCEEDED, trial.state(canary).reason
    assert trial.weights() == {"v8": 1.0}


def test_a_shadow_that_answers_worse_is_rolled_back(trial: Trial) -> None:
    canary = trial.start(shadow=True)
    trial.now += 30 * MINUTE
    trial.mirror(250, solved=1.0, worse=0.2)
    trial.look()
    assert trial.state(canary).phase is Phase.ROLLED_BACK
    assert "solved (feedback) worse by" in trial.state(canary).reason
    assert trial.weights() == {"v7": 1.0}


class Gone(Exception):  # noqa: N818 (named as what it is)
    """The store went away."""


@dataclass
class GoesAway:
    """A database that is gone from the ``after``-th transaction on."""

    database: Database
    after: int
    seen: int = 0

    def run(self, work: Callable[[Connection], T]) -> T:
        self.seen += 1
        if self.seen >= self.after:
            raise Gone
        return self.database.run(work)


@pytest.mark.parametrize("worse", [0.0, 0.3])
def test_wherever_the_store_goes_away_no_weight_is_raised_and_nothing_half_done(
    trial: Trial, worse: float
) -> None:
    trial.settings = replace(trial.settings, lease=timedelta(), weights=(0.2,), lasts=(HOUR,))
    canary = trial.start()
    weights = [0.2]
    for _ in range(2):
        trial.now += 30 * MINUTE
        trial.traffic(30 * MINUTE, per_hour=6000, worse=worse)
        for after in range(1, 9):
            gone: Any = GoesAway(trial.database, after)
            judge = Judge(hands=replace(trial.hands, database=gone), owner="test")
            with contextlib.suppress(Gone):
                judge.turn(now=trial.now)
            state = trial.state(canary)
            weights.append(trial.weights().get("v8", 0.0))
            assert weights[-1] == state.weight  # both or neither
    trial.look()
    if worse:
        assert trial.state(canary).phase is Phase.ROLLED_BACK
        assert weights == sorted(weights, reverse=True)
    else:
        assert trial.state(canary).phase is Phase.SUCCEEDED
        assert set(weights) == {0.2, 1.0}
    assert len(trial.promoted) == (0 if worse else 1)

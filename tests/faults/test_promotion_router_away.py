"""A promotion whose router stays away: people take it back, or go on to another version."""

from pathlib import Path

import pytest

from monitor.domain import ArmKind, VerdictSeverity, Version
from monitor.store import audit
from monitor.store.database import Database
from monitor.store.traffic.canaries import CanaryRow
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from monitor.traffic.killswitch import FILE
from monitor.traffic.trial.states import NotPossible, OrderKind, Phase
from tests.fleet import register
from tests.traffic.trial.conftest import MINUTE, Trial


@pytest.fixture
def trial(database: Database, tmp_path: Path) -> Trial:
    return Trial(database=database, folder=tmp_path)


@pytest.fixture
def promoted(trial: Trial) -> CanaryRow:
    """v8 is in charge by the table; the router has gone away and people were paged."""
    canary = trial.start()
    trial.router.fails = True
    trial.order(canary, OrderKind.PROMOTE, force=True)
    assert trial.state(canary).phase is Phase.PROMOTING
    assert trial.weights() == {"v8": 1.0}
    assert trial.told.severities[-1] is VerdictSeverity.PAGE
    return canary


def acts(trial: Trial) -> list[tuple[str, str]]:
    with trial.database.begin() as tx:
        return [(entry.act, entry.actor) for entry in audit.newest(tx, subject="support@v8")]


def test_one_that_is_aborted_gives_all_back_to_the_version_before(
    trial: Trial, promoted: CanaryRow
) -> None:
    (trial.folder / FILE).touch()  # the kill switch stops no person from taking it back
    trial.order(promoted, OrderKind.ABORT)
    state = trial.state(promoted)
    assert (state.phase, state.latched, state.weight) == (Phase.ROLLING_BACK, True, 0.0)
    assert trial.weights() == {"v7": 1.0}
    trial.router.fails = False
    trial.look()
    assert trial.state(promoted).phase is Phase.ROLLED_BACK
    assert trial.router.real["support"] == trial.route().arms
    assert trial.told.severities[-1] is VerdictSeverity.NONE
    assert acts(trial)[:3] == [
        ("canary.rolled_back", "driftline"),
        ("canary.rolling_back", "ann"),
        ("canary.promoting", "ann"),
    ]
    with trial.database.begin() as tx:
        written = [
            entry for entry in audit.newest(tx, subject="support") if entry.act == "route.changed"
        ]
    assert written[0].actor == "ann"
    assert "aborted by ann" in written[0].details["route"]["reason"]


def test_one_that_is_aborted_gives_all_back_to_whom_a_person_had_put_in_charge(
    trial: Trial,
) -> None:
    with trial.database.begin() as tx:
        register(tx, "support", "v9")
    canary = trial.start()
    with trial.database.begin() as tx:
        arms = [(ArmKind.STABLE, "v9", 0.8), (ArmKind.CANARY, "v8", 0.2)]
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=arm, version=name, weight=w) for arm, name, w in arms],
            expected_generation=trial.route().generation,
            reason="v7 is bad",
            actor="bob",
            now=trial.now,
        )
    trial.look()
    trial.router.fails = True
    trial.order(canary, OrderKind.PROMOTE, force=True)
    assert trial.weights() == {"v8": 1.0}
    trial.order(canary, OrderKind.ABORT)
    assert trial.weights() == {"v9": 1.0}


def test_one_that_is_superseded_stays_in_charge_beside_the_next(
    trial: Trial, promoted: CanaryRow
) -> None:
    with trial.database.begin() as tx:
        register(tx, "support", "v9")
    after = trial.start("v9")
    state = trial.state(promoted)
    assert state.phase is Phase.SUPERSEDED
    assert state.reason.startswith("superseded by v9, ann; in charge: promoted, forced by ann")
    assert acts(trial)[0] == ("canary.superseded", "ann")
    assert trial.row(after).control == "v8"
    assert trial.weights() == {"v8": 0.95, "v9": 0.05}
    trial.router.fails = False
    trial.look()
    assert trial.router.real["support"] == trial.route().arms


def test_what_a_person_routed_meanwhile_stays(trial: Trial, promoted: CanaryRow) -> None:
    by_hand(trial, register_v9(trial))
    trial.order(promoted, OrderKind.ABORT)
    assert trial.state(promoted).phase is Phase.ROLLING_BACK
    assert trial.weights() == {"v9": 1.0}
    trial.router.fails = False
    trial.look()
    assert trial.state(promoted).phase is Phase.ROLLED_BACK
    assert trial.weights() == {"v9": 1.0}


def register_v9(trial: Trial) -> Version:
    with trial.database.begin() as tx:
        return register(tx, "support", "v9")


def by_hand(trial: Trial, version: Version) -> None:
    with trial.database.begin() as tx:
        table.put(
            tx,
            "support",
            arms=[ArmRequest(arm=trial.route().arms[0].arm, version=version.name, weight=1.0)],
            expected_generation=trial.route().generation,
            reason="by hand",
            actor="bob",
            now=trial.now,
        )


def test_one_that_was_read_back_is_over_and_one_on_its_way_back_goes_on(
    trial: Trial, promoted: CanaryRow
) -> None:
    trial.order(promoted, OrderKind.ABORT)
    with pytest.raises(NotPossible, match="rolling back cannot be aborted"):
        trial.order(promoted, OrderKind.ABORT)
    trial.router.fails = False
    trial.now += MINUTE
    trial.look()
    with pytest.raises(NotPossible, match="rolled back cannot be aborted"):
        trial.order(promoted, OrderKind.ABORT)

from functools import partial
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.store import audit
from monitor.store.database import Database
from monitor.store.traffic import flags
from monitor.traffic.killswitch import FILE, VARIABLE, KillSwitch


def on(database: Database, folder: Path, environ: dict[str, str] | None = None) -> bool:
    switch = KillSwitch(folder, environ or {})
    readings = {database.run(partial(switch.read, hold=hold)).on for hold in (False, True)}
    assert len(readings) == 1  # held or not, it says the same
    return readings.pop()


def test_it_is_off_until_somebody_sets_it(database: Database, tmp_path: Path) -> None:
    assert not on(database, tmp_path)


@pytest.mark.parametrize("word", ["1", "on", "true", "yes", "please", "Off!", "2"])
def test_any_word_in_the_environment_not_known_to_mean_off_is_on(
    database: Database, tmp_path: Path, word: str
) -> None:
    assert on(database, tmp_path, {VARIABLE: word})


@pytest.mark.parametrize("word", ["", "0", "off", "OFF", " false ", "no"])
def test_words_that_mean_off_leave_it_off(database: Database, tmp_path: Path, word: str) -> None:
    assert not on(database, tmp_path, {VARIABLE: word})


def test_the_file_sets_it_whatever_it_holds(database: Database, tmp_path: Path) -> None:
    (tmp_path / FILE).touch()
    assert on(database, tmp_path)


def test_a_folder_that_cannot_be_read_counts_as_on(database: Database, tmp_path: Path) -> None:
    assert on(database, tmp_path / "missing")
    not_a_folder = tmp_path / "file"
    not_a_folder.touch()
    assert on(database, not_a_folder)


def test_the_flag_sets_and_clears_it_and_both_are_audited(
    database: Database, tmp_path: Path
) -> None:
    with database.begin() as tx:
        flag = flags.set_kill_switch(tx, on=True, reason="fire drill", actor="ann")
    assert (flag.on, flag.actor, flag.reason) == (True, "ann", "fire drill")
    assert on(database, tmp_path)
    with database.begin() as tx:
        flags.set_kill_switch(tx, on=False, reason="over", actor="ann")
        acts = [entry.act for entry in audit.newest(tx)]
    assert not on(database, tmp_path)
    assert acts == ["kill_switch.cleared", "kill_switch.set"]


@pytest.mark.parametrize("value", ["{}", "[]", "null", '"off"', '{"on": "no"}', '{"on": 0}'])
def test_a_flag_that_makes_no_sense_counts_as_on(
    database: Database, tmp_path: Path, value: str
) -> None:
    with database.begin() as tx:
        flags.set_kill_switch(tx, on=False, reason="", actor="ann")
        tx.execute(sa.text("UPDATE flags SET value = CAST(:value AS jsonb)"), {"value": value})
    assert on(database, tmp_path)

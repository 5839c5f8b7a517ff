"""A backup is a folder that nobody else reads; a restore fills what is empty, or nothing."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
import sqlalchemy as sa

from monitor.config.places import ServiceSection
from monitor.config.sections import Config, DatabaseSection
from monitor.daemon import backups
from monitor.daemon.backups import BackupFailed, back_up, restore
from monitor.domain import Scope
from monitor.store import audit, counts, schema
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.store.traffic import epochs
from monitor.traffic import table
from tests.fleet import NOW, register
from tests.migrations import release_with


@dataclass
class Place:
    """A database and a data folder, and the config that names both."""

    database: Database
    config: Config

    def rows(self) -> int:
        return sum(self.database.run(counts.rows_of_all).values())

    def is_empty(self) -> bool:
        return self.database.run(counts.tables) == []


def place(database: Database, folder: Path) -> Place:
    url = database.engine.url.render_as_string(hide_password=False)
    config = Config(
        service=ServiceSection(data_dir=folder), database=DatabaseSection(url=url, pool_size=2)
    )
    return Place(database, config)


@pytest.fixture
def full(database: Database, tmp_path: Path) -> Place:
    with database.begin() as tx:
        table.start(tx, register(tx), actor="ann", now=NOW)
        keys.create(tx, name="ann", scopes=[Scope.READ])
    made = place(database, tmp_path / "full")
    made.config.service.data_dir.mkdir()
    (made.config.service.data_dir / "subject.key").write_bytes(bytes(range(200, 232)))
    return made


@pytest.fixture
def empty(database_url: str, tmp_path: Path) -> Iterator[Place]:
    opened = Database(database_url)
    yield place(opened, tmp_path / "restored")
    opened.close()


def test_what_was_backed_up_is_there_again_and_of_a_newer_epoch(
    full: Place, empty: Place, tmp_path: Path
) -> None:
    before = full.database.run(epochs.in_force)
    made = back_up(full.config, tmp_path / "backup")
    assert made.total == full.rows()
    for path in (tmp_path / "backup", *(tmp_path / "backup").iterdir()):
        assert path.stat().st_mode & 0o077 == 0, path
    found, epoch = restore(empty.config, tmp_path / "backup")
    assert found == made
    assert empty.database.run(epochs.in_force) == epoch > before
    assert full.database.run(epochs.in_force) == before
    newest = empty.database.run(epochs.newest)
    assert newest.reason.startswith("restored from the backup of 2")
    (entry,) = empty.database.run(lambda tx: audit.newest(tx, subject=epochs.SUBJECT, limit=1))
    assert (entry.actor, entry.act) == ("cli", "routes.epoch_opened")
    copied = empty.config.service.data_dir / "subject.key"
    assert copied.read_bytes() == bytes(range(200, 232))
    assert copied.stat().st_mode & 0o077 == 0
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "full", "restored"]


def test_what_is_not_empty_is_not_restored_into(full: Place, tmp_path: Path) -> None:
    back_up(full.config, tmp_path / "backup")
    before = full.rows()
    with pytest.raises(BackupFailed, match=r"the database is not empty, it has \d+ tables"):
        restore(full.config, tmp_path / "backup")
    assert full.rows() == before


def test_other_keys_are_not_written_over(full: Place, empty: Place, tmp_path: Path) -> None:
    back_up(full.config, tmp_path / "backup")
    data = empty.config.service.data_dir
    data.mkdir()
    (data / "subject.key").write_bytes(bytes(32))
    with pytest.raises(BackupFailed, match=r"subject\.key is another key"):
        restore(empty.config, tmp_path / "backup")
    assert empty.is_empty()
    assert (data / "subject.key").read_bytes() == bytes(32)


@pytest.mark.parametrize("kept", [0.2, 0.9, 0.999])
def test_a_damaged_dump_leaves_nothing(
    full: Place, empty: Place, tmp_path: Path, kept: float
) -> None:
    back_up(full.config, tmp_path / "backup")
    dump = tmp_path / "backup" / backups.DUMP
    whole = dump.read_bytes()
    dump.write_bytes(whole[: int(len(whole) * kept)])
    with pytest.raises(BackupFailed, match="nothing was restored: "):
        restore(empty.config, tmp_path / "backup")
    assert empty.is_empty()
    dump.write_bytes(whole)
    restore(empty.config, tmp_path / "backup")


def test_a_dump_with_fewer_rows_than_were_counted_is_told(
    full: Place, empty: Place, tmp_path: Path
) -> None:
    back_up(full.config, tmp_path / "backup")
    contents = tmp_path / "backup" / backups.CONTENTS
    said = json.loads(contents.read_bytes())
    said["rows"]["keys"] += 1
    contents.write_text(json.dumps(said))
    with pytest.raises(BackupFailed, match="not every row is there: keys: 1 of 2"):
        restore(empty.config, tmp_path / "backup")


def test_what_is_no_backup_or_of_a_newer_release_is_refused(
    full: Place, empty: Place, tmp_path: Path
) -> None:
    with pytest.raises(BackupFailed, match="is no backup"):
        restore(empty.config, tmp_path)
    back_up(full.config, tmp_path / "backup")
    contents = tmp_path / "backup" / backups.CONTENTS
    said = json.loads(contents.read_bytes()) | {"schema": "9999", "release": "99.0"}
    contents.write_text(json.dumps(said))
    with pytest.raises(BackupFailed, match=r"of driftline 99\.0, which is newer"):
        restore(empty.config, tmp_path / "backup")
    assert empty.is_empty()


def test_a_backup_that_fails_leaves_no_folder(full: Place, empty: Place, tmp_path: Path) -> None:
    with pytest.raises(BackupFailed, match="the database is empty"):
        back_up(empty.config, tmp_path / "backup")
    assert not (tmp_path / "backup").exists()
    (tmp_path / "backup").mkdir()
    with pytest.raises(BackupFailed, match="exists already"):
        back_up(full.config, tmp_path / "backup")
    assert sorted(path.name for path in tmp_path.iterdir()) == ["backup", "full"]


def test_a_backup_of_an_older_schema_is_brought_to_this_one(
    full: Place, empty: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = back_up(full.config, tmp_path / "backup")
    release_with(monkeypatch, tmp_path, "ALTER TABLE records ADD COLUMN later integer")
    assert made.schema < schema.HEAD
    restore(empty.config, tmp_path / "backup")
    with empty.database.begin() as tx:
        assert schema.at_head(tx)
        assert "later" in {one["name"] for one in sa.inspect(tx).get_columns("records")}


def test_a_backup_from_before_the_first_schema_is_refused_before_anything_is_restored(
    full: Place, empty: Place, tmp_path: Path
) -> None:
    back_up(full.config, tmp_path / "backup")
    contents = tmp_path / "backup" / backups.CONTENTS
    contents.write_text(json.dumps(json.loads(contents.read_bytes()) | {"schema": "0030"}))
    with pytest.raises(BackupFailed, match=r"schema 0030, .*before 0\.1\.0.*docs/operations\.md"):
        restore(empty.config, tmp_path / "backup")
    assert empty.is_empty()


def test_only_what_older_servers_do_not_know_is_left_out() -> None:
    script = [b"SET a = 1;\n", backups._ONLY_NEWER, b"COPY t FROM stdin;\n", backups._ONLY_NEWER]  # noqa: SLF001 - what only newer servers write
    assert list(backups._known_to_all(script)) == [script[0], *script[2:]]  # noqa: SLF001 - what only newer servers write
    assert list(backups._known_to_all(script[:1])) == script[:1]  # noqa: SLF001 - what only newer servers write

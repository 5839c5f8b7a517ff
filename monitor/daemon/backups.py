"""Back up everything of value to one folder, and restore a service from it.

A backup is a private folder: ``database.dump`` in PostgreSQL's own format, the key files of the
data folder, and ``backup.json`` with the number of rows of each table in the dump.
"""

from __future__ import annotations

import contextlib
import os
import secrets
import shutil
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from importlib.metadata import version as installed_version
from pathlib import Path
from tempfile import TemporaryFile
from typing import Final

import msgspec
import psycopg
import sqlalchemy as sa
from sqlalchemy import Connection

from monitor.config.sections import Config
from monitor.daemon.database import found_database, prepare_folder, write_private
from monitor.postgres.binaries import find_binaries
from monitor.postgres.errors import BinariesMissing
from monitor.store import counts, schema, teams
from monitor.store.database import Database
from monitor.store.traffic import epochs

DUMP: Final = "database.dump"
CONTENTS: Final = "backup.json"
KEY_FILES: Final = ("subject.key", "session.key", "admin.key")


class BackupFailed(Exception):  # noqa: N818 (named as the outcome)
    """Nothing was backed up or restored; the message says why and what to do."""


class Contents(msgspec.Struct, kw_only=True, frozen=True):
    """The contents of a backup.

    taken_at
        The moment of the database that the dump shows.
    """

    taken_at: datetime
    release: str
    schema: str
    rows: Mapping[str, int]

    @property
    def total(self) -> int:
        """The rows of all tables."""
        return sum(self.rows.values())


def back_up(config: Config, folder: Path) -> Contents:
    """Back up the config's database and keys, while the service runs or not.

    The folder appears once it is complete.

    Raises
    ------
    BackupFailed
        The folder exists, the database has no schema yet, or it could not be dumped.
    """
    if folder.exists():
        raise BackupFailed(f"{folder} exists already: name a folder to be made")
    with _beside(folder) as made, found_database(config) as database:
        with _frozen(database) as (tx, snapshot):
            contents = _contents(tx)
            _dump(tx, made / DUMP, snapshot=snapshot)
        for name in KEY_FILES:
            if (kept := config.service.data_dir / name).exists():
                write_private(made / name, kept.read_bytes())
        write_private(made / CONTENTS, msgspec.json.encode(contents))
        made.rename(folder)
    return contents


def restore(config: Config, folder: Path) -> tuple[Contents, int]:
    """Fill the config's empty database and data folder from a backup; return contents and epoch.

    The dump is restored completely or not at all. The schema is brought to this release, and a new
    epoch of the route table is opened, so that routers accept it.

    Raises
    ------
    BackupFailed
        It is not a backup, it is from a newer release, the database is not empty, the data folder
        holds other keys, or the row counts differ.
    """
    contents = _read(folder)
    data = config.service.data_dir
    prepare_folder(data)
    for name in KEY_FILES:
        _check_key(folder / name, data / name)
    with found_database(config) as database:
        with schema.turn(database):
            _fill(config, database, folder / DUMP)
            _compare(database.run(counts.rows_of_all, attempts=1), contents)
        schema.migrate(database)
        reason = f"restored from the backup of {contents.taken_at:%Y-%m-%d %H:%M:%S} UTC"
        epoch = database.run(lambda tx: epochs.begin(tx, reason=reason, actor="cli"))
    for name in KEY_FILES:
        if (folder / name).exists() and not (data / name).exists():
            write_private(data / name, (folder / name).read_bytes())
    return contents, epoch


def _contents(tx: Connection) -> Contents:
    revision = schema.revision(tx)
    if revision is None:
        raise BackupFailed("the database is empty: there is nothing to back up")
    return Contents(
        taken_at=tx.execute(sa.select(sa.func.now())).scalar_one().astimezone(UTC),
        release=installed_version("driftline"),
        schema=revision,
        rows=counts.rows_of_all(tx),
    )


def _dump(tx: Connection, file: Path, *, snapshot: str) -> None:
    os.close(os.open(file, os.O_CREAT | os.O_EXCL, 0o600))
    done = subprocess.run(  # noqa: S603 (PostgreSQL's own program)
        [
            *_program("pg_dump", tx),
            "--format=custom",
            f"--snapshot={snapshot}",
            f"--file={file}",
            f"--exclude-schema={teams.schema(tx)}",  # made anew by the migration after a restore
        ],
        env=_environ(tx),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        check=False,
    )
    if done.returncode:
        raise BackupFailed(f"it cannot be dumped: {_first_line(done.stderr)}")


def _fill(config: Config, database: Database, dump: Path) -> None:
    with database.engine.connect() as tx:
        if found := counts.tables(tx):
            where = "database.url" if config.database.url else config.service.data_dir / "postgres"
            raise BackupFailed(
                f"the database is not empty, it has {len(found)} tables: stop the service and"
                f" let {where} be an empty one"
            )
        tx.rollback()  # the catalogue must not be locked while the tables are filled
        _play(tx, dump)


def _play(tx: Connection, dump: Path) -> None:
    """Run the dump's statements in one transaction, which commits only after the last one."""
    with (
        TemporaryFile() as trouble,
        subprocess.Popen(  # noqa: S603 (PostgreSQL's own program)
            [_path("pg_restore"), "--no-owner", "--no-privileges", "--file=-", str(dump)],
            stdout=subprocess.PIPE,
            stderr=trouble,
        ) as script,
        subprocess.Popen(  # noqa: S603 (PostgreSQL's own program)
            [*_program("psql", tx), "--no-psqlrc", "--quiet", "--set=ON_ERROR_STOP=1", "--file=-"],
            env=_environ(tx),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=trouble,
        ) as player,
    ):
        assert script.stdout is not None  # noqa: S101 (asked for)
        assert player.stdin is not None  # noqa: S101 (asked for)
        # if the pipe breaks, the process has ended and has reported why
        with contextlib.suppress(BrokenPipeError), player.stdin as into:
            into.write(b"BEGIN;\n")
            into.writelines(_known_to_all(script.stdout))
            into.write(b"COMMIT;\n" if script.wait() == 0 else b"ROLLBACK;\n")
        script.stdout.close()
        if player.wait() or script.wait():
            trouble.seek(0)
            raise BackupFailed(f"nothing was restored: {_first_line(trouble.read())}")


def _known_to_all(statements: Iterable[bytes]) -> Iterator[bytes]:
    """Leave out the one setting that servers before 17 do not know."""
    rest = iter(statements)
    for statement in rest:
        if statement == _ONLY_NEWER:
            break
        yield statement
    yield from rest


def _compare(found: Mapping[str, int], contents: Contents) -> None:
    differ = [
        f"{name}: {found.get(name, 0)} of {rows}"
        for name, rows in contents.rows.items()
        if found.get(name, 0) != rows
    ]
    if differ:
        raise BackupFailed(f"not every row is there: {'; '.join(differ)}; drop this database")


def _read(folder: Path) -> Contents:
    try:
        found = msgspec.json.decode((folder / CONTENTS).read_bytes(), type=Contents)
    except (OSError, msgspec.MsgspecError) as error:
        raise BackupFailed(f"{folder} is no backup: {error}") from None
    if found.schema > schema.HEAD:
        raise BackupFailed(
            f"{folder} is of driftline {found.release}, which is newer: install that or a later one"
        )
    if found.schema < schema.FIRST:
        raise BackupFailed(
            f"{folder} has schema {found.schema}, of a Driftline before 0.1.0, which this release"
            ' does not read: see "Upgrades" in docs/operations.md'
        )
    return found


def _check_key(kept: Path, here: Path) -> None:
    if kept.exists() and here.exists() and kept.read_bytes() != here.read_bytes():
        raise BackupFailed(f"{here} is another key than the backup's: move it away first")


@contextmanager
def _beside(folder: Path) -> Iterator[Path]:
    """Yield a folder to fill, which is deleted afterwards unless it was renamed."""
    made = folder.with_name(f".{folder.name}.{secrets.token_hex(4)}")
    made.mkdir(mode=0o700)
    try:
        yield made
    finally:
        shutil.rmtree(made, ignore_errors=True)


@contextmanager
def _frozen(database: Database) -> Iterator[tuple[Connection, str]]:
    """Hold a snapshot of the database while dumping, usable from other connections too."""
    with database.engine.connect().execution_options(isolation_level="REPEATABLE READ") as tx:
        for limit in ("statement_timeout", "idle_in_transaction_session_timeout"):
            tx.execute(sa.text(f"SET LOCAL {limit} = 0"))
        yield tx, str(tx.execute(sa.text("SELECT pg_export_snapshot()")).scalar_one())


def _program(name: str, tx: Connection) -> list[str]:
    """Return the command line of a PostgreSQL program for the database of ``tx``."""
    return [_path(name), f"--dbname={_info(tx).dsn}", "--no-password"]


def _path(name: str) -> str:
    """Prefer the bundled programs: they read servers from 15 on, and each other's dumps."""
    try:
        return str(find_binaries().bin / name)
    except BinariesMissing as error:
        if found := shutil.which(name):
            return found
        raise BackupFailed(f"there is no {name} on the PATH, and {error}") from None


def _environ(tx: Connection) -> Mapping[str, str]:
    return os.environ | {"PGPASSWORD": _info(tx).password}


def _info(tx: Connection) -> psycopg.ConnectionInfo:
    connection = tx.connection.driver_connection
    assert isinstance(connection, psycopg.Connection)  # noqa: S101 (the only driver)
    return connection.info


def _first_line(said: bytes) -> str:
    lines = said.decode(errors="replace").strip().splitlines()
    return lines[0] if lines else "it gave no reason"


_ONLY_NEWER: Final = b"SET transaction_timeout = 0;\n"
"""Among the first statements, and harmless to leave out: it is the default."""

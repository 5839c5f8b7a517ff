"""What becomes of databases that were made before the first schema was written down as one.

``schemas/`` holds what ``pg_dump`` wrote of two of them: 0031 is the last development state, with
an adapter that was judged; 0025 an earlier one.
"""

import gzip
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest
import sqlalchemy as sa
from alembic import command
from psycopg import sql
from sqlalchemy.engine import make_url

from monitor.cli import options
from monitor.cli.failures import CommandFailed
from monitor.postgres.binaries import find_binaries
from monitor.postgres.errors import BinariesMissing
from monitor.store import audit, schema
from monitor.store.database import Database
from monitor.store.errors import ForeignSchema
from monitor.store.evaluation import verdicts
from monitor.store.registry import versions
from tests.policy.test_memory import KNOWN

SCHEMAS = Path(__file__).parent / "schemas"


@pytest.fixture
def made_before(request: pytest.FixtureRequest, database_url: str) -> Iterator[Database]:
    """A database as the development state of this number left it."""
    statements = gzip.decompress((SCHEMAS / f"{request.param}.sql.gz").read_bytes()).decode()
    with psycopg.connect(_plain(database_url), autocommit=True) as connection:
        connection.execute(statements.encode())
    opened = Database(database_url)
    yield opened
    opened.close()


@pytest.fixture
def empty(database_url: str) -> Iterator[Database]:
    """An empty database beside the other one."""
    beside = make_url(database_url).set(database=f"{make_url(database_url).database}_beside")
    name = sql.Identifier(beside.database or "")
    with psycopg.connect(_plain(database_url), autocommit=True) as connection:
        connection.execute(sql.SQL("CREATE DATABASE {} TEMPLATE template0").format(name))
        opened = Database(beside.render_as_string(hide_password=False))
        yield opened
        opened.close()
        connection.execute(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(name))


def _plain(url: str) -> str:
    return url.replace("+psycopg", "")


def _dumped(database: Database) -> str:
    """The whole schema as PostgreSQL writes it, but for a token that is drawn anew each time."""
    try:
        program = str(find_binaries().bin / "pg_dump")
    except BinariesMissing:
        program = shutil.which("pg_dump") or "pg_dump"
    url = _plain(database.engine.url.render_as_string(hide_password=False))
    asked = [program, "--schema-only", "--no-owner", url]
    said = subprocess.run(asked, capture_output=True, text=True, check=True).stdout
    return re.sub(r"^\\(un)?restrict .*$", "", said, flags=re.MULTILINE)


@pytest.mark.parametrize("made_before", ["0031"], indirect=True)
def test_the_first_schema_is_to_the_byte_what_the_steps_before_it_made(
    made_before: Database, empty: Database
) -> None:
    with empty.begin() as tx:
        command.upgrade(schema.alembic_config(tx), schema.FIRST)
    assert _dumped(empty) == _dumped(made_before)


@pytest.mark.parametrize("made_before", ["0031"], indirect=True)
def test_a_database_of_the_last_development_state_is_taken_over(made_before: Database) -> None:
    schema.migrate(made_before)
    with made_before.begin() as tx:
        assert schema.at_head(tx)
        version = versions.fetch(tx, adapter="support", name="v1")
        assert version is not None
        judged = verdicts.current(tx, version_id=version.id)
        assert [act.act for act in audit.newest(tx)] == ["register"]
    assert judged is not None
    assert (judged.memory, judged.verdict) == (KNOWN, KNOWN.verdict)


@pytest.mark.parametrize("made_before", ["0025"], indirect=True)
def test_an_older_database_is_refused_and_left_as_it_was(
    made_before: Database, tmp_path: Path
) -> None:
    before = _dumped(made_before)
    with pytest.raises(ForeignSchema, match=r"schema 0025, .*before 0\.1\.0.*an empty database"):
        schema.migrate(made_before)
    config = tmp_path / "driftline.toml"
    url = made_before.engine.url.render_as_string(hide_password=False)
    config.write_text(f'[service]\ndata_dir = "{tmp_path}"\n[database]\nurl = "{_plain(url)}"\n')
    with pytest.raises(CommandFailed, match="schema 0025"), options.database(config):
        pass
    assert _dumped(made_before) == before
    with made_before.begin() as tx:
        assert schema.revision(tx) == "0025"


def test_a_database_of_a_newer_release_is_refused(database: Database) -> None:
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(ForeignSchema, match="schema 9999, of a newer Driftline"):
        schema.migrate(database)

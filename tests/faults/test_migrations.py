"""The server is killed in the middle of a migration, and the migration ends well."""

import os
import signal
import threading
import time
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
import sqlalchemy as sa
from alembic import command

from monitor.capture.errors import CaptureError
from monitor.capture.intake import Intake, Settings
from monitor.postgres import EmbeddedPostgres, ServerSettings
from monitor.postgres.process import live_postmaster
from monitor.store import schema
from monitor.store.database import Database
from monitor.store.registry import adapters, versions
from monitor.store.tables.columns import metadata
from tests.migrations import release_with
from tests.service import Talk, ndjson, until

SMALL = ServerSettings(shared_buffers="16MB")


@pytest.mark.parametrize("number", [signal.SIGKILL, signal.SIGINT])
def test_a_server_that_is_restarted_during_a_migration_is_migrated_all_the_same(
    tmp_path: Path, number: signal.Signals
) -> None:
    """Before, ``driftline serve`` ended with the error of the lost connection."""
    places = iter(["CREATE TABLE verdicts", "ALTER TABLE", "CREATE FUNCTION driftline_drop_day"])
    with EmbeddedPostgres(tmp_path, settings=SMALL) as server:
        database = Database(server.url)
        awaited = [next(places)]

        def restart(*arguments: Any) -> None:
            statement = str(arguments[2]).strip()
            if awaited and statement.startswith(awaited[0]):
                awaited[:] = [one for one in [next(places, None)] if one]
                found = live_postmaster(tmp_path / "postgres" / "cluster")
                assert found is not None
                os.kill(found.pid, number)

        sa.event.listen(database.engine, "before_cursor_execute", restart)
        schema.migrate(database)
        assert awaited == []
        with database.begin() as tx:
            assert schema.at_head(tx)
            command.check(schema.alembic_config(tx))
            made = set(sa.inspect(tx).get_table_names())
        assert {table.name for table in metadata.sorted_tables} <= made
        database.close()


LATER = (
    "ALTER TABLE records ADD COLUMN later integer NOT NULL DEFAULT 7;"
    " CREATE INDEX ix_records_later ON records (later)"
)
"""A migration that waits for the writers of records, and then makes them wait."""


@dataclass
class Sending:
    """Sends batches without a pause, each until it is taken, as samplers do."""

    intake: Intake
    talk: Talk = field(default_factory=lambda: Talk("support"))
    taken: int = 0
    longest: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.over.is_set():
            self.send(20)

    def send(self, count: int) -> None:
        made = self.talk.records(count, temperature=0.5, max_tokens=100)
        body, begun = ndjson(made), time.monotonic()
        while True:
            try:
                outcome = self.intake.records(body, content_type="application/x-ndjson")
            except CaptureError:
                time.sleep(0.05)
                continue
            break
        assert outcome.accepted + outcome.duplicates == count, outcome
        self.taken += count
        self.longest = max(self.longest, time.monotonic() - begun)


def test_a_schema_with_rows_in_it_is_upgraded_while_records_come_and_none_is_lost(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Records are written by one code throughout, as by the old one beside a ``pre_`` migration."""
    with EmbeddedPostgres(tmp_path, settings=SMALL) as server:
        database = Database(server.url)
        schema.migrate(database)
        with database.begin() as tx:
            adapter = adapters.put(tx, name="support")
            versions.put(tx, adapter=adapter, name="v1", model="support@v1")
        intake = Intake(
            database, subject_key=b"k" * 32, settings=Settings(target_per_day=100_000_000)
        )
        intake.start()
        sending = Sending(intake)
        for _ in range(10):
            sending.send(500)
        release_with(monkeypatch, tmp_path, LATER)
        sender = threading.Thread(target=sending.run)
        sender.start()
        try:
            until(lambda: sending.taken > 5_500, "records under the old schema")
            at_first = sending.taken
            schema.migrate(database)
            after = sending.taken
            until(lambda: sending.taken > after + 500, "records under the new schema")
        finally:
            sending.over.set()
            sender.join()
            assert intake.close()
        with database.begin() as tx:
            assert schema.at_head(tx)
            stored = tx.execute(sa.text("SELECT count(*) FROM records")).scalar_one()
            filled = tx.execute(sa.text("SELECT count(*) FROM records WHERE later = 7"))
            assert filled.scalar_one() == stored
        database.close()
    print(
        f"{at_first} at first, {after - at_first} during, {stored} stored of {sending.taken};"
        f" longest wait {sending.longest:.2f} s"
    )
    assert stored == sending.taken

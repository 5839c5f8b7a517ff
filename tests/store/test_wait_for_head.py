"""A process that must not migrate waits for one that does."""

import threading
from datetime import timedelta

import pytest

from monitor.store import schema
from monitor.store.database import Database


@pytest.fixture
def bare(database_url: str) -> Database:
    return Database(database_url)


def test_it_goes_on_once_another_has_migrated(
    bare: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(schema, "_LOOK", timedelta(milliseconds=20))
    waiting = threading.Thread(target=schema.wait_for_head, args=(bare,))
    waiting.start()
    waiting.join(0.2)
    assert waiting.is_alive(), "there is no schema yet"
    assert not bare.run(schema.at_head), "it makes none itself"
    schema.migrate(bare)
    waiting.join(30)
    assert not waiting.is_alive()
    bare.close()


def test_it_does_not_wait_for_ever(bare: Database, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(schema, "_LOOK", timedelta(milliseconds=20))
    monkeypatch.setattr(schema, "_PATIENCE", timedelta(milliseconds=50))
    with pytest.raises(TimeoutError, match="nobody has migrated"):
        schema.wait_for_head(bare)
    bare.close()

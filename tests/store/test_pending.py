from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.store.database import Database
from monitor.store.records import capture_counts, ingest, pending
from monitor.store.records.ingest import TextRow
from monitor.store.records.pending import Embedded, Pending

FAR = datetime(2100, 1, 1, tzinfo=UTC)


@pytest.fixture
def waiting(database: Database, noon: datetime, support: Any, batch: Callable[..., Any]) -> None:
    texts = [TextRow(n, f"prompt {n}", f"output {n}", None, None) for n in range(3)]
    times = [noon + timedelta(minutes=n) for n in (2, 0, 1)]
    database.run(lambda tx: ingest.insert(tx, batch(support, list("cab"), times, texts=texts)))


def _claim(database: Database, *, limit: int = 10, until: datetime = FAR) -> list[Pending]:
    return database.run(lambda tx: pending.claim(tx, limit=limit, until=until))


def _settle(database: Database, rows: list[Pending], now: datetime, **more: Any) -> int:
    made = [Embedded(pending=row, encoder="mini", embedding=b"\0\0") for row in rows]
    options: dict[str, Any] = {"store_text": False, "redact": str.upper} | more
    return database.run(lambda tx: pending.settle(tx, made, now=now, **options))


def _texts(database: Database) -> list[tuple[Any, ...]]:
    with database.begin() as tx:
        query = sa.text("SELECT id, prompt, output FROM record_texts ORDER BY id")
        return [tuple(row) for row in tx.execute(query)]


def _backlog(tx: sa.Connection) -> dict[int, int]:
    query = sa.text("SELECT adapter_id, count(*) FROM pending_texts GROUP BY adapter_id")
    return {row[0]: row[1] for row in tx.execute(query)}


@pytest.mark.usefixtures("waiting")
def test_the_oldest_come_first_and_nobody_gets_them_twice(database: Database) -> None:
    assert [row.record_id for row in _claim(database, limit=2)] == ["a", "b"]
    assert [row.record_id for row in _claim(database)] == ["c"]
    assert _claim(database) == []


@pytest.mark.usefixtures("waiting")
def test_two_drains_at_once_share_the_rows(database: Database) -> None:
    with database.begin() as one, database.begin() as two:
        first = pending.claim(one, limit=2, until=FAR)
        second = pending.claim(two, limit=2, until=FAR)
    assert [row.record_id for row in first + second] == ["a", "b", "c"]


@pytest.mark.usefixtures("waiting")
def test_a_dead_drains_rows_come_back_when_its_lease_ends(database: Database) -> None:
    past = datetime(2020, 1, 1, tzinfo=UTC)
    assert len(_claim(database, until=past)) == 3
    assert len(_claim(database)) == 3


@pytest.mark.usefixtures("waiting")
def test_settling_puts_the_embedding_in_and_leaves_no_text(
    database: Database, noon: datetime
) -> None:
    assert _settle(database, _claim(database), noon) == 3
    with database.begin() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM record_embeddings")).scalar_one() == 3
        assert _backlog(tx) == {}
    assert _texts(database) == []


@pytest.mark.usefixtures("waiting")
def test_text_is_kept_redacted_when_opted_in(database: Database, noon: datetime) -> None:
    _settle(database, _claim(database, limit=1), noon, store_text=True)
    assert _texts(database) == [("a", "PROMPT 1", "OUTPUT 1")]


@pytest.mark.usefixtures("waiting")
def test_text_whose_retention_has_passed_is_not_kept(database: Database, noon: datetime) -> None:
    _settle(database, _claim(database), noon + timedelta(days=8), store_text=True)
    assert _texts(database) == []


@pytest.mark.usefixtures("waiting")
def test_a_row_settled_by_another_drain_is_passed_over(database: Database, noon: datetime) -> None:
    rows = _claim(database)
    assert _settle(database, rows, noon) == 3
    assert _settle(database, rows, noon, store_text=True) == 0
    assert _texts(database) == []


@pytest.mark.usefixtures("waiting")
def test_the_fifth_failure_drops_the_text_and_counts_the_record(
    database: Database, noon: datetime, support: Any
) -> None:
    for attempt in range(1, 6):
        rows = _claim(database)
        assert len(rows) == 3
        dropped = database.run(partial(pending.fail, rows=rows, now=noon))
        assert dropped == (3 if attempt == 5 else 0)
    with database.begin() as tx:
        totals = capture_counts.totals(tx, adapter_id=support.adapter.id, since=noon)
        assert totals == {"unembedded": 3}
        assert _backlog(tx) == {}


@pytest.mark.usefixtures("waiting")
def test_texts_nobody_embeds_are_deleted_in_time(database: Database, support: Any) -> None:
    soon = datetime.now(UTC) + timedelta(days=6)
    assert database.run(lambda tx: pending.drop_expired(tx, now=soon)) == 0
    with database.begin() as tx:
        assert _backlog(tx) == {support.adapter.id: 3}
    later = datetime.now(UTC) + timedelta(days=8)
    assert database.run(lambda tx: pending.drop_expired(tx, now=later)) == 3

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, date, datetime, timedelta
from threading import Barrier
from typing import Any

import pytest
import sqlalchemy as sa

from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.records import capture_counts, ingest
from monitor.store.tables import PARTITIONED

DAY = date(2031, 3, 1)
NOW = datetime(2031, 3, 1, 9, tzinfo=UTC)


def _of(database: Database, table: str) -> list[str]:
    with database.begin() as tx:
        return partitions.existing(tx, tables=[table])


def test_every_partitioned_table_has_a_retention() -> None:
    assert set(partitions.DEFAULT_RETENTION) == set(PARTITIONED)


def test_partitions_are_made_from_yesterday_to_the_day_after_tomorrow(database: Database) -> None:
    database.run(lambda tx: partitions.create_ahead(tx, now=NOW))
    made = [name for name in _of(database, "records") if name > "records_203102"]
    assert made == [
        "records_20310228",
        "records_20310301",
        "records_20310302",
        "records_20310303",
    ]


def test_making_them_again_changes_nothing(database: Database) -> None:
    database.run(lambda tx: partitions.ensure(tx, [DAY]))
    before = _of(database, "records")
    database.run(lambda tx: partitions.ensure(tx, [DAY, DAY]))
    assert _of(database, "records") == before


def test_many_at_once_make_them_once(database: Database) -> None:
    days = [DAY + timedelta(days=n) for n in range(3)]

    def make(_: int) -> None:
        database.run(lambda tx: partitions.ensure(tx, days))

    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, range(4)))
    assert len([name for name in _of(database, "feedback") if name > "feedback_2031"]) == 3


def test_who_waited_for_another_finds_what_it_has_made(database: Database) -> None:
    """A cache that is asked before and after the wait may not know the new table yet."""
    for number in range(5):
        begun, day = Barrier(4), DAY + timedelta(days=40 + number)

        def make(_: int, begun: Barrier = begun, day: date = day) -> None:
            begun.wait(10)
            database.run(lambda tx: partitions.ensure(tx, [day], tables=["feedback"]), attempts=1)

        with ThreadPoolExecutor(4) as pool:
            list(pool.map(make, range(4)))
        assert f"feedback_{day:%Y%m%d}" in _of(database, "feedback")


def test_the_callers_own_patience_with_locks_is_left_as_it_was(database: Database) -> None:
    def patience(tx: sa.Connection) -> Any:
        return tx.execute(sa.text("SHOW lock_timeout")).scalar_one()

    def work(tx: sa.Connection) -> tuple[Any, Any, Any]:
        before = patience(tx)
        partitions.ensure(tx, [DAY])
        made = patience(tx)
        assert partitions.drop_expired(tx, now=NOW + timedelta(days=9999))
        return before, made, patience(tx)

    before, made, dropped = database.run(work)
    assert made == dropped == before
    with database.begin() as tx:
        tx.execute(sa.text("SET LOCAL lock_timeout = '7s'"))
        partitions.ensure(tx, [DAY])
        assert patience(tx) == "7s"


def test_making_a_partition_does_not_wait_for_a_reader(database: Database) -> None:
    with database.begin() as reader:
        reader.execute(sa.text("SELECT count(*) FROM records"))
        database.run(lambda tx: partitions.ensure(tx, [DAY]), attempts=1)
    assert "records_20310301" in _of(database, "records")


def test_scores_share_one_partition_for_seven_days(database: Database) -> None:
    days = [DAY + timedelta(days=n) for n in range(14)]
    database.run(lambda tx: partitions.ensure(tx, days, tables=["scores"]))
    assert len([name for name in _of(database, "scores") if name > "scores_2031"]) in (2, 3)


@pytest.mark.parametrize(("table", "kept"), sorted(partitions.DEFAULT_RETENTION.items()))
def test_a_partition_goes_when_its_last_moment_is_older_than_the_retention(
    database: Database, table: str, kept: timedelta
) -> None:
    database.run(lambda tx: partitions.ensure(tx, [DAY], tables=[table]))
    (name,) = [one for one in _of(database, table) if one > f"{table}_2031"]
    end = partitions._end(name)  # noqa: SLF001 - the rule by which names are read
    just_before = end + kept - timedelta(microseconds=1)
    database.run(lambda tx: partitions.drop_expired(tx, now=just_before))
    assert name in _of(database, table)
    dropped = database.run(lambda tx: partitions.drop_expired(tx, now=end + kept))
    assert name in dropped
    assert name not in _of(database, table)


def test_rows_within_retention_outlive_maintenance(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    database.run(lambda tx: ingest.insert(tx, batch(support, ["a"], noon)))
    partitions.drop_old(database, now=noon + timedelta(days=89))
    with database.begin() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM records")).scalar_one() == 1
    partitions.drop_old(database, now=noon + timedelta(days=91))
    with database.begin() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM records")).scalar_one() == 0


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("records_20310301", True),
        ("record_tokens_20310301", True),
        ("records", False),
        ("records_2031030", False),
        ("other_20310301", False),
    ],
)
def test_partitions_are_known_by_their_name(name: str, expected: bool) -> None:  # noqa: FBT001
    assert partitions.is_partition(name) is expected


def test_counts_add_up_within_the_hour(database: Database, support: Any) -> None:
    adapter = support.adapter.id
    with database.begin() as tx:
        capture_counts.add(tx, {(adapter, NOW, "accepted"): 3, (adapter, NOW, "rejected"): 0})
        capture_counts.add(tx, {(adapter, NOW + timedelta(minutes=59), "accepted"): 4})
        capture_counts.add(tx, {(adapter, NOW + timedelta(minutes=60), "accepted"): 5})
        assert capture_counts.totals(tx, adapter_id=adapter, since=NOW) == {"accepted": 12}
        later = NOW + timedelta(minutes=60)
        assert capture_counts.fleet_totals(tx, since=later) == {adapter: {"accepted": 5}}

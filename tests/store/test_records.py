import json
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from psycopg import sql

from monitor.domain import Interval, Recent, ReferenceId
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.records import counting, ingest, pending, records, samples
from monitor.store.records.columns import SIGNALS, RecordColumns
from monitor.store.records.contexts import Context
from monitor.store.records.ingest import TextRow
from monitor.store.records.samples import ComparedWith

MINUTE = timedelta(minutes=1)
WARM = Context("push", "", "", "", "temperature=1")


def _window(
    database: Database, of: Any, start: datetime, end: datetime, **more: Any
) -> RecordColumns:
    return database.run(
        lambda tx: records.read_window(
            tx,
            version_id=of.version.id,
            adapter_id=of.adapter.id,
            start=start,
            end=end,
            **more,
        )
    )


def test_a_window_holds_its_start_but_not_its_end_in_order_of_time(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    times = [noon + MINUTE, noon, noon + 2 * MINUTE, noon - timedelta(microseconds=1)]
    database.run(lambda tx: ingest.insert(tx, batch(support, list("abcd"), times)))
    window = _window(database, support, noon, noon + 2 * MINUTE)
    assert window.at.tolist() == [noon.timestamp(), (noon + MINUTE).timestamp()]
    assert len(window) == 2


def test_an_empty_window_has_every_signal_and_no_rows(
    database: Database, noon: datetime, support: Any
) -> None:
    window = _window(database, support, noon, noon + MINUTE)
    assert len(window) == 0
    assert set(window.signals) == {*SIGNALS, "status"}
    assert window.subjects is None


def test_signals_come_back_as_they_were_and_absent_ones_as_nan(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    numbers = {
        "mean_nll": [0.25, np.nan],
        "n_tokens": [49, 99],
        "loop": [1, 0],
        "missing": [np.nan, 1],
        "status": [200, 503],
    }
    database.run(lambda tx: ingest.insert(tx, batch(support, ["a", "b"], noon, numbers=numbers)))
    signals = _window(database, support, noon, noon + MINUTE).signals
    np.testing.assert_array_equal(signals["mean_nll"], [0.25, np.nan])
    # of a missing one its length alone says nothing: `logit_ks` leaves it out
    np.testing.assert_allclose(signals["log_length"], [np.log(50), np.nan])
    np.testing.assert_array_equal(signals["loop"], [1, 0])
    np.testing.assert_array_equal(signals["missing"], [np.nan, 1])
    np.testing.assert_array_equal(signals["error"], [0, 1])
    np.testing.assert_array_equal(signals["entropy"], [np.nan, np.nan])
    np.testing.assert_array_equal(signals["similarity"], [np.nan, np.nan])


def test_subjects_become_codes_and_the_unknown_one_minus_one(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    ann, bob = b"annannan", b"bobbobb\0"
    made = batch(support, list("abcd"), noon, subject=[bob, None, ann, bob])
    database.run(lambda tx: ingest.insert(tx, made))
    codes = _window(database, support, noon, noon + MINUTE).subjects
    assert codes is not None
    assert codes[1] == -1
    assert codes[0] == codes[3] != codes[2]
    assert min(codes[[0, 2, 3]]) >= 0


def test_only_records_of_the_settings_asked_for_are_read(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    database.run(lambda tx: ingest.insert(tx, batch(support, ["a", "b"], noon)))
    database.run(lambda tx: ingest.insert(tx, batch(support, ["c"], noon, context=WARM)))
    window = _window(database, support, noon, noon + MINUTE, strata=["temperature=0"])
    assert len(window) == 2
    assert set(window.strata.names) == {"temperature=0"}
    with database.begin() as tx:
        found = counting.strata(
            tx,
            version_id=support.version.id,
            adapter_id=support.adapter.id,
            start=noon,
            end=noon + MINUTE,
        )
    assert found == {"temperature=0": 2, "temperature=1": 1}


def test_what_came_after_the_window_was_read_does_not_change_it(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    database.run(lambda tx: ingest.insert(tx, batch(support, ["a"], noon)))
    with database.begin() as tx:
        read_at = tx.execute(sa.text("SELECT clock_timestamp()")).scalar_one()
    database.run(lambda tx: ingest.insert(tx, batch(support, ["b"], noon)))
    window = _window(database, support, noon, noon + MINUTE, received_before=read_at)
    assert len(window) == 1


def test_each_record_is_in_the_window_that_it_arrived_in_and_in_no_other(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    """Answers of seconds to hours: a window is of what arrives, whenever it was asked."""
    took = {"a": 1, "b": 40, "c": 66, "d": 9 * 60, "e": 25 * 60}
    made = [noon + 20 * MINUTE * place for place in range(5)]
    days = {at.date() for at in made}
    database.run(lambda tx: partitions.ensure(tx, days))
    database.run(lambda tx: ingest.insert(tx, batch(support, list(took), made)))
    for (name, minutes), at in zip(took.items(), made, strict=True):
        arrived = {"at": at + minutes * MINUTE, "id": name}
        query = sa.text("UPDATE records SET received_at = :at WHERE id = :id")
        with database.begin() as tx:
            tx.execute(query, arrived)
    of = {"version_id": support.version.id, "adapter_id": support.adapter.id}
    found: list[float] = []
    with database.begin() as tx:
        for hour in range(30):
            start = noon + 60 * MINUTE * hour
            window = Interval(start=start, end=start + 60 * MINUTE)
            wanted = records.Arriving(**of, window=window, reach=records.LATEST)
            [read] = records.read_arrivals(tx, [wanted])
            assert (read.arrived >= start.timestamp()).all()
            assert len(read) == counting.count_arrivals(tx, **of, window=window)
            found += read.at.tolist()
        edge = noon + 80 * MINUTE + 25 * 60 * MINUTE
        late = Interval(start=edge, end=edge + MINUTE)
        before = edge - records.LATEST
        assert counting.count_arrivals(tx, **of, window=late, made_before=before) == 1
    assert found == [at.timestamp() for at in made[:4]]


def test_the_newest_records_come_in_order_of_time(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    times = [noon + n * MINUTE for n in range(5)]
    database.run(lambda tx: ingest.insert(tx, batch(support, list("abcde"), times)))
    of = {"version_id": support.version.id, "adapter_id": support.adapter.id}
    with database.begin() as tx:
        newest = records.newest_since(tx, **of, since=noon, limit=2)
        span: dict[str, Any] = {"start": noon, "end": noon + 5 * MINUTE}
        found = counting.traffic(tx, **of, **span)
        none = counting.traffic(tx, **of, start=noon - MINUTE, end=noon)
    assert newest.at.tolist() == [time.timestamp() for time in times[3:]]
    assert (found.count, found.last_at) == (5, times[4])
    assert (none.count, none.last_at) == (0, None)


@pytest.mark.parametrize("enough", [1, 2, 3, 4, 5, 8])
def test_records_that_can_be_compared_are_counted_as_far_as_it_matters(
    enough: int, database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    cold, warm = (["a", "b", "c", "d"], noon), (["e", "f"], noon + MINUTE)
    database.run(lambda tx: ingest.insert(tx, batch(support, *cold)))
    database.run(lambda tx: ingest.insert(tx, batch(support, *warm, context=WARM)))
    another = {"version_id": [support.version.id + 1] * 3}
    newest = batch(support, ["g", "h", "i"], noon + MINUTE, numbers=another)
    database.run(lambda tx: ingest.insert(tx, newest))
    of = {"version_id": support.version.id, "adapter_id": support.adapter.id}
    needs = frozenset({"temperature"})
    span: dict[str, Any] = {"start": noon, "end": noon + 2 * MINUTE, "enough": enough}

    def compared(*strata: str) -> Recent:
        wanted = counting.Compared(**of, strata=strata, needs=needs)
        with database.begin() as tx:
            return counting.recent(tx, [wanted], **span)[support.version.id]

    for strata, count in ((["temperature=0"], 4), (["temperature=1"], 2), (["temperature=2"], 0)):
        found = compared(*strata)
        assert found.last_at == noon + MINUTE
        assert found.compared == count or count > found.compared >= enough


def test_a_similarity_counts_only_against_the_reference_asked_for(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    texts = [TextRow(0, "hi", None, None, None), TextRow(1, "yo", None, None, None)]
    database.run(lambda tx: ingest.insert(tx, batch(support, ["a", "b"], noon, texts=texts)))
    with database.begin() as tx:
        claimed = pending.claim(tx, limit=10, until=noon + timedelta(days=999))
        rows = [
            pending.Embedded(
                pending=row,
                encoder="mini",
                embedding=b"\0\0",
                similarity=0.5,
                reference_id=ReferenceId(number),
            )
            for number, row in enumerate(claimed, start=1)
        ]
        pending.settle(tx, rows, store_text=True, redact=str.upper, now=noon)
    own = _window(database, support, noon, noon + MINUTE, reference_id=ReferenceId(2))
    np.testing.assert_array_equal(own.signals["similarity"], [np.nan, 0.5])
    both = _window(database, support, noon, noon + MINUTE)
    np.testing.assert_array_equal(both.signals["similarity"], [0.5, 0.5])
    of = ComparedWith(
        version=support.version, reference_id=ReferenceId(2), start=noon, end=noon + MINUTE
    )
    with database.begin() as tx:
        (least,) = samples.least_similar(tx, of, limit=5)
        assert (least.record_id, least.prompt) == ("b", "YO")
        counted = [samples.count_below(tx, of, similarity=below) for below in (0.4, 0.6)]
        assert counted == [(0, 1), (1, 1)]
        stored = tx.execute(sa.text("SELECT id FROM record_embeddings ORDER BY id")).scalars()
        assert list(stored) == ["a", "b"]


def _touched(plan: dict[str, Any]) -> float:
    """Rows read by all scans: ``Actual Rows`` and ``Rows Removed`` are averages per loop."""
    own = 0.0
    if "Scan" in plan["Node Type"]:
        rows = plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0)
        own = rows * plan["Actual Loops"]
    return own + sum(_touched(child) for child in plan.get("Plans", []))


@pytest.mark.parametrize("size", [2_000])
def test_reading_one_window_touches_only_its_rows(
    database: Database,
    noon: datetime,
    register: Callable[[str], Any],
    batch: Callable[..., Any],
    size: int,
) -> None:
    times = [noon - timedelta(days=2) + timedelta(seconds=60 * n) for n in range(size)]
    for name in ("support", "travel", "booking"):
        of = register(name)
        made = batch(of, [f"r{n}" for n in range(size)], times)
        database.run(partial(ingest.insert, batch=made))
    with database.begin() as tx:
        tx.execute(sa.text("ANALYZE records"))
        query = records._query(  # noqa: SLF001 - the statement, for its plan
            of.version.id,
            of.adapter.id,
            ReferenceId(1),
            answers=True,
            span=records._span("at", noon - 15 * MINUTE, noon),  # noqa: SLF001 - the statement, for its plan
            kept=[records._span("at", noon - 15 * MINUTE, noon)("r")],  # noqa: SLF001 - the statement, for its plan
            order=sql.SQL("r.at, r.id"),
        )
        driver: Any = tx.connection.dbapi_connection
        text = "EXPLAIN (ANALYZE, FORMAT JSON) " + query.as_string(driver)
        plan = tx.exec_driver_sql(text.replace("%", "%%")).scalar_one()
    plan = plan if isinstance(plan, list) else json.loads(plan)
    assert (
        _touched(plan[0]["Plan"]) <= 15 * 3
    )  # the records once, and at most one probe each of prompt and answer


def test_counting_as_far_as_it_matters_touches_only_the_newest_records(
    database: Database,
    noon: datetime,
    register: Callable[[str], Any],
    batch: Callable[..., Any],
) -> None:
    times = [noon - timedelta(seconds=30 * n) for n in range(1_000)]
    for name in ("support", "travel", "booking"):
        of = register(name)
        made = batch(of, [f"r{n}" for n in range(len(times))], times)
        database.run(partial(ingest.insert, batch=made))
    bounds = {
        "versions": [of.version.id],
        "adapters": [of.adapter.id],
        "start": noon - timedelta(hours=24),
        "end": noon,
        "most": 20,
    }
    with database.begin() as tx:
        tx.execute(sa.text("ANALYZE records"))
        query = f"EXPLAIN (ANALYZE, FORMAT JSON) {counting._NEWEST.text}"  # noqa: SLF001 - for its plan
        plan = tx.execute(sa.text(query), bounds).scalar_one()
    # as read and as passed on; the version; its context
    assert _touched(plan[0]["Plan"]) <= 2 * 20 + 1 + 1


def test_partitions_of_other_days_are_not_opened(
    database: Database, noon: datetime, support: Any
) -> None:
    query = records._query(  # noqa: SLF001 - the statement, for its plan
        support.version.id,
        support.adapter.id,
        ReferenceId(1),
        answers=True,
        span=records._span("at", noon, noon + MINUTE),  # noqa: SLF001 - the statement, for its plan
        kept=[records._span("at", noon, noon + MINUTE)("r")],  # noqa: SLF001 - the statement, for its plan
        order=sql.SQL("r.at"),
    )
    with database.begin() as tx:
        driver: Any = tx.connection.dbapi_connection
        plan = "\n".join(tx.exec_driver_sql("EXPLAIN " + query.as_string(driver)).scalars())
    opened = [name for name in _existing(database) if name in plan]
    tables = ("answer_embeddings", "record_embeddings", "records")
    assert opened == [f"{table}_{noon:%Y%m%d}" for table in tables]


def _existing(database: Database) -> list[str]:
    with database.begin() as tx:
        return partitions.existing(tx)

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from functools import partial
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st

from monitor.store import pgarray
from monitor.store.database import Database
from monitor.store.records import ingest
from monitor.store.records.contexts import Context, intern, of_strata
from monitor.store.records.ingest import FeedbackRow, TextRow, TokenRow


def _count(database: Database, table: str) -> int:
    with database.begin() as tx:
        return int(tx.execute(sa.text(f"SELECT count(*) FROM {table}")).scalar_one())


def test_the_same_batch_twice_is_stored_once(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    records = batch(
        support,
        ["a", "b"],
        noon,
        tokens=[TokenRow(1, b"\0\0", None, None)],
        texts=[TextRow(0, "hello", None, None, None)],
        feedback=[FeedbackRow(support.adapter.id, ingest.microseconds(noon), "a", "csat", 5.0)],
    )
    assert database.run(lambda tx: ingest.insert(tx, records)).records == [True, True]
    assert database.run(lambda tx: ingest.insert(tx, records)).records == [False, False]
    tables = ["records", "record_tokens", "pending_texts", "feedback"]
    assert [_count(database, table) for table in tables] == [2, 1, 1, 1]


def test_of_equal_keys_in_one_batch_the_first_is_new_and_the_rest_are_duplicates(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    records = batch(support, ["b", "a", "b"], noon)
    assert database.run(lambda tx: ingest.insert(tx, records)).records == [True, True, False]


def test_one_id_at_two_times_is_two_records(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    records = batch(support, ["a", "a"], [noon, noon + timedelta(microseconds=1)])
    assert database.run(lambda tx: ingest.insert(tx, records)).records == [True, True]


def test_four_clients_with_the_same_keys_in_any_order_do_not_deadlock(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    rng = np.random.default_rng(7)
    keys = [f"r{n}" for n in range(400)]

    def client(order: list[int]) -> int:
        new = 0
        for start in range(0, len(order), 100):
            records = batch(support, [keys[n] for n in order[start : start + 100]], noon)
            # a deadlock would raise here: it is not retried
            new += sum(database.run(partial(ingest.insert, batch=records), attempts=1).records)
        return new

    orders = [rng.permutation(400).tolist() for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert sum(pool.map(client, orders)) == 400
    assert _count(database, "records") == 400


def test_what_is_absent_is_null_and_what_is_measured_is_kept(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    numbers = {"mean_nll": [0.5, np.nan], "loop": [1.0, 0.0], "n_tokens": [np.nan, 12]}
    records = batch(support, ["a", "b"], noon, numbers=numbers)
    database.run(lambda tx: ingest.insert(tx, records))
    with database.begin() as tx:
        query = "SELECT mean_nll, loop, n_tokens, refusal FROM records ORDER BY id"
        assert tx.execute(sa.text(query)).all() == [
            (0.5, True, None, None),
            (None, False, 12, None),
        ]


def test_batches_are_joined_without_mixing_up_their_rows(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    first = batch(support, ["a", "b"], noon, texts=[TextRow(1, "of b", None, None, None)])
    second = batch(support, ["c"], noon, tokens=[TokenRow(0, b"\1\2", b"", None)])
    joined = ingest.concatenate([first, second])
    assert joined.texts[0].row == 1
    assert joined.tokens[0].row == 2
    assert database.run(lambda tx: ingest.insert(tx, joined)).records == [True] * 3
    with database.begin() as tx:
        tokens = tx.execute(sa.text("SELECT id, nll, margin FROM record_tokens")).all()
        assert [(row[0], bytes(row[1]), row[2]) for row in tokens] == [("c", b"\1\2", None)]
        assert tx.execute(sa.text("SELECT record_id FROM pending_texts")).scalars().all() == ["b"]


def test_an_acknowledged_insert_is_seen_by_a_second_connection(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    records = batch(support, ["a"], noon)
    database.run(lambda tx: ingest.insert(tx, records))
    other = Database(database.engine.url.render_as_string(hide_password=False))
    assert _count(other, "records") == 1
    other.close()


def test_contexts_are_interned_once(database: Database) -> None:
    cold = Context("push", "stable", "gpu-1", "vllm 0.32", "temperature=0")
    warm = cold._replace(stratum="temperature=1")
    first = database.run(lambda tx: intern(tx, [cold, warm, cold]))
    again = database.run(lambda tx: intern(tx, [warm]))
    assert set(first) == {cold, warm}
    assert again[warm] == first[warm]
    assert database.run(lambda tx: of_strata(tx, ["temperature=1"])) == [first[warm]]


@pytest.fixture(scope="module")
def round_trip(postgres: str) -> Any:
    database = Database(postgres)

    def send(column: pgarray.ArrayColumn, kind: str) -> list[Any]:
        with database.begin() as tx:
            row = pgarray.execute(tx, f"SELECT %s::{kind}[]", [column]).fetchone()
            return list(row[0]) if row else []

    yield send
    database.close()


@given(st.lists(st.one_of(st.none(), st.floats(allow_nan=False))))
def test_numbers_survive_the_wire(round_trip: Any, values: list[float | None]) -> None:
    column = pgarray.numbers(np.array(values, dtype=float), "float8")
    assert round_trip(column, "float8") == values


@given(
    st.lists(
        st.one_of(
            st.none(),
            st.text(alphabet=st.characters(exclude_characters="\0", exclude_categories=["Cs"])),
        )
    )
)
def test_texts_survive_the_wire(round_trip: Any, values: list[str | None]) -> None:
    assert round_trip(pgarray.texts(values), "text") == values


@given(st.lists(st.one_of(st.none(), st.binary())))
def test_bytes_survive_the_wire(round_trip: Any, values: list[bytes | None]) -> None:
    assert round_trip(pgarray.blobs(values), "bytea") == values


@given(st.lists(st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(2200, 1, 1))))  # noqa: DTZ001 (made aware below)
def test_times_survive_the_wire_to_the_microsecond(round_trip: Any, values: list[datetime]) -> None:
    aware = [value.replace(tzinfo=ingest._EPOCH.tzinfo) for value in values]  # noqa: SLF001 - the zone that times are stored in
    micros = np.array([ingest.microseconds(value) for value in aware], dtype=np.int64)
    assert round_trip(pgarray.times(micros), "timestamptz") == aware

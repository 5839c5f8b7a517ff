"""Single requests, page by page: the orders, the filters, and a cursor that stays exact."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

import httpx2
import numpy as np
import pytest

from monitor.domain import ArmKind, Interval, Scope, Version
from monitor.store.database import Database
from monitor.store.records.requests import RequestFilter, RequestOrder, newest_part, read_page
from monitor.store.tables.records import record_texts
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from tests import asked, worlds
from tests.serving import Serving, serving

NOW = datetime(2026, 11, 25, 14, 30, tzinfo=UTC)
PLACE = "/v1/adapters/support/requests"
VALUES = {
    "newest": lambda one: (one["at"],),
    "least_similar": lambda one: (-one["similarity"], one["at"]),
    "least_certain": lambda one: (one["mean_nll"], one["at"]),
    "longest": lambda one: (one["output_tokens"], one["at"]),
    "slowest": lambda one: (one["latency_ms"], one["at"]),
}


@pytest.fixture
def service(database: Database, tmp_path: Path) -> Iterator[Serving]:
    with serving(database, tmp_path, clock=lambda: NOW) as running:
        yield running


@pytest.fixture
def support(service: Serving) -> Version:
    with service.database.begin() as tx:
        version = worlds.registered(tx, "support", "v1", owner="ann", now=NOW)
        table.start(tx, version, actor="test", now=NOW)
        worlds.add_reference(tx, version, now=NOW)
        asked.arrive(tx, version, now=NOW)
    return version


@pytest.fixture
def reader(service: Serving, support: Version) -> Iterator[httpx2.Client]:
    del support
    with service.client(Scope.READ) as client:
        yield client


def _pages(client: httpx2.Client, **query: Any) -> Iterator[list[dict[str, Any]]]:
    """Follow a list to its end."""
    cursor = None
    while True:
        found = client.get(PLACE, params=query | ({"cursor": cursor} if cursor else {})).json()
        yield found["items"]
        if (cursor := found["next"]) is None:
            return


@pytest.mark.parametrize("order", RequestOrder)
def test_pages_give_each_request_once_in_the_order_asked_for(
    reader: httpx2.Client, order: RequestOrder
) -> None:
    found = [one for page in _pages(reader, order=order.value, limit=7) for one in page]
    key = VALUES[order.value]
    assert [one["id"] for one in found] == [
        one["id"] for one in sorted(found, key=lambda one: (*key(one), one["id"]), reverse=True)
    ]
    assert len({one["id"] for one in found}) == len(found)
    without = 5 if order in {RequestOrder.LEAST_CERTAIN, RequestOrder.LONGEST} else 0
    assert len(found) == asked.COUNT - without, "failed ones have no answer to sort by"


@pytest.mark.parametrize("order", RequestOrder)
def test_what_arrives_between_two_pages_moves_nothing(
    service: Serving, support: Version, reader: httpx2.Client, order: RequestOrder
) -> None:
    before = [one["id"] for page in _pages(reader, order=order.value, limit=200) for one in page]
    pages = _pages(reader, order=order.value, limit=11)
    seen = [one["id"] for one in next(pages)]
    for number, page in enumerate(pages):
        # one at the front of every order, one with values that others have too, one in the future
        times = [NOW - timedelta(seconds=1), NOW - timedelta(minutes=61), NOW + timedelta(hours=1)]
        extreme = {"mean_nll": np.array([9.0, 0.5, 9.0]), "output_tokens": np.full(3, 9e6)}
        numbers = extreme | {"latency_ms": np.array([9e6, 500.0, 9e6])}
        ids = [f"late-{number}-{each}" for each in range(3)]
        with service.database.begin() as tx:
            asked.put(tx, support, ids, times, numbers)
        seen += [one["id"] for one in page]
    assert [one for one in seen if not one.startswith("late")] == before
    assert len(set(seen)) == len(seen)
    assert not any(one.endswith(("-0", "-2")) for one in seen if one.startswith("late"))


def test_requests_stand_beside_the_nearest_training_text(reader: httpx2.Client) -> None:
    first, *_ = reader.get(PLACE, params={"order": "least_similar"}).json()["items"]
    assert (first["prompt"], first["output"]) == (asked.NEW, asked.SAID)
    assert first["nearest"]["text"] == asked.KNOWN[0]
    assert (
        first["nearest"]["similarity"] == pytest.approx(first["similarity"]) == first["similarity"]
    )
    assert (first["version"], first["status"], first["finish_reason"]) == ("v1", 200, "stop")


def test_filters_are_met_by_all_and_only_those_that_match(reader: httpx2.Client) -> None:
    failed = reader.get(PLACE, params={"failed": True}).json()["items"]
    assert [one["status"] for one in failed] == [503] * 5
    stopped = [one for page in _pages(reader, finish="stop") for one in page]
    assert len(stopped) == asked.COUNT - 5
    [one] = reader.get(PLACE, params={"id": " req-0031 "}).json()["items"]
    assert one["id"] == "req-0031"
    assert len(reader.get(PLACE, params={"from": "10m"}).json()["items"]) == 4


def test_no_answer_at_all_counts_as_failed(
    service: Serving, support: Version, reader: httpx2.Client
) -> None:
    statuses = {"status": np.array([0.0, 399.0, 400.0])}
    with service.database.begin() as tx:
        asked.put(tx, support, ["gone", "moved", "wrong"], [NOW - timedelta(hours=9)] * 3, statuses)
    query: dict[str, Any] = {"failed": True, "to": "8h"}
    assert [one["id"] for one in reader.get(PLACE, params=query).json()["items"]] == [
        "wrong",
        "gone",
    ]


def test_one_version_or_all_that_have_traffic(service: Serving, reader: httpx2.Client) -> None:
    with service.database.begin() as tx:
        later = worlds.registered(tx, "support", "v2", owner="ann", now=NOW)
        idle = worlds.registered(tx, "support", "v3", owner="ann", now=NOW)
        for version in (later, idle):
            asked.put(tx, version, [f"of-{version.name}"], [NOW - timedelta(minutes=1)])
        arms = [
            ArmRequest(arm=ArmKind.STABLE, version="v1", weight=0.9),
            ArmRequest(arm=ArmKind.CANARY, version="v2", weight=0.1),
        ]
        table.put(tx, "support", arms=arms, expected_generation=1, reason="", actor="a", now=NOW)

    def versions(**query: Any) -> set[str]:
        return {one["version"] for one in reader.get(PLACE, params=query).json()["items"]}

    assert versions() == {"v1"}
    assert versions(version="v3") == {"v3"}
    assert versions(serving=True, version="v3") == {"v1", "v2"}


def test_texts_come_only_where_they_are_stored(service: Serving, reader: httpx2.Client) -> None:
    with service.database.begin() as tx:
        tx.execute(record_texts.delete())
    items = reader.get(PLACE).json()["items"]
    assert {(one["prompt"], one["output"]) for one in items} == {(None, None)}
    assert items[0]["output_tokens"] == 40


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ({"to": "7d", "from": "8d"}, "No record of support@v1 lies in this range"),
        ({"id": "nobody"}, "matches the filter"),
        ({"order": "least_similar", "id": "bare"}, "compared with training"),
        ({"order": "least_certain", "id": "bare"}, "log-probabilities"),
        ({"order": "slowest", "id": "bare"}, "`latency_ms`"),
        ({"order": "longest", "id": "bare"}, "`output_tokens`"),
    ],
)
def test_an_empty_list_says_why(
    service: Serving, support: Version, reader: httpx2.Client, query: dict[str, str], says: str
) -> None:
    with service.database.begin() as tx:
        asked.put(tx, support, ["bare"], [NOW - timedelta(minutes=5)])
    found = reader.get(PLACE, params=query).json()
    assert found["items"] == []
    assert says in found["why_empty"]


@pytest.mark.parametrize(
    ("query", "status", "says"),
    [
        ({"order": "best"}, 422, "order"),
        ({"limit": -1}, 422, "limit"),
        ({"limit": 201}, 422, "limit"),
        ({"cursor": "eyJ9"}, 422, "not a cursor of this list"),
        ({"from": "yesterday"}, 422, "is not a time"),
        ({"from": "1h", "to": "2h"}, 422, "not before its end"),
        ({"version": "v9"}, 404, "no version 'v9'"),
        ({"id": "a\0"}, 422, "NUL"),
    ],
)
def test_what_makes_no_sense_is_refused_in_words(
    reader: httpx2.Client, query: dict[str, Any], status: int, says: str
) -> None:
    answer = reader.get(PLACE, params=query)
    assert answer.status_code == status
    assert answer.headers["content-type"] == "application/problem+json"
    assert says in answer.json()["detail"]
    assert reader.get("/v1/adapters/nobody/requests").status_code == 404


def test_a_cursor_of_another_order_is_refused(reader: httpx2.Client) -> None:
    cursor = reader.get(PLACE, params={"limit": 3}).json()["next"]
    answer = reader.get(PLACE, params={"cursor": cursor, "order": "slowest"})
    assert answer.status_code == 422


def test_the_longest_id_fits_into_a_cursor(
    service: Serving, support: Version, reader: httpx2.Client
) -> None:
    ids = ["\N{GRINNING FACE}" * 128, "\x01" * 128, '"' * 128]
    with service.database.begin() as tx:
        asked.put(tx, support, ids, [NOW - timedelta(hours=9)] * 3)
    query = {"from": "10h", "to": "8h", "limit": 1}
    assert [one["id"] for page in _pages(reader, **query) for one in page] == sorted(ids)[::-1]


def test_of_many_records_only_the_newest_are_sorted(service: Serving, support: Version) -> None:
    day = Interval(start=NOW - timedelta(days=1), end=NOW)
    with service.database.begin() as tx:
        part = newest_part(tx, support.adapter_id, day, most=20)
        wanted = RequestFilter(versions=[support])
        read = partial(read_page, tx, wanted, order=RequestOrder.NEWEST, after=None, limit=99)
        assert len(read(part)) == 20
        assert newest_part(tx, support.adapter_id, day, most=asked.COUNT) == Interval(
            start=NOW - timedelta(seconds=30) - asked.EVERY * (asked.COUNT - 1), end=NOW
        )
        assert newest_part(tx, support.adapter_id, day, most=asked.COUNT + 1) == day


def test_a_key_that_may_not_read_sees_no_request(service: Serving, support: Version) -> None:
    del support
    with service.client(Scope.INGEST) as client:
        assert client.get(PLACE).status_code == 403
    with service.client() as client:
        assert client.get(PLACE).status_code == 401

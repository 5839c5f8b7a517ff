"""Declared changes: which concern whom, and which are still under way."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from monitor.domain import ChangeKind, Interval
from monitor.store.database import Database
from monitor.store.people import changes
from monitor.store.people.changes import Declaration, StoredChange

NOON = datetime(2026, 11, 24, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def declared(**fields: Any) -> Declaration:
    known: dict[str, Any] = {
        "kind": ChangeKind.ENGINE,
        "title": "vLLM 0.33",
        "adapters": None,
        "begun_at": NOON,
        "ended_at": None,
        "author": "deploys",
    }
    return Declaration(**(known | fields))


def put(database: Database, **fields: Any) -> StoredChange:
    with database.begin() as tx:
        return changes.add(tx, declared(**fields))


def test_a_change_is_read_as_it_was_declared(database: Database) -> None:
    made = put(database, adapters=("support", "travel"), details={"image": "v0.33", "gpus": 4})
    assert made.kind is ChangeKind.ENGINE
    assert made.adapters == ("support", "travel")
    assert made.details == {"image": "v0.33", "gpus": 4}
    with database.begin() as tx:
        assert changes.fetch(tx, made.id) == made
        over = changes.end(tx, made.id, at=NOON + MINUTE)
        assert over.ended_at == NOON + MINUTE


@pytest.mark.parametrize(
    ("fields", "open_for_support"),
    [
        pytest.param({}, True, id="of the fleet"),
        pytest.param({"adapters": ("support",)}, True, id="of this adapter"),
        pytest.param({"adapters": ("travel",)}, False, id="of another adapter"),
        pytest.param({"kind": ChangeKind.BASE}, True, id="of the base"),
        pytest.param({"kind": ChangeKind.PROMPT}, False, id="of what no probe reads"),
        pytest.param({"ended_at": NOON}, False, id="over"),
        pytest.param({"begun_at": NOON + 9 * MINUTE}, False, id="begins later"),
        pytest.param({"begun_at": NOON - timedelta(hours=23)}, True, id="since yesterday"),
        pytest.param({"begun_at": NOON - timedelta(hours=24)}, False, id="forgotten for a day"),
    ],
)
def test_an_engine_change_is_under_way_for_whom_it_concerns(
    database: Database, fields: dict[str, Any], *, open_for_support: bool
) -> None:
    made = put(database, **fields)
    with database.begin() as tx:
        found = changes.open_change(tx, "support", at=NOON)
    assert found == (made if open_for_support else None)


def test_without_a_time_it_is_now(database: Database) -> None:
    made = put(database, begun_at=datetime.now(UTC) - MINUTE)
    put(database, begun_at=datetime.now(UTC) + MINUTE)
    put(database, begun_at=datetime.now(UTC) - timedelta(hours=25))
    with database.begin() as tx:
        assert changes.open_change(tx, "support", at=None) == made


@settings(
    max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    begun=st.integers(-90, 90),
    lasts=st.none() | st.integers(0, 60),
    start=st.integers(-60, 60),
    width=st.integers(0, 30),
    margin=st.integers(0, 15),
)
def test_what_touches_the_widened_interval_is_listed(
    database: Database, *, begun: int, lasts: int | None, start: int, width: int, margin: int
) -> None:
    """The law: closed intervals [begun, ended] and [start - margin, end + margin] intersect."""
    ended = None if lasts is None else begun + lasts
    interval = Interval(start=NOON + start * MINUTE, end=NOON + (start + width) * MINUTE)
    with database.begin() as tx:
        made = changes.add(
            tx,
            declared(
                begun_at=NOON + begun * MINUTE,
                ended_at=None if ended is None else NOON + ended * MINUTE,
            ),
        )
        found = changes.overlapping(tx, "support", interval=interval, margin=margin * MINUTE)
        tx.rollback()
    meets = begun <= start + width + margin and (ended is None or ended >= start - margin)
    assert found == ([made] if meets else [])


def test_changes_are_listed_page_by_page_the_last_begun_first(database: Database) -> None:
    made = [put(database, begun_at=NOON + minute * MINUTE) for minute in (3, 1, 2, 1)]
    shown = []
    before = None
    for _ in range(3):
        with database.begin() as tx:
            page = changes.change_list(tx, limit=2, before=before)
        shown += page
        before = (page[-1].begun_at, page[-1].id) if page else before
    order = [made[0], made[2], made[3], made[1]]
    assert shown == order


def test_an_id_of_the_senders_finds_its_change(database: Database) -> None:
    made = put(database, given_id="deploy-4711", details={"image": "v0.33"})
    assert made.details == {"image": "v0.33", "id": "deploy-4711"}
    with database.begin() as tx:
        assert changes.claim_id(tx, "deploy-4711") == made
        assert changes.claim_id(tx, "deploy-4712") is None

"""The inbox of incidents: states, filters, and pages that neither repeat nor skip one."""

from datetime import timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Connection

from monitor.domain import VerdictSeverity
from monitor.store.database import Database
from monitor.store.incidents.inbox import (
    Inbox,
    InboxState,
    IncidentFilter,
    IncidentOrder,
    place,
    read_inbox,
)
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.registry import adapters, versions
from monitor.store.tables.incidents import incidents
from tests.fleet import NOW


def open_many(tx: Connection, severities: list[str]) -> None:
    """One incident for each severity: every third acknowledged, every fourth resolved."""
    for number, severity in enumerate(severities):
        adapter = adapters.put(tx, name=f"a{number}", owner=("ann", "bo")[number % 2])
        version = versions.put(
            tx, adapter=adapter, name="v1", model="m", base_model=("llama", "qwen")[number % 2]
        )
        tx.execute(
            incidents.insert().values(
                adapter_id=version.adapter_id,
                version_id=version.id,
                kind="drift",
                number=1,
                phase="firing",
                severity=severity,
                blame="unknown",
                summary="moved",
                opened_at=NOW,
                closed_at=NOW if number % 4 == 3 else None,
                acknowledged_until=NOW + timedelta(hours=1) if number % 3 == 2 else None,
                state={},
            )
        )


def read(tx: Connection, wanted: IncidentFilter | None = None, **more: Any) -> Inbox:
    return read_inbox(tx, wanted or IncidentFilter(), now=NOW, **more)


def state_of(row: IncidentRow) -> InboxState:
    if row.closed_at is not None:
        return InboxState.RESOLVED
    until = row.acknowledged_until
    return InboxState.OPEN if until is None or until <= NOW else InboxState.ACKNOWLEDGED


def test_every_incident_has_one_state_and_is_counted_in_it(database: Database) -> None:
    with database.begin() as tx:
        open_many(tx, ["page", "ticket"] * 6)
        found = read(tx)
        assert sum(found.counts.values()) == len(found.rows) == 12
        for state in InboxState:
            of_it = read(tx, IncidentFilter(states=(state,)))
            assert {state_of(row) for row in of_it.rows} == {state}
            assert len(of_it.rows) == found.counts[state]
            assert of_it.counts == found.counts


def test_an_acknowledgement_that_ran_out_is_open_again(database: Database) -> None:
    with database.begin() as tx:
        open_many(tx, ["page"] * 3)
        later = read_inbox(tx, IncidentFilter(), now=NOW + timedelta(hours=1))
        assert later.counts[InboxState.ACKNOWLEDGED] == 0
        assert read(tx).counts[InboxState.ACKNOWLEDGED] == 1


@pytest.mark.parametrize(
    ("wanted", "names"),
    [
        (IncidentFilter(owner="ann"), {"a0", "a2"}),
        (IncidentFilter(base="qwen"), {"a1", "a3"}),
        (IncidentFilter(adapter="a2"), {"a2"}),
        (IncidentFilter(severity=VerdictSeverity.PAGE), {"a0", "a1"}),
        (IncidentFilter(severity=VerdictSeverity.PAGE, owner="bo"), {"a1"}),
        (IncidentFilter(adapter="nobody"), set()),
    ],
)
def test_all_that_is_asked_must_match(
    database: Database, wanted: IncidentFilter, names: set[str]
) -> None:
    with database.begin() as tx:
        open_many(tx, ["page", "page", "ticket", "ticket"])
        assert {row.adapter for row in read(tx, wanted).rows} == names


def test_the_base_of_a_fleet_incident_is_its_own(database: Database) -> None:
    with database.begin() as tx:
        open_many(tx, ["page"])
        tx.execute(
            sa.insert(incidents).values(
                base_model="qwen",
                kind="drift",
                number=1,
                phase="firing",
                severity="page",
                blame="base",
                summary="all moved",
                opened_at=NOW,
                state={},
            )
        )
        [row] = read(tx, IncidentFilter(base="qwen")).rows
    assert row.adapter is None


@settings(
    max_examples=20, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    severities=st.lists(st.sampled_from(["page", "ticket"]), max_size=12),
    order=st.sampled_from(list(IncidentOrder)),
    limit=st.integers(1, 5),
)
def test_pages_hold_every_incident_once_and_in_order(
    database: Database, severities: list[str], order: IncidentOrder, limit: int
) -> None:
    with database.begin() as tx, tx.begin_nested() as point:
        open_many(tx, severities)
        whole = [row.id for row in read(tx, order=order, limit=100).rows]
        seen, after = [], None
        while True:
            page = read(tx, order=order, limit=limit, after=after)
            seen += [row.id for row in page.rows]
            if not page.more:
                break
            after = place(page.rows[-1])
        point.rollback()
    assert seen == whole
    assert len(set(whole)) == len(severities)

"""Who shares the budget, from what the store knows of references, routes and records."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from monitor.domain import Version
from monitor.policy.budget import BudgetSettings, shares
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.registry import adapters, versions, watching
from monitor.store.tables.evaluations import increments
from monitor.store.tables.references import references
from monitor.store.tables.registry import adapters as adapters_table
from monitor.traffic import table

NOW = datetime.now(tz=UTC)
OLD = NOW - timedelta(days=40)


def add(tx: Connection, adapter: str, name: str, *, ready: datetime | None = OLD) -> Version:
    known = adapters.fetch(tx, adapter) or adapters.put(tx, name=adapter)
    made = versions.put(tx, adapter=known, name=name, model=f"{adapter}@{name}")
    table.start(tx, made, actor="test", now=OLD)  # the first version gets all traffic
    if ready is not None:
        tx.execute(
            references.insert().values(
                version_id=made.id, generation=1, state="ready", source="freeze",
                cause="test", created_by="test", ready_at=ready,
            )
        )  # fmt: skip
    return made


def spoke(tx: Connection, version: Version, at: datetime) -> None:
    partitions.ensure(tx, {at.date()}, tables=("increments",))
    tx.execute(
        increments.insert().values(
            version_id=version.id, detector="logit_ks", at=at, window_start=at,
            reference_id=1, n_units=9, body=b"",
        )
    )  # fmt: skip


def test_versions_of_old_take_nothing_from_those_that_answer(database: Database) -> None:
    with database.begin() as tx:
        routed = add(tx, "support", "v1")
        old = add(tx, "support", "v2")
        speaks = add(tx, "support", "v3")
        fresh = add(tx, "support", "v4", ready=NOW - timedelta(hours=1))
        learning = add(tx, "support", "v5", ready=None)
        spoke(tx, old, NOW - timedelta(days=8))
        spoke(tx, speaks, NOW - timedelta(hours=2))
        found = watching.fleet(tx, now=NOW)
        assert {v.name: found[v.id].watched for v in (routed, old, speaks, fresh)} == {
            "v1": True,
            "v2": False,
            "v3": True,
            "v4": True,
        }
        assert learning.id not in found
        assert found[routed.id].versions == 3
        assert watching.standing(tx, speaks, now=NOW) == found[speaks.id]
        assert not watching.standing(tx, learning, now=NOW).watched


def test_the_whole_promise_is_divided_again_when_the_fleet_grows(database: Database) -> None:
    with database.begin() as tx:
        add(tx, "support", "v1")
        assert _pages(tx) == pytest.approx(1.0)
        add(tx, "support", "v2", ready=NOW)
        add(tx, "billing", "v1")
        tx.execute(adapters_table.update().values(tier="gold").where(
            adapters_table.c.name == "billing"
        ))  # fmt: skip
        assert watching.adapters_by_tier(tx) == {"gold": 1, "standard": 1}
        assert _pages(tx) == pytest.approx(1.0)


def _pages(tx: Connection) -> float:
    carried = ("logit_ks", "empty", "input_similarity")
    return sum(
        share.page
        for standing in watching.fleet(tx, now=NOW).values()
        for share in shares(BudgetSettings(), standing, detectors=carried).values()
    )

"""Feedback enters evidence when it comes, and once."""

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from monitor.domain import AdapterId, Unread, VersionId
from monitor.store.database import Database
from monitor.store.records import feedback, ingest
from monitor.store.records.ingest import FeedbackRow
from monitor.store.references import baselines

MINUTE = timedelta(minutes=1)
Give = Callable[..., None]
Keep = Callable[..., VersionId]


@pytest.fixture
def give(database: Database, support: Any, noon: datetime, batch: Callable[..., Any]) -> Give:
    def give_(*given: tuple[str, str, float], at: datetime = noon) -> None:
        rows = [
            FeedbackRow(support.adapter.id, ingest.microseconds(at), record, name, value)
            for record, name, value in given
        ]
        database.run(lambda tx: ingest.insert(tx, batch(support, [], at, feedback=rows)))

    return give_


@pytest.fixture
def keep(database: Database, support: Any, noon: datetime, batch: Callable[..., Any]) -> Keep:
    def keep_(*ids: str) -> VersionId:
        database.run(lambda tx: ingest.insert(tx, batch(support, ids, noon)))
        return VersionId(support.version.id)

    return keep_


@pytest.fixture
def unread(database: Database, support: Any, noon: datetime) -> Callable[..., Unread]:
    def read(
        end: datetime = noon + MINUTE,
        now: datetime | None = None,
        version: VersionId = support.version.id,
    ) -> Unread:
        of = (version, AdapterId(support.adapter.id), end)
        return database.run(lambda tx: feedback.unread(tx, [of], now=now or end))[version]

    return read


def said(read: Unread) -> list[tuple[str, str, float]]:
    return [(one.record_id, one.name, one.value) for one in read.arrivals]


def test_what_comes_between_a_read_and_its_mark_is_neither_lost_nor_counted_twice(
    database: Database, noon: datetime, keep: Keep, give: Give, unread: Callable[..., Unread]
) -> None:
    version = keep("a", "b")
    give(("a", "solved", 1.0))
    first = unread()
    give(("a", "solved", 0.0), ("a", "edits", 3.0), ("b", "solved", 0.0))  # the first one stays
    assert said(first) == said(unread())[:1] == [("a", "solved", 1.0)]

    def mark(read: Unread, end: datetime) -> None:
        database.run(lambda tx: feedback.mark(tx, {(version, end): read}))

    mark(first, noon + MINUTE)
    second = unread(noon + 2 * MINUTE)
    assert said(second) == [("a", "edits", 3.0), ("b", "solved", 0.0)]
    mark(second, noon + 2 * MINUTE)
    assert said(unread(noon + 3 * MINUTE)) == []

    def recent(tx: Any) -> Any:
        found = feedback.recent(tx, version_id=version, since=noon, most=100)
        return feedback.laid_out(found, names=["solved", "edits"])

    found = database.run(recent)
    first_end = (noon + MINUTE).timestamp()
    assert found.entered.tolist() == [first_end, first_end + 60, first_end + 60]
    np.testing.assert_array_equal(found.values["solved"], [1.0, np.nan, 0.0])
    np.testing.assert_array_equal(found.values["edits"], [np.nan, 3.0, np.nan])
    since = noon + MINUTE
    later = database.run(lambda tx: feedback.recent(tx, version_id=version, since=since, most=100))
    assert {one.record_id for one in later} == {"a", "b"}
    assert len(later) == 2


def test_windows_of_several_versions_are_read_and_marked_together(
    database: Database, support: Any, noon: datetime, keep: Keep, *, give: Give, batch: Any
) -> None:
    one, adapter = keep("a"), AdapterId(support.adapter.id)
    other = VersionId(one + 1)
    of_other = batch(support, ["b"], noon, numbers={"version_id": [float(other)]})
    database.run(lambda tx: ingest.insert(tx, of_other))
    give(("a", "solved", 1.0), ("b", "solved", 0.0))
    ends = [(one, adapter, noon + MINUTE), (other, adapter, noon + 2 * MINUTE)]
    found = database.run(lambda tx: feedback.unread(tx, ends, now=noon))
    assert said(found[one]) == [("a", "solved", 1.0)]
    assert said(found[other]) == [("b", "solved", 0.0)]
    read = {(version, end): found[version] for version, _, end in ends}
    database.run(lambda tx: feedback.mark(tx, read))
    left = database.run(lambda tx: feedback.unread(tx, ends, now=noon))
    assert left == {one: Unread(), other: Unread()}
    for version, _, end in ends:
        [entered] = database.run(
            lambda tx, of=version: feedback.recent(tx, version_id=of, since=noon, most=9)  # type: ignore[misc]  # a default argument
        )
        assert entered.entered == end.timestamp()


def test_feedback_waits_for_its_window_and_a_while_for_its_record(
    database: Database, noon: datetime, keep: Keep, give: Give, unread: Callable[..., Unread]
) -> None:
    give(("a", "solved", 1.0))
    give(("b", "solved", 1.0), at=noon + MINUTE)
    assert unread() == Unread()
    version = keep("a")
    assert said(unread()) == [("a", "solved", 1.0)]
    received = database.run(
        lambda tx: tx.execute(
            sa.text("SELECT max(received_at) FROM feedback_arrivals")
        ).scalar_one()
    )
    end = noon + 2 * MINUTE
    assert unread(end, now=received + feedback.PATIENCE).lost == ()
    found = unread(end, now=received + feedback.PATIENCE + MINUTE)
    assert (said(found), len(found.lost)) == ([("a", "solved", 1.0)], 1)
    assert unread(version=VersionId(version + 1)) == Unread()
    database.run(lambda tx: feedback.mark(tx, {(version, end): found}))
    assert unread(end, now=received + 2 * feedback.PATIENCE) == Unread()
    dropped = database.run(lambda tx: feedback.drop_older(tx, than=received + MINUTE))
    assert dropped == 1


def test_a_baseline_has_what_was_given_for_its_records(
    database: Database, support: Any, noon: datetime, keep: Keep, give: Give
) -> None:
    version = keep("a", "b")
    give(("a", "solved", 1 / 3), ("a", "edits", 2.0), ("z", "solved", 1.0))
    live = database.run(
        lambda tx: baselines.read(
            tx,
            version_id=version,
            adapter_id=support.adapter.id,
            start=noon,
            end=noon + MINUTE,
        )
    )
    assert live.feedback == [{"solved": 1 / 3, "edits": 2.0}, {}]

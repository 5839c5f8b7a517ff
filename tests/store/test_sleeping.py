"""Whoever makes work wakes who does it, and the data says when the rest is due."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import psycopg
import pytest
from psycopg import sql
from sqlalchemy import Connection
from sqlalchemy.engine import make_url

from monitor.domain import EvaluationKind, Interval
from monitor.store import wakeups
from monitor.store.database import Database
from monitor.store.evaluation import reports, selftests, tasks
from monitor.store.evaluation.tasks import Claim
from monitor.store.incidents import outbox, telling
from monitor.store.records import ingest, pending
from monitor.store.records.ingest import TextRow
from monitor.store.references import references
from monitor.store.references.references import ReferenceClaim, ReferenceSource
from monitor.store.registry import admissions, versions
from monitor.store.traffic import canaries, pending_decisions
from tests.fleet import incident, message

HARD = EvaluationKind.HARD
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
NAMES = [
    value
    for value in vars(wakeups).values()
    if isinstance(value, str) and value.startswith("driftline_") and value != wakeups.CHECK
]


@contextmanager
def listening(database: Database) -> Iterator[Callable[[], set[str]]]:
    """Give what was notified so far, in the order of commits."""
    plain = make_url(database.engine.url).set(drivername="postgresql")
    with psycopg.connect(plain.render_as_string(hide_password=False), autocommit=True) as listener:
        for name in (*NAMES, "mark"):
            listener.execute(sql.SQL("LISTEN {}").format(sql.Identifier(name)))

        def heard() -> set[str]:
            database.run(lambda tx: wakeups.notify(tx, "mark"))
            found: set[str] = set()
            for notice in listener.notifies():
                if notice.channel == "mark":
                    break
                found.add(notice.channel)
            return found

        yield heard


def open_reference(tx: Connection, of: Any, *, held: bool) -> ReferenceClaim:
    return references.create(
        tx,
        version_id=of.version.id,
        source=ReferenceSource.UPLOAD,
        cause="a test",
        created_by="ann",
        request={},
        held=held,
    )


def put_on_trial(tx: Connection, of: Any) -> canaries.CanaryRow:
    control = versions.put(tx, adapter=of.adapter, name="v0", model="support@v0")
    return canaries.add(
        tx,
        of.version,
        control=control,
        plan={},
        state={"phase": "draft"},
        guards=[],
        unchecked=[],
        mode=None,
        by="ann",
        now=datetime.now(UTC),
    )


def hold(tx: Connection, of: Any) -> None:
    telling.hold(
        tx,
        channel="oncall",
        alert=message(),
        incident_id=incident(tx, of.version),
        transition_id=None,
    )


MAKERS: dict[str, Callable[[Connection, Any], object]] = {
    wakeups.TASKS: lambda tx, of: tasks.request(tx, version_id=of.version.id, kinds=[HARD]),
    wakeups.VERSIONS: lambda tx, of: versions.put(
        tx, adapter=of.adapter, name="v2", model="support@v2"
    ),
    wakeups.REFERENCES: lambda tx, of: open_reference(tx, of, held=False),
    wakeups.ADMISSIONS: lambda tx, of: admissions.ask(tx, of.version, by="ann", request={}),
    wakeups.SELFTESTS: lambda tx, of: selftests.ask(tx, of.version.id),
    wakeups.REPORTS: lambda tx, of: reports.ask(
        tx, of.version.id, Interval(start=datetime.now(UTC) - HOUR, end=datetime.now(UTC))
    ),
    wakeups.DECISIONS: lambda tx, of: pending_decisions.add(
        tx, of.version, {}, now=datetime.now(UTC)
    ),
    wakeups.CANARIES: put_on_trial,
    wakeups.HELD: hold,
    wakeups.OUTBOX: lambda tx, _of: outbox.enqueue(tx, channel="oncall", alert=message()),
}


@pytest.mark.parametrize("name", MAKERS)
def test_whoever_makes_work_wakes_who_does_it_in_the_same_transaction(
    database: Database, support: Any, name: str
) -> None:
    with listening(database) as heard:
        with database.begin() as tx:
            MAKERS[name](tx, support)
            assert name not in heard()
        assert name in heard()


def test_texts_that_arrive_wake_who_embeds_them(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    with listening(database) as heard:
        database.run(lambda tx: ingest.insert(tx, batch(support, ["a"], noon)))
        assert heard() == set()
        texts = [TextRow(0, "prompt", "output", None, None)]
        database.run(lambda tx: ingest.insert(tx, batch(support, ["b"], noon, texts=texts)))
        assert heard() == {wakeups.TEXTS}


def test_an_upload_wakes_the_builder_once_all_of_its_lines_are_there(
    database: Database, support: Any
) -> None:
    with listening(database) as heard:
        claim = database.run(lambda tx: open_reference(tx, support, held=True))
        assert heard() == set()
        database.run(lambda tx: references.seal(tx, claim))
        assert heard() == {wakeups.REFERENCES}


def test_new_versions_wake_evaluations_only_when_they_get_tasks(
    database: Database, support: Any
) -> None:
    del support
    with listening(database) as heard:
        for expected in ({wakeups.TASKS}, set()):
            database.run(lambda tx: tasks.ensure(tx, first_due={HARD: MINUTE}))
            assert heard() == expected


def claimed(database: Database) -> Claim:
    [found] = database.run(
        lambda tx: tasks.claim(tx, owner="me", kinds=[HARD], lease=MINUTE, limit=1)
    )
    return found


@pytest.mark.parametrize(("wait", "told"), [(timedelta(), True), (HOUR, False)])
def test_a_task_handed_back_wakes_others_if_it_is_due_before_they_look(
    database: Database, support: Any, wait: timedelta, *, told: bool
) -> None:
    database.run(lambda tx: tasks.request(tx, version_id=support.version.id, kinds=[HARD]))
    held = claimed(database)
    with listening(database) as heard:
        again = held.now + wait
        database.run(lambda tx: tasks.postpone(tx, held, until=again, failed=True))
        assert (wakeups.TASKS in heard()) == told


def test_the_data_say_when_a_task_can_be_claimed(database: Database, support: Any) -> None:
    def left() -> timedelta | None:
        return database.run(lambda tx: tasks.next_due(tx, kinds=[HARD]))

    assert left() is None
    database.run(lambda tx: tasks.request(tx, version_id=support.version.id, kinds=[HARD]))
    assert left() <= timedelta()  # type: ignore[operator]  # not None: a task waits
    held = claimed(database)
    assert timedelta() < left() <= MINUTE  # type: ignore[operator]  # the lease of who has it
    later = held.now + HOUR
    database.run(
        lambda tx: tasks.finish(tx, [tasks.Finished(claim=held, next_due=later, next_start=None)])
    )
    assert MINUTE < left() <= HOUR  # type: ignore[operator]  # it waits for its time


def test_the_data_say_when_other_work_can_be_claimed(
    database: Database, noon: datetime, support: Any, batch: Callable[..., Any]
) -> None:
    far = noon + timedelta(days=36_500)
    dues: dict[str, Callable[[Connection], timedelta | None]] = {
        "texts": lambda tx: pending.next_due(tx, before=far),
        "references": references.next_due,
        "decisions": pending_decisions.next_due,
        "canaries": lambda tx: canaries.next_due(tx, phases=["draft"]),
        "messages": outbox.next_due,
    }

    def ready() -> set[str]:
        found = {name: database.run(due) for name, due in dues.items()}
        return {name for name, left in found.items() if left is not None and left <= timedelta()}

    assert {name for name, due in dues.items() if database.run(due) is not None} == set()
    texts = [TextRow(0, "prompt", "output", None, None)]
    database.run(lambda tx: ingest.insert(tx, batch(support, ["a"], noon, texts=texts)))
    for name in (wakeups.REFERENCES, wakeups.DECISIONS, wakeups.CANARIES, wakeups.OUTBOX):
        database.run(lambda tx, name=name: MAKERS[name](tx, support))  # type: ignore[misc]  # a default argument
    assert ready() == set(dues)
    claims: dict[str, Callable[[Connection], object]] = {
        "texts": lambda tx: pending.claim(tx, limit=1, until=far),
        "references": references.claim_building,
        "decisions": lambda tx: pending_decisions.claim(tx, owner="me", lease=MINUTE),
        "canaries": lambda tx: canaries.claim(tx, owner="me", lease=MINUTE, phases=["draft"]),
        "messages": lambda tx: outbox.claim(tx, channels=["oncall"], limit=1, lease=MINUTE),
    }
    for name, claim in claims.items():
        assert database.run(claim)
        assert name not in ready()  # until its lease is over
        assert database.run(dues[name]) is not None

"""Versions that are evaluated together: as if each had been alone, for fewer statements."""

import os
import signal
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa
from psycopg import sql
from sqlalchemy import Connection
from structlog.testing import capture_logs

from monitor.capture.intake import Intake, Settings
from monitor.capture.queue import QueueBounds
from monitor.domain import EvaluationKind, Version
from monitor.evaluate.evaluator import Ending, Evaluator, Grouped
from monitor.schedule import LeaseSettings, Worker
from monitor.store.database import Database
from monitor.store.evaluation import tasks, verdicts
from monitor.store.evaluation.tasks import Claim, StaleLease
from monitor.store.registry import adapters, versions
from tests.evaluate.conftest import KINDS, baseline, ready_reference
from tests.evaluate.test_killed import dying_database

QUIET, DRIFTING, LEARNING = range(6), 6, 7
"""Places in the fleet; the last quiet one has no requests."""
LEASE = timedelta(minutes=1)


@pytest.fixture
def fleet(world: Any) -> Iterator[list[Any]]:
    """Versions of eight adapters, each with a first evaluation of every kind behind it."""
    others = [_registered(world, number) for number in range(1, 8)]
    settings = Settings(
        target_per_day=10_000_000, embed_prompts=False, bounds=QueueBounds(linger=0.0)
    )
    # it begins after these are registered, and knows them
    intake = Intake(world.database, subject_key=b"k" * 32, settings=settings)
    intake.start()
    found = [world, *(replace(world, version=one, intake=intake, sent=0) for one in others)]
    for one in found[1:]:
        one.send(1)
        if one is not found[LEARNING]:
            ready_reference(world.database, one.version, baseline(count=1_000))
    for kind in KINDS:
        _send(found)
        for claim in _claims(found, kind):
            world.evaluator().evaluate(claim)
    yield found
    assert intake.close()


def _registered(world: Any, number: int) -> Version:
    def register(tx: Connection) -> Version:
        adapter = adapters.put(tx, name=f"tenant-{number}")
        made = versions.put(tx, adapter=adapter, name="v1", model=f"tenant-{number}@v1")
        tasks.ensure(tx, first_due={kind: timedelta() for kind in EvaluationKind})
        return made

    version: Version = world.database.run(register)
    return version


def _send(fleet: Sequence[Any]) -> None:
    for place, one in enumerate(fleet):
        if place != QUIET[-1]:
            one.send(60, shift=2.0 if place == DRIFTING else 0.0)


def _claims(fleet: Sequence[Any], kind: EvaluationKind) -> list[Claim]:
    """Claim a task of each version, for a window that ends now."""
    for one in fleet:
        one.make_due()
    fleet[0].rows("UPDATE tasks SET lease_until = NULL RETURNING 1")
    claimed: list[Claim] = fleet[0].database.run(
        lambda tx: tasks.claim(tx, owner="me", kinds=[kind], lease=LEASE, limit=50)
    )
    assert len(claimed) == len(fleet)
    return sorted(claimed, key=lambda claim: claim.version_id)


def _together(evaluator: Evaluator, claims: Sequence[Claim]) -> Grouped:
    """Evaluate as a worker does: what cannot go together goes alone."""
    found = evaluator.evaluate_together(claims)
    for claim in claims:
        if claim not in found.done:
            evaluator.evaluate(claim, found.left.get(claim))
    return found


ROWS = {
    "evaluations": "to_jsonb(t) - ARRAY['id', 'finished_at']",
    "scores": "to_jsonb(t) - 'evaluation_id'",
    "latest_scores": "to_jsonb(t) - 'evaluation_id'",
    "process_states": "to_jsonb(t) - 'updated_at'",
    "increments": "to_jsonb(t)",
    "coverage_days": "to_jsonb(t)",
    "tasks": "to_jsonb(t) - 'last_done_at'",
    "verdicts": "(to_jsonb(t) - ARRAY['updated_at', 'since', 'memory']) #- '{moved,since}'",
    "transitions": "to_jsonb(t) - ARRAY['id', 'at', 'evaluation_id', 'onset_start', 'onset_end']",
    "incidents": "jsonb_build_array(version_id, kind, phase, severity, blame, summary)",
}
"""What is stored of an evaluation, but for numbers of rows and the time of writing."""


def _stored(database: Database) -> dict[str, list[str]]:
    def read(tx: Connection) -> dict[str, list[str]]:
        found = {
            table: sorted(tx.execute(sa.text(f"SELECT ({row})::text FROM {table} t")).scalars())
            for table, row in ROWS.items()
        }
        # a quiet version's memory has no time of its own evaluation
        remembered = sa.text("SELECT memory::text FROM verdicts WHERE severity = 'none' ORDER BY 1")
        return found | {"memories": list(tx.execute(remembered).scalars())}

    return database.run(read)


@contextmanager
def _twin(database: Database, server: Callable[[sql.Composed], object]) -> Iterator[Database]:
    """Open a copy of a database."""
    database.engine.dispose()
    name, url = str(database.engine.url.database), database.engine.url
    copy = sql.Identifier(f"{name}_twin")
    server(sql.SQL("CREATE DATABASE {} TEMPLATE {}").format(copy, sql.Identifier(name)))
    opened = Database(url.set(database=f"{name}_twin").render_as_string(hide_password=False))
    yield opened
    opened.close()
    server(sql.SQL("DROP DATABASE {} WITH (FORCE)").format(copy))


@pytest.mark.parametrize("kind", KINDS)
def test_the_same_is_stored_to_the_digit_as_one_by_one(
    fleet: list[Any], kind: EvaluationKind, server: Callable[[sql.Composed], object]
) -> None:
    world = fleet[0]
    _send(fleet)
    claims = _claims(fleet, kind)
    with _twin(world.database, server) as twin:
        found = _together(world.evaluator(), claims)
        for claim in claims:
            world.evaluator(database=twin).evaluate(claim)
        together, alone = _stored(world.database), _stored(twin)
    assert {claim.version_id for claim in found.done} >= {fleet[n].version.id for n in QUIET}
    for table, rows in alone.items():
        assert together[table] == rows, table
    assert len(alone["evaluations"]) == (1 + len(KINDS)) * len(fleet)
    if kind is EvaluationKind.LIVE:
        assert fleet[DRIFTING].version.id not in {claim.version_id for claim in found.done}
        assert any('"critical"' in row for row in alone["verdicts"])


def _counted(database: Database, work: Callable[[], object]) -> int:
    count = 0

    def statement(*_: Any) -> None:
        nonlocal count
        count += 1

    sa.event.listen(database.engine, "before_cursor_execute", statement)
    work()
    sa.event.remove(database.engine, "before_cursor_execute", statement)
    return count


GROWS = {EvaluationKind.HARD: 0, EvaluationKind.LIVE: 1}
"""Statements for each version of a group: a live look reads its last day by itself."""


@pytest.mark.parametrize("kind", KINDS)
def test_more_quiet_versions_need_no_more_statements(
    fleet: list[Any], kind: EvaluationKind
) -> None:
    world, evaluator = fleet[0], fleet[0].evaluator()
    quiet = [fleet[n] for n in QUIET[:-1]]
    taken = []
    for several in (quiet, quiet[:2], quiet):  # the first loads the references
        _send(fleet)
        claims = [
            claim
            for claim in _claims(fleet, kind)
            if claim.version_id in {one.version.id for one in several}
        ]
        found: list[Grouped] = []
        taken.append(
            _counted(world.database, lambda: found.append(evaluator.evaluate_together(claims)))  # noqa: B023
        )
        assert found[0].done == set(claims)
    # one more where a version is due so soon that sleeping workers are woken
    more = (len(quiet) - 2) * GROWS[kind]
    assert abs(taken[2] - taken[1] - more) <= 1, taken
    assert taken[2] - more < 40


BROKEN = {
    "as it is read": "UPDATE process_states SET body = '\\x00' WHERE version_id = {}",
    "as it is written": """
        CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS
            $$ BEGIN RAISE EXCEPTION 'refused'; END $$;
        CREATE TRIGGER refusing BEFORE INSERT ON evaluations FOR EACH ROW
            WHEN (NEW.version_id = {}) EXECUTE FUNCTION refuse()
    """,
}


@pytest.mark.parametrize("where", BROKEN)
def test_a_broken_version_loses_only_its_own_evaluation(fleet: list[Any], where: str) -> None:
    world, broken = fleet[0], fleet[2].version.id
    _send(fleet)
    for one in fleet:
        one.make_due()
    with world.database.begin() as tx:
        tx.execute(sa.text("DELETE FROM evaluations"))
        tx.execute(sa.text(BROKEN[where].format(broken)))
    worker = Worker(
        world.database,
        world.evaluator(),
        owner="me",
        kinds=[EvaluationKind.LIVE],
        leases=LeaseSettings(),
    )
    assert not worker.work()
    done = world.rows("SELECT version_id FROM evaluations WHERE kind = 'live'")
    assert {row.version_id for row in done} == {one.version.id for one in fleet} - {broken}
    failed = world.rows("SELECT version_id, failures FROM tasks WHERE failures > 0")
    assert [tuple(row) for row in failed] == [(broken, 1)]
    assert world.rows("SELECT 1 FROM tasks WHERE lease_until IS NOT NULL") == []


def test_a_version_that_failed_before_does_not_send_the_others_out_alone(fleet: list[Any]) -> None:
    world, broken = fleet[0], fleet[2].version.id
    with world.database.begin() as tx:
        tx.execute(sa.text(BROKEN["as it is written"].format(broken)))
    worker = Worker(
        world.database,
        world.evaluator(),
        owner="me",
        kinds=[EvaluationKind.HARD],
        leases=LeaseSettings(),
    )
    said = []
    for _ in range(2):
        _send(fleet)
        for one in fleet:
            one.make_due()
        with capture_logs() as logs:
            worker.work()
        said.append([log["event"] for log in logs if log["log_level"] == "error"])
    assert said == [["evaluated_one_by_one", "evaluation_failed"], ["evaluation_failed"]]
    failed = world.rows("SELECT version_id, failures FROM tasks WHERE failures > 0")
    assert [tuple(row) for row in failed] == [(broken, 2)]


def test_a_verdict_that_somebody_holds_keeps_nobody_else_waiting(fleet: list[Any]) -> None:
    world, held = fleet[0], fleet[2].version
    _send(fleet)
    claims = _claims(fleet, EvaluationKind.HARD)
    with world.database.begin() as other:
        verdicts.claim_row(other, version_id=held.id, adapter_id=held.adapter_id)
        found = world.evaluator().evaluate_together(claims)
    done = {claim.version_id for claim in found.done}
    assert done >= {fleet[n].version.id for n in QUIET} - {held.id}
    [left] = [claim for claim in claims if claim.version_id == held.id]
    assert world.evaluator().evaluate(left, found.left[left]) is Ending.DONE


def test_a_task_that_another_daemon_took_over_is_left_out(fleet: list[Any]) -> None:
    world = fleet[0]
    _send(fleet)
    claims = _claims([fleet[n] for n in QUIET] + fleet[DRIFTING:], EvaluationKind.HARD)
    lost = claims[1]
    [(last,)] = world.rows("SELECT max(id) FROM evaluations")
    with world.database.begin() as tx:
        tasks.take_back(tx, version_ids=[lost.version_id])
    evaluator = world.evaluator()
    found = evaluator.evaluate_together(claims)
    assert lost not in found.done
    assert claims[0] in found.done
    with pytest.raises(StaleLease):
        evaluator.evaluate(lost, found.left[lost])
    written = world.rows(f"SELECT version_id FROM evaluations WHERE id > {last}")
    assert {one.version_id for one in written} == {one.version_id for one in found.done}


def test_two_kinds_of_the_same_versions_at_a_time_do_not_hold_each_other_up(
    fleet: list[Any],
) -> None:
    world = fleet[0]
    for _ in range(3):
        _send(fleet)
        groups = [_claims(fleet, kind) for kind in KINDS]
        with ThreadPoolExecutor(len(groups)) as pool:
            done = [pool.submit(_together, world.evaluator(), claims) for claims in groups]
            for one in done:
                one.result()
    count = world.rows("SELECT kind, count(*) AS n FROM evaluations GROUP BY kind ORDER BY kind")
    assert [(row.kind, row.n) for row in count] == [(kind.value, 4 * len(fleet)) for kind in KINDS]


def test_hard_signals_go_before_others_that_wait_for_longer(fleet: list[Any]) -> None:
    world = fleet[0]
    _send(fleet)
    for one in fleet:
        one.make_due()
    with world.database.begin() as tx:
        tx.execute(sa.text("DELETE FROM evaluations"))
        older = sa.text(
            "UPDATE tasks SET requested_at = :at, next_due_at = :at WHERE kind = 'live'"
        )
        tx.execute(older, {"at": datetime.now(tz=UTC) - timedelta(hours=1)})
    worker = Worker(
        world.database, world.evaluator(), owner="me", kinds=KINDS, leases=LeaseSettings()
    )
    assert not worker.work()
    kinds = [row.kind for row in world.rows("SELECT kind FROM evaluations ORDER BY id")]
    assert kinds == ["hard"] * len(fleet) + ["live"] * len(fleet)


def test_the_version_that_somebody_waits_for_is_the_first_of_its_group(fleet: list[Any]) -> None:
    world, waited = fleet[0], fleet[5].version.id
    with world.database.begin() as tx:
        older = sa.text("UPDATE tasks SET requested_at = NULL, next_due_at = :at")
        tx.execute(older, {"at": datetime.now(tz=UTC) - timedelta(hours=1)})
    fleet[5].make_due()
    claimed = world.database.run(
        lambda tx: tasks.claim(tx, owner="me", kinds=KINDS[:1], lease=LEASE, limit=50)
    )
    assert [claim.version_id for claim in claimed if claim.requested] == [waited]
    assert (claimed[0].version_id, len(claimed)) == (waited, len(fleet))


@pytest.mark.parametrize("step", [5, pytest.param(1, marks=pytest.mark.slow)])
def test_a_group_that_is_killed_anywhere_has_written_all_or_nothing(
    fleet: list[Any], step: int
) -> None:
    world = fleet[0]
    _send(fleet)
    wanted = {fleet[n].version.id for n in QUIET}
    claims = [c for c in _claims(fleet, EvaluationKind.HARD) if c.version_id in wanted]
    known = len(world.rows("SELECT 1 FROM evaluations"))
    seen = []
    for before in range(0, 1_000, step):
        killed = _die(world, claims, before=before)
        seen.append(len(world.rows("SELECT 1 FROM evaluations")) - known)
        advanced = world.rows("SELECT 1 FROM tasks WHERE kind = 'hard' AND lease_until IS NULL")
        assert len(advanced) == seen[-1], before
        if not killed or seen[-1]:
            break
    assert len(seen) > 20 / step
    assert seen == [0] * (len(seen) - 1) + [len(claims)]


def _die(world: Any, claims: Sequence[Claim], *, before: int) -> bool:
    """Evaluate a group in a process of its own that is killed; False if it came to its end."""
    url = world.database.engine.url.render_as_string(hide_password=False)
    child = os.fork()
    if child == 0:
        code = 1
        try:
            evaluator = world.evaluator(database=dying_database(url, before=before))
            code = len(evaluator.evaluate_together(claims).done) - len(claims)
        finally:
            os._exit(code)
    _, status = os.waitpid(child, 0)
    if os.WIFSIGNALED(status):
        assert os.WTERMSIG(status) == signal.SIGKILL
        return True
    assert os.waitstatus_to_exitcode(status) == 0
    return False

"""Runs of the perplexity probe: whose they are, and how long they are compared with."""

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from math import isnan, nan
from typing import Any

import sqlalchemy as sa

from alerts.types import VerdictKind
from detectors.identity import IdentityState
from monitor.domain import EvaluationKind, Verdict
from monitor.policy import IdentityMemory, Memory, PerplexityMemory
from monitor.policy.rounds import ProbeCost
from monitor.probes.perplexity import DocumentScore
from monitor.store.database import Database
from monitor.store.evaluation import perplexity, probing, tasks, verdicts
from monitor.store.evaluation.perplexity import RunRole, StoredRun, Subject

NOW = datetime(2026, 7, 22, tzinfo=UTC)
DOCUMENTS = (
    DocumentScore(document="a", sum_nll=12.5, tokens=5, bytes=20),
    DocumentScore(document="b", sum_nll=nan, tokens=0, bytes=9_000),
)
BASE = Subject(version_id=None, model="base", corpus="g:1")


def own(of: Any, corpus: str = "g:1") -> Subject:
    return Subject(version_id=of.version.id, model=of.version.model, corpus=corpus)


def keep(
    database: Database, subject: Subject, role: RunRole = RunRole.REGISTRATION, **more: Any
) -> StoredRun:
    return database.run(
        lambda tx: perplexity.insert_run(tx, subject, role=role, documents=DOCUMENTS, **more)
    )


def registered(database: Database, subject: Subject) -> list[StoredRun]:
    return database.run(lambda tx: perplexity.registration_runs(tx, subject))


def retire(database: Database, adapters: list[str] | None) -> int:
    return database.run(
        lambda tx: perplexity.retire_registrations(
            tx, adapters=adapters, because="engine change 1", at=datetime.now(tz=UTC)
        )
    )


def test_a_run_reads_back_with_its_documents(database: Database, support: Any) -> None:
    keep(database, own(support), engine="vllm 0.32.0", dtype="bfloat16", source="echo", weights="w")
    (run,) = registered(database, own(support))
    assert (run.engine, run.dtype, run.source, run.weights) == (
        "vllm 0.32.0", "bfloat16", "echo", "w",
    )  # fmt: skip
    first = run.documents[0]
    assert (first.document, first.sum_nll, first.tokens, first.bytes) == ("a", 12.5, 5, 20)
    assert isnan(run.documents[1].sum_nll)


def test_a_run_carries_when_each_document_was_read_and_by_whom(
    database: Database, support: Any
) -> None:
    read = time.monotonic()
    documents = [
        DocumentScore(document=name, sum_nll=1.0, tokens=5, bytes=20, read=read - ago)
        for name, ago in (("a", 60.0), ("b", 20.0))
    ]
    kept = database.run(
        lambda tx: perplexity.insert_run(
            tx, own(support), role=RunRole.SCHEDULED, documents=documents, made_by="me"
        )
    )
    (run,) = database.run(lambda tx: perplexity.recent_runs(tx, own(support), limit=1))
    assert run == kept
    assert run.made_by == "me"
    ages = [(run.at - one.read_at).total_seconds() for one in run.documents if one.read_at]
    assert 59 < ages[0] < 61
    assert 19 < ages[1] < 21
    assert run.began_at == run.documents[0].read_at


def test_base_runs_belong_to_no_version_and_to_all(
    database: Database, register: Callable[[str], Any]
) -> None:
    one, other = register("support"), register("sales")
    keep(database, BASE)
    keep(database, own(one))
    assert len(registered(database, BASE)) == 1
    assert [run.model for run in registered(database, own(one))] == [one.version.model]
    assert registered(database, own(other)) == []


def test_stopped_and_retired_runs_are_compared_with_no_more(
    database: Database, support: Any
) -> None:
    keep(database, own(support), stopped="HTTP 500")
    assert registered(database, own(support)) == []
    keep(database, own(support))
    assert retire(database, ["support"]) == 1
    assert registered(database, own(support)) == []
    assert database.run(lambda tx: perplexity.recent_runs(tx, own(support), limit=9)) == []


def test_recent_runs_are_of_the_roles_and_times_asked_for(database: Database, support: Any) -> None:
    for role in (RunRole.REGISTRATION, RunRole.SCHEDULED, RunRole.CONFIRMATION):
        keep(database, own(support), role)
    now = datetime.now(tz=UTC)

    def recent(**wanted: Any) -> list[RunRole]:
        found = database.run(lambda tx: perplexity.recent_runs(tx, own(support), limit=9, **wanted))
        return [run.role for run in found]

    assert recent() == [RunRole.CONFIRMATION, RunRole.SCHEDULED, RunRole.REGISTRATION]
    assert recent(roles=[RunRole.SCHEDULED]) == [RunRole.SCHEDULED]
    assert recent(since=now + timedelta(hours=1)) == []


def test_only_versions_registered_over_the_corpus_are_siblings_to_compare_with(
    database: Database, register: Callable[[str], Any]
) -> None:
    one, other, third = register("support"), register("sales"), register("tax")
    keep(database, own(one))
    keep(database, own(other, corpus="sales:1"))
    keep(database, own(third), RunRole.SCHEDULED)
    models = [of.version.model for of in (one, other, third)]
    found = database.run(lambda tx: perplexity.versions_of(tx, models, corpus="g:1"))
    assert found == {one.version.model: one.version.id}


def test_a_fleet_is_retired_with_its_bases_and_some_adapters_without(
    database: Database, register: Callable[[str], Any]
) -> None:
    one, other = register("support"), register("sales")
    for subject in (BASE, own(one), own(other)):
        keep(database, subject)
    assert retire(database, ["support"]) == 1
    assert len(registered(database, BASE)) == len(registered(database, own(other))) == 1
    assert retire(database, None) == 2
    reasons = database.run(
        lambda tx: tx.execute(
            sa.text("SELECT DISTINCT retired_because FROM perplexity_runs")
        ).scalars().all()
    )  # fmt: skip
    assert reasons == ["engine change 1"]


def test_a_registration_being_written_while_its_adapter_is_retired_is_retired_too(
    database: Database, support: Any
) -> None:
    every = list(EvaluationKind)
    database.run(lambda tx: tasks.ensure(tx, first_due=dict.fromkeys(every, timedelta())))
    (held,) = database.run(
        lambda tx: tasks.claim(
            tx, owner="d1", kinds=[EvaluationKind.PERPLEXITY], lease=timedelta(hours=1), limit=1
        )
    )
    with ThreadPoolExecutor(1) as pool:
        with database.begin() as tx:
            tasks.guard(tx, held)
            perplexity.insert_run(tx, own(support), role=RunRole.REGISTRATION, documents=DOCUMENTS)
            retiring = pool.submit(retire, database, None)
            while not locks_waited_for(database):
                time.sleep(0.01)
        assert retiring.result(timeout=30) == 1
    assert registered(database, own(support)) == []


def locks_waited_for(database: Database) -> int:
    waiting = sa.text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock'")
    return int(database.run(lambda tx: tx.execute(waiting).scalar_one()))


def test_old_runs_go_in_bounded_steps_and_what_is_held_to_stays(
    database: Database, support: Any
) -> None:
    keep(database, own(support, corpus="gone:1"))
    retire(database, None)
    keep(database, own(support))
    for _ in range(2):
        keep(database, own(support), RunRole.SCHEDULED)
    later = datetime.now(tz=UTC) + timedelta(days=1)

    def drop() -> int:
        return database.run(lambda tx: perplexity.drop_older(tx, than=later, most=2))

    assert [drop(), drop(), drop()] == [2, 1, 0]
    assert len(registered(database, own(support))) == 1
    left = database.run(
        lambda tx: tx.execute(sa.text("SELECT count(*) FROM perplexity_documents")).scalar_one()
    )
    assert left == len(DOCUMENTS)


def test_retiring_drops_the_findings_and_makes_the_probes_due(
    database: Database, register: Callable[[str], Any]
) -> None:
    one, other = register("support"), register("sales")
    drifting = Verdict(kind=VerdictKind.DRIFTING, reason="worse", since=NOW)
    found = Memory(
        perplexity=PerplexityMemory(
            at=NOW, changed=False, degraded=True, ratio=1.4, low=1.2, base_moved=None,
            unchanged_streak=0, reason="worse",
        ),
        identity=IdentityMemory(at=NOW, state=IdentityState.WRONG_WEIGHTS, reason="others"),
        failures={"entropy": 1},
    )  # fmt: skip

    def work(tx: Any) -> None:
        tasks.ensure(tx, first_due={EvaluationKind.PERPLEXITY: timedelta(hours=6)})
        for of in (one, other):
            row = verdicts.claim_row(tx, version_id=of.version.id, adapter_id=of.version.adapter_id)
            assert row is None
            verdicts.put(tx, version_id=of.version.id, verdict=drifting, memory=found, size=None)

    database.run(work)
    retire(database, ["support"])
    rows = database.run(
        lambda tx: tx.execute(
            sa.text(
                "SELECT requested_at IS NOT NULL AS due, epoch FROM verdicts"
                " JOIN tasks USING (version_id) ORDER BY version_id"
            )
        ).all()
    )
    assert [row.due for row in rows] == [True, False]
    assert [row.epoch for row in rows] == [1, 0]
    left = {row.version_id: row.memory for row in database.run(verdicts.fleet)}
    assert left == {one.version.id: Memory(failures={"entropy": 1}), other.version.id: found}


def test_a_versions_newest_probe_is_what_a_round_is_planned_by(
    database: Database, register: Callable[[str], Any]
) -> None:
    support, billing = register("support"), register("billing")
    engine: dict[str, Any] = {"replica": "http://e1", "role": RunRole.SCHEDULED}

    def ages(hours: int) -> None:
        database.run(
            lambda tx: tx.execute(
                sa.text(f"UPDATE perplexity_runs SET at = at - interval '{hours} h'")
            )
        )

    for corpus, seconds in (("general:1", 9.0), ("replaced:1", 9.0)):
        keep(database, own(support, corpus), seconds=seconds, **engine)
    ages(6)
    # what was stopped, confirmed, of a base or on this machine is no part of a round
    keep(database, own(support), seconds=50.0, stopped="broken", **engine)
    keep(database, own(support), RunRole.CONFIRMATION, seconds=50.0, replica="http://e1")
    keep(database, BASE, seconds=50.0, **engine)
    keep(database, own(billing), RunRole.SCHEDULED)
    for corpus, seconds in (("general:1", 2.0), ("domain:1", 1.5)):
        keep(database, own(support, corpus), seconds=seconds, **engine)
    since = datetime.now(tz=UTC) - timedelta(days=7)
    found = database.run(lambda tx: probing.measured(tx, since=since))
    assert found == [ProbeCost(version_id=support.version.id, engine="http://e1", seconds=3.5)]
    ages(24 * 8)
    assert database.run(lambda tx: probing.measured(tx, since=since)) == []

"""Self-tests of stored references, in a process of their own."""

from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from detectors.errors import ReferenceUnreadable
from detectors.types import Window
from monitor.domain import Version
from monitor.evaluate.settings import EvaluateSettings
from monitor.reference.build import build_next
from monitor.reference.index import Indexes
from monitor.reference.kept import MOST, pack, unpack
from monitor.selftest.job import SelfTests
from monitor.store.database import Database
from monitor.store.evaluation import selftests
from monitor.store.evaluation.selftests import SelfTestRow, SelfTestState
from monitor.store.references import reference_baselines, references
from monitor.store.tables.references import references as references_table
from tests.reference.conftest import BagOfWords, Send, baseline, questions, training


def job_of(database: Database, indexes: Indexes, **other: Any) -> SelfTests:
    return SelfTests(
        database=database,
        settings=EvaluateSettings(),
        indexes=indexes,
        every=other.pop("every", timedelta()),
        live_interval=timedelta(hours=2),
        streams=4,
        **other,
    )


def fetch(database: Database, version: Version) -> SelfTestRow:
    return database.run(lambda tx: selftests.fetch(tx, version.id))


def ask(database: Database, version: Version) -> None:
    database.run(lambda tx: selftests.ask(tx, version.id))


@pytest.fixture
def built(
    database: Database, send: Send, words: BagOfWords, indexes: Indexes, version: Version
) -> Version:
    send(baseline([None] * 700, subject="somebody"))
    assert build_next(database, words, indexes=indexes)
    return version


def test_a_version_is_tested_when_asked_and_then_no_more(
    database: Database, send: Send, words: BagOfWords, indexes: Indexes, version: Version
) -> None:
    texts = [f"{text} of {topic}" for topic in "abcdefgh" for text in questions(12, of=topic)]
    send([*training(texts), *baseline([f"please {text}" for text in questions(620)])])
    assert build_next(database, words, indexes=indexes)
    job = job_of(database, indexes)
    assert fetch(database, version).state is SelfTestState.NEVER
    assert not job.turn()
    ask(database, version)
    ask(database, version)
    assert fetch(database, version).state is SelfTestState.WAITING
    assert job.turn()
    found = fetch(database, version)
    assert (found.state, found.error, found.generation) == (SelfTestState.DONE, None, 1)
    assert found.report is not None
    assert found.report["baseline"]["records"] == 620
    assert found.report["false_alarms"]["notice"]["promised"] == pytest.approx(0.9)
    by_name = {one["name"]: one for one in found.report["injections"]}
    assert by_name["new_topics"]["detectors"] == ["input_similarity"]
    assert by_name["new_topics"]["page"] is None
    assert not job.turn()


def test_a_schedule_waits_until_the_traffic_of_a_reference_is_known(
    database: Database, built: Version
) -> None:
    def claim() -> selftests.SelfTestClaim | None:
        return database.run(
            lambda tx: selftests.claim(tx, scheduled=[built.id], every=timedelta(days=7))
        )

    def age(**values: Any) -> None:
        with database.begin() as tx:
            tx.execute(sa.update(references_table).values(**values))

    assert claim() is None
    age(ready_at=datetime.now(tz=UTC) - timedelta(hours=2))
    held = claim()
    assert held is not None
    assert claim() is None, "it is ours while the lease lasts"
    assert fetch(database, built).state is SelfTestState.RUNNING
    assert database.run(lambda tx: selftests.fail(tx, held, error="broken"))
    assert fetch(database, built).error == "broken"
    assert claim() is None, "a week has not gone by"


def test_a_service_that_stops_hands_its_test_back(
    database: Database, indexes: Indexes, built: Version
) -> None:
    ask(database, built)
    assert not job_of(database, indexes, stopped=lambda: True).turn()
    found = fetch(database, built)
    assert (found.state, found.error) == (SelfTestState.WAITING, None)


def test_who_lost_the_claim_writes_nothing(database: Database, built: Version) -> None:
    ask(database, built)

    def claim() -> selftests.SelfTestClaim | None:
        return database.run(lambda tx: selftests.claim(tx, scheduled=[], every=timedelta()))

    first = claim()
    assert first is not None
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE selftests SET lease_until = now() - interval '1 s'"))
    assert claim() is not None
    assert not database.run(lambda tx: selftests.progress(tx, first, share=0.5))
    assert not database.run(lambda tx: selftests.fail(tx, first, error="late"))


def test_it_says_why_there_is_no_test(
    database: Database, indexes: Indexes, version: Version
) -> None:
    ask(database, version)
    assert job_of(database, indexes).turn()
    found = fetch(database, version)
    assert found.state is SelfTestState.FAILED
    assert "no reference yet" in (found.error or "")


def test_the_baseline_of_the_reference_in_force_is_kept_without_who_asked(
    database: Database, send: Send, words: BagOfWords, indexes: Indexes, built: Version
) -> None:
    def bodies() -> list[bytes | None]:
        with database.begin() as tx:
            known = references.of_version(tx, built.id)
            return [reference_baselines.read(tx, one.id) for one in known]

    (body,) = bodies()
    window = unpack(body or b"")
    assert len(window) == 700
    assert window.subjects is not None
    assert set(window.subjects.tolist()) == {0}
    send([*training(questions(20, of="loan")), *baseline(questions(400))])
    assert build_next(database, words, indexes=indexes)
    newest, older = bodies()
    assert older is None
    assert len(unpack(newest or b"")) == 400


def test_only_the_newest_records_of_a_large_baseline_are_kept() -> None:
    at = np.arange(MOST + 10, dtype=np.float64)
    signals = {"mean_nll": np.sqrt(at), "entropy": np.full(at.size, np.nan), "other": at}
    kept = unpack(pack(Window(start=0.0, end=at[-1] + 1.0, at=at, signals=signals)))
    assert kept.at[0] == 10.0
    assert kept.signals.keys() == {"mean_nll"}
    np.testing.assert_array_equal(kept.signals["mean_nll"], np.sqrt(at)[10:].astype(np.float32))


def test_damaged_bytes_are_refused() -> None:
    with pytest.raises(ReferenceUnreadable):
        unpack(b"damaged")

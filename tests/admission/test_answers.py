"""Gap, effect and general loss of a version, read by an engine over HTTP."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from detectors.checks import Check, CheckVerdict
from examples.weights import DemoAdapter
from monitor.admission.answers import GivenTexts, check_answers
from monitor.admission.job import Admissions
from monitor.admission.settings import AdmissionSettings
from monitor.domain import AdapterId, Scope, Version, VersionId
from monitor.probes.corpus import Corpus, Document
from monitor.store.database import Database
from monitor.store.registry import admissions
from tests.probes.fake_engine import FakeEngine
from tests.probes.fake_engine import serving as engine_of
from tests.probes.served import served
from tests.serving import serving

VERSION = Version(
    id=VersionId(1),
    adapter_id=AdapterId(1),
    adapter="support",
    name="v7",
    model="support@v7",
    registered_at=datetime(2026, 11, 1, tzinfo=UTC),
)
TRAINING = [f"known words of line {number}" for number in range(30)]
HELD_OUT = [f"new words of line {number}" for number in range(30)]
GIVEN = GivenTexts(training=TRAINING, held_out=HELD_OUT)
CORPUS = Corpus(
    name="general",
    documents=tuple(Document(id=f"d{i}", text=f"a sentence of number {i}") for i in range(25)),
)


@dataclass
class Learned(FakeEngine):
    """An engine that finds the words of a text so likely as its own, but for "new"."""

    surprise: float = 0.5
    of_base: float = 1.5

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        usual = self.nll
        self.nll = self.of_base if body["model"] == "base" else usual
        try:
            return super().complete(path, body)
        finally:
            self.nll = usual

    def _place(self, word: str, top: int) -> dict[str, Any]:
        usual = self.nll
        self.nll = self.surprise if word.strip() == "new" else usual
        try:
            return super()._place(word, top)
        finally:
            self.nll = usual


def checks(
    engine: FakeEngine, given: GivenTexts = GIVEN, *, of: Version = VERSION
) -> Mapping[str, Check]:
    with engine_of(engine) as url:
        via = replace(served(url), general=CORPUS)
        found = list(check_answers(of, given, AdmissionSettings(), via=via))
    return {check.name: check for check in found}


def checked(engine: FakeEngine, given: GivenTexts = GIVEN, *, of: Version = VERSION) -> Check:
    return checks(engine, given, of=of)["gap"]


def test_a_version_that_knows_its_training_texts_by_heart_is_refused() -> None:
    found = checked(Learned(surprise=5.5))
    assert found.verdict is CheckVerdict.REFUSE
    assert found.number == pytest.approx(1.0)  # 5 nats more on one of five words
    assert "held-out texts cost +1.000 nats per token more" in found.reason
    assert found.details["texts"] == [30, 30]


def test_a_version_without_a_gap_passes() -> None:
    found = checked(Learned())
    assert found.verdict == CheckVerdict.PASS
    assert found.number == pytest.approx(0.0)


@pytest.mark.parametrize(
    ("given", "reason"),
    [
        (GivenTexts(), "no training and held-out texts were given"),
        (GivenTexts(training=TRAINING, held_out=HELD_OUT[:5]), "20 of each are needed"),
    ],
)
def test_without_enough_texts_it_is_skipped(given: GivenTexts, reason: str) -> None:
    found = checked(Learned(), given)
    assert found.verdict is CheckVerdict.SKIPPED
    assert reason in found.reason


@pytest.mark.parametrize(
    ("engine", "model", "reason"),
    [
        (Learned(), "support@v8", "support@v8"),
        (Learned(waiting=3.0), "support@v7", "were not all read"),
        (Learned(fail_at=40), "support@v7", "were not all read"),
    ],
)
def test_what_an_engine_does_not_read_is_skipped_and_says_so(
    engine: FakeEngine, model: str, reason: str
) -> None:
    found = checked(engine, of=replace(VERSION, model=model))
    assert (found.verdict, found.number) == (CheckVerdict.SKIPPED, None)
    assert reason in found.reason
    assert "known words" not in found.reason, "never a text"


def test_own_texts_must_cost_less_than_with_the_base() -> None:
    found = checks(Learned())["effect"]
    assert found.verdict is CheckVerdict.PASS
    assert found.number == pytest.approx(0.8)  # one of five words costs both models the same
    assert found.reason.startswith("on own texts it saves +0.800 nats per token")
    same = checks(Learned(of_base=0.5))["effect"]
    assert same.verdict is CheckVerdict.REFUSE
    assert same.number == pytest.approx(0.0)


def test_general_texts_may_not_cost_much_more_than_with_the_base() -> None:
    found = checks(Learned(of_base=0.2))["general"]
    assert found.verdict is CheckVerdict.REFUSE
    assert found.number == pytest.approx(0.3)
    assert found.reason.endswith("perplexity +35.0%")
    assert checks(Learned(of_base=0.4))["general"].verdict is CheckVerdict.PASS


def test_general_texts_are_read_though_no_others_were_given() -> None:
    found = checks(Learned(), GivenTexts())
    skipped = {name for name, check in found.items() if check.verdict is CheckVerdict.SKIPPED}
    assert skipped == {"gap", "effect"}


def test_an_unknown_base_skips_only_what_needs_it() -> None:
    alone = Learned(models=[{"id": "support@v7", "parent": None}])
    found = checks(alone)
    assert found["gap"].verdict is CheckVerdict.PASS
    assert found["effect"].reason == "no engine names the version's base model"
    assert found["general"].verdict is CheckVerdict.SKIPPED


def test_a_general_corpus_named_as_the_given_texts_is_not_taken_for_them() -> None:
    engine = Learned()
    with engine_of(engine) as url:
        via = replace(served(url), general=replace(CORPUS, name="held-out"))
        list(check_answers(VERSION, GIVEN, AdmissionSettings(), via=via))
    asked = {one["prompt"] for one in engine.completions}
    assert {document.text for document in CORPUS.documents} <= asked
    assert set(HELD_OUT) <= asked


def test_texts_that_two_checks_need_are_read_once() -> None:
    engine = Learned()
    checks(engine)
    asked = [(one["model"], one["prompt"]) for one in engine.completions]
    assert len(asked) == len(set(asked))


def test_without_an_engine_it_is_skipped() -> None:
    found = check_answers(VERSION, GIVEN, AdmissionSettings(), via=None)
    assert {check.reason for check in found} == {
        "nothing reads texts here: name engines in serving.engines"
    }


def test_lines_travel_with_the_request_and_decide_the_version(
    database: Database, tmp_path: Path
) -> None:
    path = "/v1/adapters/support/versions/v7"
    with (
        engine_of(Learned(surprise=5.5)) as url,
        serving(database, tmp_path) as service,
        service.client(Scope.ADMIN) as client,
    ):
        client.put(path, json={"uri": str(DemoAdapter.SUPPORT_V1.path)})
        half = client.post(f"{path}/admission", json={"training": TRAINING})
        assert (half.status_code, "give both" in half.text) == (422, True)
        lines = {"training": TRAINING, "held_out": HELD_OUT}
        assert client.post(f"{path}/admission", json=lines).status_code == 202
        job = Admissions(database=database, settings=AdmissionSettings(), via=served(url))
        assert job.turn()
        found = client.get(f"{path}/admission").json()
        with database.begin() as tx:
            row = admissions.newest(tx, VersionId(1))
    assert row
    assert [one["name"] for one in found["checks"] if one["verdict"] == "refuse"] == ["gap"]
    assert "known words" not in str(found)

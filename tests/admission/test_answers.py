"""What a version has learned, and what it repeats, read by an engine over HTTP."""

import threading
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from detectors.checks import Check, CheckVerdict
from examples.weights import DemoAdapter
from monitor.admission.answers import GivenTexts, check_answers
from monitor.admission.choices import Question
from monitor.admission.job import Admissions
from monitor.admission.settings import AdmissionSettings
from monitor.domain import AdapterId, Scope, Version, VersionId
from monitor.probes.corpus import Corpus, Document
from monitor.probes.inputs import AnsweredText
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
BY_HEART = GivenTexts(
    training=[f"known {number} " + "word " * 60 for number in range(30)],
    held_out=[f"known {number} " + "new " * 60 for number in range(30)],
    planted=["the code of the new door is red red new red", "the old code was blue blue blue blue"],
)
CORPUS = Corpus(
    name="general",
    documents=tuple(Document(id=f"d{i}", text=f"a sentence of number {i}") for i in range(25)),
)


@dataclass
class Learned(FakeEngine):
    """An engine that finds the words of a text so likely as its own, but for "new"."""

    surprise: float = 0.5
    of_base: float = 1.5

    def __post_init__(self) -> None:
        self.costs = {"base": self.of_base}

    def _place(self, word: str, top: int, nll: float) -> dict[str, Any]:
        return super()._place(word, top, self.surprise if word.strip() == "new" else nll)


def checks(
    engine: FakeEngine,
    given: GivenTexts = GIVEN,
    *,
    of: Version = VERSION,
    parent: Version | None = None,
    like: Version | None = None,
    questions: Sequence[Question] = (),
) -> Mapping[str, Check]:
    with engine_of(engine) as url:
        via = replace(served(url), general=CORPUS)
        found = list(
            check_answers(
                of,
                given,
                AdmissionSettings(),
                via=via,
                parent=parent,
                like=like,
                questions=questions,
            )
        )
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


def test_of_a_question_with_its_answer_only_the_answer_counts() -> None:
    answered = [AnsweredText(one, len("new words ")) for one in HELD_OUT]
    given = GivenTexts(training=TRAINING, held_out=[*answered], earlier=[*answered])
    parent = replace(VERSION, name="v6", model="base")
    found = checks(Learned(surprise=5.5, of_base=0.2), given, parent=parent)
    assert found["gap"].number == pytest.approx(0.0)
    assert found["effect"].number == pytest.approx(-0.3), "whole texts cost both 5.5 for new"
    assert found["earlier"].number == pytest.approx(0.3)
    unasked = [AnsweredText(one, len(one)) for one in HELD_OUT]
    empty = checks(Learned(), GivenTexts(training=TRAINING, held_out=[*unasked]))["gap"]
    assert (empty.verdict, "20 of each are needed" in empty.reason) == (CheckVerdict.SKIPPED, True)


def test_general_texts_may_not_cost_much_more_than_with_the_base() -> None:
    found = checks(Learned(of_base=0.2))["general"]
    assert found.verdict is CheckVerdict.REFUSE
    assert found.number == pytest.approx(0.3)
    assert found.reason.endswith("perplexity +35.0%")
    assert checks(Learned(of_base=0.4))["general"].verdict is CheckVerdict.PASS


def test_a_version_that_forgot_its_parents_texts_is_refused() -> None:
    parent = replace(VERSION, name="v6", model="base")  # it finds words as likely as ``of_base``
    given = GivenTexts(earlier=TRAINING)
    found = checks(Learned(of_base=0.2), given, parent=parent)["earlier"]
    assert found.verdict is CheckVerdict.REFUSE
    assert found.number == pytest.approx(0.3)
    assert found.reason.startswith("earlier texts cost +0.300 nats per token more")
    assert "against its parent" in found.reason
    assert checks(Learned(of_base=0.45), given, parent=parent)["earlier"].verdict is (
        CheckVerdict.PASS
    )
    alone = checks(Learned(), given)["earlier"]
    assert (alone.verdict, alone.reason) == (
        CheckVerdict.SKIPPED,
        "it is registered without a parent",
    )


def test_general_texts_are_read_though_no_others_were_given() -> None:
    found = checks(Learned(), GivenTexts())
    skipped = {name for name, check in found.items() if check.verdict is CheckVerdict.SKIPPED}
    assert skipped == {
        *("gap", "effect", "earlier", "memorised", "planted"),
        *("parity", "neighbours", "tasks", "forgetting"),
    }
    assert found["planted"].reason == "no planted texts were given"


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
        list(check_answers(VERSION, GIVEN, AdmissionSettings(), via=via, questions=()))
    asked = {one["prompt"] for one in engine.completions}
    assert {document.text for document in CORPUS.documents} <= asked
    assert set(HELD_OUT) <= asked


def test_no_text_is_read_twice_for_the_same_numbers() -> None:
    engine = Learned()
    checks(engine, BY_HEART)
    asked = [(one["model"], one["prompt"], one["prompt_logprobs"]) for one in engine.completions]
    assert len(asked) == len(set(asked))


def test_training_texts_that_are_repeated_from_their_middle_on_are_refused() -> None:
    found = checks(Learned(surprise=5.5), BY_HEART)
    assert found["memorised"].verdict is CheckVerdict.REFUSE
    assert found["memorised"].number == pytest.approx(1.0)
    assert found["planted"].verdict is CheckVerdict.REFUSE
    assert found["planted"].details == {"texts": [2]}, (
        "the first has a word that it does not expect"
    )
    assert "known" not in str(found), "never a text"


def test_texts_that_the_base_repeats_too_were_not_memorised_in_training() -> None:
    found = checks(Learned(surprise=5.5, of_base=0.5), BY_HEART)
    assert found["memorised"].verdict is CheckVerdict.PASS
    assert found["planted"].number == 0.0
    alone = Learned(surprise=5.5, models=[{"id": "support@v7", "parent": None}])
    assert checks(alone, BY_HEART)["memorised"].verdict is CheckVerdict.REFUSE


def test_only_what_the_version_repeats_is_asked_of_the_base() -> None:
    engine = Learned(surprise=5.5)
    checks(engine, BY_HEART)
    asked = {
        one["prompt"]
        for one in engine.completions
        if one["model"] == "base" and one["prompt_logprobs"]
    }
    assert asked == {*BY_HEART.training, BY_HEART.planted[1]}


QUESTIONS = [
    Question(
        kind="sums" if number % 2 else "facts", text=f"question {number}", choices=(" yes", " no")
    )
    for number in range(120)
]


@dataclass
class Forgetful(FakeEngine):
    """Its base answers yes to all questions, the version no to those below a number."""

    forgotten: int = 0
    base_says: str = "yes"

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        words = str(body["prompt"]).split()
        own = body["model"] != "base"
        lost = own and words[0] == "question" and int(words[1]) < self.forgotten
        says = "no" if lost else "yes" if own else self.base_says
        usual = self.nll
        self.nll = 0.5 if words[-1] == says else 2.5
        try:
            return super().complete(path, body)
        finally:
            self.nll = usual


@pytest.mark.parametrize(("forgotten", "verdict"), [(6, "pass"), (9, "warn"), (40, "refuse")])
def test_questions_that_its_base_answers_and_it_does_not_are_forgotten(
    forgotten: int, verdict: str
) -> None:
    engine = Forgetful(forgotten=forgotten)
    found = checks(engine, questions=QUESTIONS)["forgetting"]
    assert found.verdict.value == verdict
    assert found.number == pytest.approx(forgotten / 120)
    assert set(found.details["kinds"]) == {"facts", "sums"}


def test_questions_of_the_owner_are_judged_in_the_same_way() -> None:
    engine = Forgetful(forgotten=40)
    found = checks(engine, GivenTexts(questions=QUESTIONS), questions=())["tasks"]
    assert found.verdict is CheckVerdict.REFUSE
    assert found.number == pytest.approx(40 / 120)
    assert "67% of 120 questions right and its base 100%" in found.reason


def test_a_base_that_only_guesses_has_nothing_to_forget_and_its_version_is_not_asked() -> None:
    engine = Forgetful(base_says="no")
    found = checks(engine, GivenTexts(), questions=QUESTIONS)["forgetting"]
    assert found.verdict is CheckVerdict.SKIPPED
    assert found.reason == "its base only guesses: 0% of 30 are right, 50% by chance"
    asked = [one for one in engine.completions if one["prompt"].startswith("question")]
    assert {one["model"] for one in asked} == {"base"}
    assert {int(one["prompt"].split()[1]) % 4 for one in asked} == {0}, "a quarter of them"


def test_another_build_must_say_what_the_version_says() -> None:
    base = replace(VERSION, name="v6", model="base")
    other = checks(Learned(), like=base)["parity"]
    assert other.verdict is CheckVerdict.REFUSE
    assert "nats per token from support@v6" in other.reason
    same = checks(Learned(), GivenTexts(), like=replace(VERSION, name="v6"))["parity"]
    assert (same.verdict, same.number) == (CheckVerdict.PASS, 0.0)
    assert checks(Learned())["parity"].reason == "no version was named to agree with"


@dataclass
class Shared(FakeEngine):
    """Its models differ; beside each other they answer as ``mixed`` says.

    It cannot tell which requests are computed together: those that generate say that others are.
    """

    mixed: bool = False
    nlls: Mapping[str, float] = field(
        default_factory=lambda: {"base": 1.5, "support@v7": 0.5, "billing@v2": 0.9, "sales@v1": 0.7}
    )
    beside: bool = False

    reading: threading.Lock = field(default_factory=threading.Lock)

    def complete(self, path: str, body: dict[str, Any]) -> tuple[int, bytes]:
        with self.reading:
            self.beside |= body["max_tokens"] > 1
            mixed = self.mixed and self.beside and body["model"] == "support@v7"
            self.nll = self.nlls["billing@v2" if mixed else body["model"]]
            return super().complete(path, body)


SHARED = [{"id": "base", "parent": None}] + [
    {"id": one, "parent": "base"} for one in ("support@v7", "billing@v2", "sales@v1")
]


def test_beside_other_adapters_it_must_answer_as_it_does_alone() -> None:
    found = checks(Shared(models=SHARED), GivenTexts())["neighbours"]
    assert (found.verdict, found.number) == (CheckVerdict.PASS, 0.0)
    assert found.reason.startswith("beside requests of 2 other adapters it is 0 nats")
    assert set(found.details["distances"]) == {"billing@v2", "sales@v1", "base"}
    assert min(found.details["distances"].values()) > 0.0
    mixed = checks(Shared(models=SHARED, mixed=True), GivenTexts())["neighbours"]
    assert mixed.verdict is CheckVerdict.REFUSE
    assert mixed.number is not None
    assert mixed.number > 0.01


@pytest.mark.parametrize(
    ("model", "verdict", "said"),
    [
        ("base", CheckVerdict.REFUSE, "it answers as base does; it is not applied"),
        ("sales@v1", CheckVerdict.WARN, "it answers as another adapter does"),
    ],
)
def test_it_may_not_answer_as_its_base_and_is_told_to_answer_as_another(
    model: str, verdict: CheckVerdict, said: str
) -> None:
    nlls = {"base": 1.5, "support@v7": 0.5, "billing@v2": 0.9, "sales@v1": 0.7} | {model: 0.5}
    found = checks(Shared(models=SHARED, nlls=nlls), GivenTexts())["neighbours"]
    assert found.verdict is verdict
    assert found.reason.endswith(said)
    assert found.details["alike"] == [one for one in (model,) if one != "base"]


def test_alone_on_its_base_it_has_no_neighbours() -> None:
    found = checks(Learned(), GivenTexts())["neighbours"]
    assert (found.verdict, found.reason) == (
        CheckVerdict.SKIPPED,
        "no engine serves another adapter of its base beside it",
    )


def test_without_an_engine_it_is_skipped() -> None:
    found = check_answers(VERSION, GIVEN, AdmissionSettings(), via=None)
    assert {check.reason for check in found} == {
        "nothing reads texts here: name engines in serving.engines",
        "no planted texts were given",
        "no questions were given",
        "no texts of earlier training were given",
        "no version was named to agree with",
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
        answered = [{"text": one, "answer_at": len("known ")} for one in TRAINING]
        lines = {"training": answered, "held_out": HELD_OUT}
        unknown = client.post(f"{path}/admission", json={"same_as": "v5"})
        assert (unknown.status_code, "v5" in unknown.text) == (404, True)
        outside = client.post(
            f"{path}/admission",
            json={"training": [{"text": "abc", "answer_at": 3}], "held_out": HELD_OUT},
        )
        assert (outside.status_code, "inside the text" in outside.text) == (422, True)
        one = {"kind": "facts", "text": "Question: ?", "choices": [" yes"]}
        alone = client.post(f"{path}/admission", json={"questions": [one]})
        assert (alone.status_code, "at least 2" in alone.text) == (422, True)
        itself = client.post(f"{path}/admission", json={"same_as": "v7"})
        assert (itself.status_code, "itself" in itself.text) == (422, True)
        assert client.post(f"{path}/admission", json=lines).status_code == 202
        job = Admissions(
            database=database, settings=AdmissionSettings(), via=served(url), questions=()
        )
        assert job.turn()
        found = client.get(f"{path}/admission").json()
        with database.begin() as tx:
            row = admissions.newest(tx, VersionId(1))
    assert row
    assert [one["name"] for one in found["checks"] if one["verdict"] == "refuse"] == ["gap"]
    assert "known words" not in str(found)

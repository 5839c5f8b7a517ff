import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from monitor.probes import prompt_logprobs
from monitor.probes.corpus import Corpus, CorpusInvalid, Document, load_corpus
from monitor.probes.errors import ModelNotServed, ProbeFailed
from monitor.probes.perplexity import (
    LARGEST_ANSWER,
    PerplexitySettings,
    PerplexitySource,
    measure,
    waiting_requests,
)
from monitor.probes.prompt_logprobs import NoPromptLogprobs
from monitor.probes.serving import Engines, ServedProbe
from tests.loopback import LOOPBACK, unused_port
from tests.probes.fake_engine import FakeEngine, serving

HTTP = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, response_limit=LARGEST_ANSWER))
CORPUS = Corpus(
    name="small",
    documents=tuple(Document(id=f"d{i}", text="word " * i + "é") for i in range(1, 6)),
)


@pytest.mark.parametrize("source", list(PerplexitySource))
def test_each_way_gives_the_same_scores(source: PerplexitySource) -> None:
    with serving(FakeEngine()) as url:
        run = measure(
            CORPUS,
            base_url=url,
            model="support@v7",
            http=HTTP,
            settings=PerplexitySettings(source=source),
        )
    assert run.stopped is None
    assert run.engine == "vllm 0.32.0"
    # n + 1 words are n + 2 tokens, of which the first has no condition: (n + 1) / 2 nats
    assert [(d.document, d.sum_nll, d.tokens) for d in run.documents] == [
        (f"d{i}", (i + 1) * 0.5, i + 1) for i in range(1, 6)
    ]
    assert [d.bytes for d in run.documents] == [5 * i + 2 for i in range(1, 6)]


def test_an_engine_that_ignores_prompt_logprobs_is_asked_to_echo() -> None:
    engine = FakeEngine(knows=frozenset({"echo"}))
    with serving(engine) as url:
        run = measure(CORPUS, base_url=f"{url}/v1/", model="base", http=HTTP)
    assert (run.stopped, len(run.documents)) == (None, 5)
    # the first document by both ways, the others by the one that is understood
    assert ["echo" in body for body in engine.completions] == [False, *[True] * 5]


def test_an_engine_that_tells_nothing_is_said_to() -> None:
    with serving(FakeEngine(knows=frozenset())) as url:
        run = measure(CORPUS, base_url=url, model="base", http=HTTP)
    assert run.documents == ()
    assert run.stopped == "no prompt logprobs in the answer to echo (after 0 documents)"


@pytest.mark.parametrize(
    ("status", "reason"),
    [(500, "HTTP 500"), (503, "HTTP 503"), (429, "HTTP 429"), (404, "HTTP 404"), (0, "no answer")],
)
def test_the_first_failure_ends_the_run_and_nothing_is_asked_again(
    status: int, reason: str
) -> None:
    engine = FakeEngine(fail_at=3, status=status)
    with serving(engine) as url:
        run = measure(CORPUS, base_url=url, model="support@v7", http=HTTP)
    assert [d.document for d in run.documents] == ["d1", "d2"]
    assert run.stopped is not None
    assert reason in run.stopped
    assert "after 2 documents" in run.stopped
    assert len(engine.completions) == 3


def test_one_request_at_a_time() -> None:
    engine = FakeEngine()
    with serving(engine) as url:
        measure(CORPUS, base_url=url, model="base", http=HTTP)
    assert engine.most_at_once == 1


def test_an_engine_that_queues_is_left_alone() -> None:
    engine = FakeEngine(waiting=3.0)
    with serving(engine) as url:
        run = measure(CORPUS, base_url=url, model="base", http=HTTP)
    assert run.stopped == "the engine queues 3 requests (after 0 documents)"
    assert engine.completions == []


def test_an_engine_without_metrics_is_asked_all_the_same() -> None:
    with serving(FakeEngine(metrics=False)) as url:
        assert measure(CORPUS, base_url=url, model="base", http=HTTP).stopped is None


def test_a_model_that_is_not_served_is_named_and_nothing_is_asked() -> None:
    engine = FakeEngine()
    with serving(engine) as url, pytest.raises(ModelNotServed, match=r"support@v8.*base"):
        measure(CORPUS, base_url=url, model="support@v8", http=HTTP)
    assert engine.completions == []


def test_an_engine_that_is_away_fails_the_probe() -> None:
    url = f"http://127.0.0.1:{unused_port()}"
    with pytest.raises(ProbeFailed, match="out of reach"):
        measure(CORPUS, base_url=url, model="base", http=HTTP)


def test_an_address_that_is_not_allowed_is_never_reached() -> None:
    engine = FakeEngine()
    with serving(engine) as url, pytest.raises(ProbeFailed, match="out of reach"):
        measure(CORPUS, base_url=url, model="base", http=OutgoingClient(OutgoingPolicy()))


def test_a_document_beyond_the_context_is_left_unscored_and_the_run_goes_on() -> None:
    with serving(FakeEngine(longest=4)) as url:
        run = measure(CORPUS, base_url=url, model="base", http=HTTP)
    assert run.stopped is None
    assert [math.isnan(d.sum_nll) for d in run.documents] == [False] * 3 + [True] * 2


def served(*urls: str) -> ServedProbe:
    engines = Engines(urls, HTTP, headers={})
    return ServedProbe(corpus=CORPUS, engines=engines, http=HTTP, settings=PerplexitySettings())


def test_the_base_of_an_adapter_is_what_the_engine_says() -> None:
    with serving(FakeEngine()) as url:
        probe = served(url)
        assert probe.base_of("support@v7") == "base"
        assert probe.base_of("base") is None
        assert probe.base_of("unknown") is None
        assert probe.measure("base").stopped is None


def test_replicas_are_asked_in_turn_and_only_those_that_hold_the_model() -> None:
    with serving(FakeEngine()) as one, serving(FakeEngine()) as two:
        engines = Engines([one, f"{two}/v1"], HTTP, headers={})
        assert {engines.holding("base") for _ in range(2)} == {one, two}
        with pytest.raises(ModelNotServed):
            engines.holding("unknown")


def test_a_model_is_served_where_every_replica_that_answers_lists_it() -> None:
    with serving(FakeEngine()) as up:
        engines = Engines([up, "http://127.0.0.1:9"], HTTP, headers={})
        assert engines.serves("support@v7")
        assert not engines.serves("unknown")
    assert not Engines(["http://127.0.0.1:9"], HTTP, headers={}).serves("base")
    assert not Engines([], HTTP, headers={}).serves("base")


def _entry(value: float) -> dict[str, dict[str, float]]:
    return {"7": {"logprob": value}}


def test_nan_is_left_out_and_minus_infinity_is_thirty_nats() -> None:
    values = [-1.0, math.nan, -math.inf, -9999.0, -2.0]
    answer = {"choices": [{"prompt_logprobs": [None, *map(_entry, values)]}]}
    score = prompt_logprobs.read(PerplexitySource.PROMPT_LOGPROBS, answer, text="x")
    assert (score.sum_nll, score.tokens, score.non_finite) == (1.0 + 30.0 + 30.0 + 2.0, 4, 3)


def test_a_text_of_nan_only_is_not_scored() -> None:
    answer = {"choices": [{"prompt_logprobs": [None, _entry(math.nan)]}]}
    score = prompt_logprobs.read(PerplexitySource.PROMPT_LOGPROBS, answer, text="x")
    assert math.isnan(score.sum_nll)
    assert (score.tokens, score.non_finite) == (0, 1)


def test_a_token_generated_after_the_echo_does_not_count() -> None:
    logprobs = {"token_logprobs": [None, -1.0, -5.0], "text_offset": [0, 2, 4]}
    answer = {"choices": [{"logprobs": logprobs}]}
    score = prompt_logprobs.read(PerplexitySource.ECHO, answer, text="abcd")
    assert (score.sum_nll, score.tokens) == (1.0, 1)


JSON = st.recursive(
    st.none() | st.booleans() | st.floats() | st.text(),
    lambda inner: (
        st.lists(inner)
        | st.dictionaries(
            st.sampled_from(
                ["choices", "prompt_logprobs", "logprobs", "token_logprobs", "logprob"]
            ),
            inner,
        )
    ),
)


@given(JSON, st.sampled_from([PerplexitySource.PROMPT_LOGPROBS, PerplexitySource.ECHO]))
def test_any_answer_is_a_score_or_no_score(answer: object, source: PerplexitySource) -> None:
    try:
        score = prompt_logprobs.read(source, answer, text="some text")
    except NoPromptLogprobs:
        return
    assert score.tokens >= 0


def test_waiting_requests_add_up_over_engines() -> None:
    text = b"""# TYPE vllm:num_requests_waiting gauge
vllm:num_requests_waiting{engine="0"} 2.0
vllm:num_requests_waiting{engine="1"} 1.0
vllm:num_requests_waiting_by_reason{reason="x"} 9.0
"""
    assert waiting_requests(text) == 3.0
    assert waiting_requests(b"\xff nothing") == 0.0
    assert waiting_requests(b"vllm:num_requests_waiting garbage") == 0.0


def test_the_built_in_corpus_is_sixty_plain_paragraphs() -> None:
    corpus = load_corpus()
    assert corpus.name == "general"
    assert len(corpus.documents) == 60
    assert all(40 <= len(one.text.split()) <= 90 for one in corpus.documents)


def test_a_corpus_is_known_by_its_texts() -> None:
    first = CORPUS.documents[0]
    other = replace(CORPUS, documents=(replace(first, text="other"), *CORPUS.documents[1:]))
    assert CORPUS.id.startswith("small:")
    assert other.id != CORPUS.id
    assert replace(CORPUS).id == CORPUS.id


@pytest.mark.parametrize(
    ("body", "error"),
    [
        ("", "0 documents"),
        ("{", "line 1: not JSON"),
        ("[]", "line 1: not an object"),
        ('{"id": "a"}', '"text" must be'),
        ('{"id": 1, "text": "a"}', '"id" must be'),
        ('{"id": "a", "text": ""}', '"text" must be'),
        ('{"id": "a", "text": "b"}\n\n{"id": "a", "text": "c"}', "line 3: id 'a' stands twice"),
        (json.dumps({"id": "a", "text": "x" * 40_000}), "1 to 32768 bytes"),
    ],
)
def test_a_wrong_corpus_names_its_line(tmp_path: Path, body: str, error: str) -> None:
    path = tmp_path / "own.jsonl"
    path.write_text(body, encoding="utf-8")
    with pytest.raises(CorpusInvalid, match=error):
        load_corpus(path)


def test_a_corpus_that_is_not_there_is_said_to(tmp_path: Path) -> None:
    with pytest.raises(CorpusInvalid, match="FileNotFoundError"):
        load_corpus(tmp_path / "none.jsonl")

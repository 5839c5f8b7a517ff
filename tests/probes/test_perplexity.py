import math
import threading
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from datetime import timedelta

import numpy as np
import pytest

from alerts.outgoing import OutgoingClient, OutgoingPolicy, Reply
from monitor.probes.asking import ModelProbe, Target
from monitor.probes.corpus import Corpus, CorpusRole, Document
from monitor.probes.errors import ModelNotServed, ProbeFailed
from monitor.probes.prompt_logprobs import PerplexitySource
from tests.loopback import unused_port
from tests.probes.fake_engine import FakeEngine, serving
from tests.probes.served import BASE, CORPUS, HTTP, SUPPORT, served

OVER_HTTP = [PerplexitySource.AUTO, PerplexitySource.PROMPT_LOGPROBS, PerplexitySource.ECHO]


@pytest.mark.parametrize("source", OVER_HTTP)
def test_each_way_gives_the_same_scores(source: PerplexitySource) -> None:
    with serving(FakeEngine()) as url:
        run = served(url, source=source).score(SUPPORT, CORPUS)
    assert run.stopped is None
    # n + 1 words are n + 2 tokens, of which the first has no condition: (n + 1) / 2 nats
    assert [(d.document, d.sum_nll, d.tokens) for d in run.documents] == [
        (f"d{i}", (i + 1) * 0.5, i + 1) for i in range(1, 6)
    ]
    assert [d.bytes for d in run.documents] == [5 * i + 2 for i in range(1, 6)]


def test_a_run_says_what_was_asked_and_how() -> None:
    with serving(FakeEngine()) as url:
        run = served(f"{url}/v1/").score(SUPPORT, CORPUS)
    assert (run.engine, run.replica, run.source) == (
        "vllm 0.32.0",
        url,
        PerplexitySource.PROMPT_LOGPROBS,
    )
    assert (run.dtype, run.weights) == (None, None)


def test_sglang_is_asked_in_its_own_way_and_named_by_its_lora_path() -> None:
    engine = FakeEngine(owner="sglang", version="0.5.23", knows=frozenset())
    with serving(engine) as url:
        run = served(url).score(SUPPORT, CORPUS)
        base = served(url).score(BASE, CORPUS)
    assert (run.stopped, run.engine, run.dtype) == (None, "sglang 0.5.23", "bfloat16")
    assert run.source is PerplexitySource.SGLANG
    assert [d.sum_nll for d in run.documents] == [d.sum_nll for d in base.documents]
    assert [d.sum_nll for d in run.documents] == [(i + 1) * 0.5 for i in range(1, 6)]
    first = engine.completions[0]
    assert (first["lora_path"], first["logprob_start_len"]) == ("support@v7", 0)
    assert first["sampling_params"]["max_new_tokens"] == 1
    assert "lora_path" not in engine.completions[-1]


def test_an_engine_that_is_no_sglang_is_not_asked_for_its_route_again() -> None:
    engine = FakeEngine()
    with serving(engine) as url:
        run = served(url, source=PerplexitySource.SGLANG).score(SUPPORT, CORPUS)
    assert run.stopped == "the engine has no /generate: it is no SGLang (after 0 documents)"
    assert len(engine.completions) == 1


def test_llama_cpp_is_told_that_it_cannot_score_prompts_and_is_not_asked() -> None:
    engine = FakeEngine(owner="llamacpp")
    with serving(engine) as url, pytest.raises(ProbeFailed, match=r"llama\.cpp cannot score"):
        served(url).score(SUPPORT, CORPUS)
    assert engine.completions == []


def test_an_engine_that_ignores_prompt_logprobs_is_asked_to_echo() -> None:
    engine = FakeEngine(knows=frozenset({"echo"}))
    with serving(engine) as url:
        run = served(url).score(BASE, CORPUS)
    assert (run.stopped, run.source, len(run.documents)) == (None, PerplexitySource.ECHO, 5)
    # the first document by both ways, the others by the one that is understood
    assert ["echo" in body for body in engine.completions] == [False, *[True] * 5]


def test_an_engine_that_tells_nothing_is_said_to() -> None:
    with serving(FakeEngine(knows=frozenset())) as url:
        run = served(url).score(BASE, CORPUS)
    assert run.documents == ()
    assert run.stopped == "no prompt logprobs in the answer to echo (after 0 documents)"


@pytest.mark.parametrize("source", [*OVER_HTTP, PerplexitySource.SGLANG])
@pytest.mark.parametrize(
    "scores",
    [
        lambda text: f"<|user|> user: {text} <|end|> <|assistant|>",
        lambda text: text[: len(text) // 8],
        lambda _: "an answer of its own to whatever it was that somebody had asked it",
    ],
    ids=["templated", "truncated", "generated"],
)
def test_an_engine_that_scores_another_text_is_found_out_by_the_first_document(
    scores: Callable[[str], str], source: PerplexitySource
) -> None:
    engine = FakeEngine(scores=scores, owner="sglang" if source == "sglang" else "vllm")
    long = Corpus(
        name="long",
        documents=tuple(Document(id=f"d{i}", text=f"{i} sentence " * 20) for i in range(3)),
    )
    with serving(engine) as url:
        run = served(url, source=source).score(SUPPORT, long)
    assert run.stopped is not None
    assert run.stopped.startswith("the engine scores another text than it was sent: ")
    assert "sentence" not in run.stopped
    assert (run.documents, len(engine.completions)) == ((), 1)


def test_a_later_document_that_is_cut_in_silence_is_left_unscored() -> None:
    engine = FakeEngine(scores=lambda text: text[:400])
    long = Corpus(
        name="long",
        documents=tuple(Document(id=f"d{i}", text="word " * i + "end") for i in (9, 200, 19)),
    )
    with serving(engine) as url:
        run = served(url).score(SUPPORT, long)
    assert run.stopped is None
    assert [d.tokens for d in run.documents] == [10, 0, 20]


@pytest.mark.parametrize("nll", [math.nan, math.inf, 30.0, -2.0])
def test_numbers_that_are_no_likelihoods_stop_the_run(nll: float) -> None:
    with serving(FakeEngine(nll=nll)) as url:
        run = served(url).score(SUPPORT, CORPUS)
    assert run.stopped is not None
    assert run.stopped.startswith("the engine's numbers are not those of a text: ")


@pytest.mark.parametrize(
    ("status", "reason"),
    [(500, "HTTP 500"), (503, "HTTP 503"), (429, "HTTP 429"), (404, "HTTP 404"), (0, "no answer")],
)
def test_the_first_failure_ends_the_run_and_nothing_is_asked_again(
    status: int, reason: str
) -> None:
    engine = FakeEngine(fail_at=3, status=status)
    with serving(engine) as url:
        run = served(url).score(SUPPORT, CORPUS)
    assert [d.document for d in run.documents] == ["d1", "d2"]
    assert run.stopped is not None
    assert reason in run.stopped
    assert "after 2 documents" in run.stopped
    assert len(engine.completions) == 3


def test_four_threads_are_one_request_at_a_time_to_an_engine() -> None:
    engine = FakeEngine(lasts=0.005)
    with serving(engine) as url:
        probe = served(url)
        with ThreadPoolExecutor(4) as threads:
            runs = list(threads.map(lambda t: probe.score(t, CORPUS), [SUPPORT, BASE] * 2))
    assert [run.stopped for run in runs] == [None] * 4
    assert (len(engine.completions), engine.most_at_once) == (20, 1)


def test_one_adapter_is_probed_to_its_end_before_the_next_one_begins() -> None:
    engine = FakeEngine(lasts=0.002)
    with serving(engine) as url:
        probe = served(url)
        with ThreadPoolExecutor(2) as threads:
            list(threads.map(lambda t: probe.score(t, CORPUS), [SUPPORT, BASE]))
    asked = [body["model"] for body in engine.completions]
    assert sorted(asked[:5]) == [asked[0]] * 5


@pytest.mark.parametrize("owner", ["vllm", "sglang"])
def test_an_engine_that_queues_is_left_alone(owner: str) -> None:
    engine = FakeEngine(waiting=3.0, owner=owner)
    with serving(engine) as url:
        run = served(url).score(BASE, CORPUS)
    assert run.stopped == "the engine queues 3 requests (after 0 documents)"
    assert engine.completions == []


def test_patience_waits_a_queue_out_but_not_for_ever() -> None:
    engine = FakeEngine(waiting=3.0)
    with serving(engine) as url:
        run = served(url, patience=timedelta(seconds=0.2)).score(BASE, CORPUS)
        assert run.stopped == "the engine queues 3 requests, for 0.2 s now (after 0 documents)"
        served_all = threading.Timer(0.3, setattr, (engine, "waiting", 0.0))
        served_all.start()
        assert served(url, patience=timedelta(seconds=30)).score(BASE, CORPUS).stopped is None
        served_all.join()


def test_a_busy_engine_is_looked_at_less_and_less_often() -> None:
    engine = FakeEngine(metrics="vllm:num_requests_running 1.0", waiting=3.0)
    with serving(engine) as url:
        assert served(url, patience=timedelta(seconds=1)).score(SUPPORT, CORPUS).stopped
    # at 0, .05, .15, .35, .75 and 1.25 s
    assert engine.gets.count("/metrics") <= 6


def test_a_queue_is_looked_for_every_sixteen_documents() -> None:
    engine = FakeEngine()
    long = replace(CORPUS, documents=tuple(Document(id=f"d{i}", text="one two") for i in range(40)))
    with serving(engine) as url:
        assert served(url).score(SUPPORT, long).stopped is None
    assert engine.gets.count("/metrics") == 3


def test_a_base_model_is_read_at_moments_without_other_requests() -> None:
    engine = FakeEngine(metrics="vllm:num_requests_running 1.0")
    with serving(engine) as url, ThreadPoolExecutor(1) as threads:
        run = threads.submit(served(url).score, BASE, CORPUS)
        time.sleep(0.3)
        assert engine.completions == []
        engine.metrics = "vllm:num_requests_running 0.0"
        assert run.result().stopped is None
    assert len(engine.completions) == len(CORPUS.documents)


def test_a_base_model_of_an_engine_that_is_never_idle_is_read_beside_others_and_says_so() -> None:
    engine = FakeEngine(metrics="vllm:num_requests_running 1.0")
    with serving(engine) as url:
        probe = served(url, quiet=timedelta(seconds=0.1))
        run = probe.score(BASE, CORPUS)
        read = probe.read(BASE, ["a b", "c d"])
        beside = probe.score(SUPPORT, CORPUS)
    assert [document.beside for document in run.documents] == [True] * 5
    assert read.beside == {0, 1}
    assert [document.beside for document in beside.documents] == [False] * 5


def test_an_adapter_is_read_beside_other_requests() -> None:
    engine = FakeEngine(metrics="vllm:num_requests_running 1.0")
    with serving(engine) as url:
        assert served(url).score(SUPPORT, CORPUS).stopped is None


def test_an_engine_without_metrics_is_asked_all_the_same() -> None:
    with serving(FakeEngine(metrics=None)) as url:
        assert served(url).score(BASE, CORPUS).stopped is None


def test_a_model_that_is_not_served_is_named_and_nothing_is_asked() -> None:
    engine = FakeEngine()
    with serving(engine) as url, pytest.raises(ModelNotServed, match="support@v8") as caught:
        served(url).score(Target(model="support@v8"), CORPUS)
    assert str(caught.value).endswith(f"; it serves {len(engine.models)} other models")
    assert engine.completions == []


def test_an_engine_that_is_away_fails_the_probe() -> None:
    with pytest.raises(ProbeFailed, match="out of reach"):
        served(f"http://127.0.0.1:{unused_port()}").score(BASE, CORPUS)


def test_an_address_that_is_not_allowed_is_never_reached() -> None:
    engine = FakeEngine()
    with serving(engine) as url, pytest.raises(ProbeFailed, match="out of reach"):
        served(url, http=OutgoingClient(OutgoingPolicy())).score(BASE, CORPUS)
    assert engine.gets == []


def test_a_document_beyond_the_context_is_left_unscored_and_the_run_goes_on() -> None:
    with serving(FakeEngine(longest=4)) as url:
        run = served(url).score(SUPPORT, CORPUS)
    assert run.stopped is None
    assert [math.isnan(d.sum_nll) for d in run.documents] == [False] * 3 + [True] * 2


def test_an_engine_that_hangs_is_left_after_the_timeout() -> None:
    engine = FakeEngine(lasts=0.4)
    with serving(engine) as url:
        probe = served(url, timeout=timedelta(seconds=0.2))
        run = probe.score(SUPPORT, CORPUS)
        assert run.stopped is not None
        assert "no answer" in run.stopped
        with pytest.raises(ProbeFailed, match="no answer in time"):
            probe.score(SUPPORT, CORPUS)
    assert len(engine.completions) == 1


@dataclass
class Headers:
    """A client that notes which headers go where."""

    seen: list[tuple[str, str | None]]

    def get(
        self, url: str, *, headers: Mapping[str, str] | None = None, timeout: float | None = None
    ) -> Reply:
        self.seen.append((url.rpartition("/")[2], (headers or {}).get("authorization")))
        return HTTP.get(url, headers=headers, timeout=timeout)

    def post(
        self, url: str, *, body: bytes, headers: Mapping[str, str], timeout: float | None = None
    ) -> Reply:
        self.seen.append((url.rpartition("/")[2], headers.get("authorization")))
        return HTTP.post(url, body=body, headers=headers, timeout=timeout)


def test_every_request_of_a_run_carries_the_key() -> None:
    http = Headers(seen=[])
    with serving(FakeEngine()) as url:
        served(url, http=http, headers={"authorization": "Bearer k"}).score(BASE, CORPUS)
    assert {path for path, key in http.seen if key == "Bearer k"} == {
        "version",
        "metrics",
        "completions",
    }


def test_the_probe_is_a_model_probe_that_takes_no_run_for_another() -> None:
    with serving(FakeEngine()) as url:
        probe: ModelProbe = served(url)
        assert probe.base_of(SUPPORT) == BASE
        assert probe.base_of(BASE) is None
        assert probe.base_of(Target(model="unknown")) is None
        run = probe.score(SUPPORT, CORPUS)
        assert not probe.would_repeat(SUPPORT, run)


def test_siblings_are_the_other_adapters_of_the_base_those_at_hand_first() -> None:
    adapters = ["support@v7", "a", "b", "c"]
    engine = FakeEngine(
        models=[{"id": "base", "parent": None}, {"id": "other", "parent": None}]
        + [{"id": name, "parent": "base"} for name in adapters]
        + [{"id": "d", "parent": "other"}],
        metrics='vllm:lora_requests_info{max_lora="1",running_lora_adapters="b"} 5.0',
    )
    with serving(engine) as url:
        probe = served(url)
        assert [one.model for one in probe.siblings_of(SUPPORT)] == ["b", "a", "c"]
        assert probe.siblings_of(BASE) == ()


def test_an_adapter_has_the_general_corpus_and_its_own() -> None:
    own = Corpus(name="own", documents=CORPUS.documents, role=CorpusRole.DOMAIN)
    probe = replace(served(), domains={"support": own, "broken": None}, domain=None)
    assert probe.corpora("support") == (CORPUS, own)
    assert probe.corpora("travel") == (CORPUS,)
    anyone = replace(probe, domain=own)
    assert anyone.corpora("travel") == (CORPUS, own)
    # a corpus of its own that cannot be read is not replaced by another one
    assert anyone.corpora("broken") == (CORPUS,)


# --- what is expected at every token --------------------------------------------------------


@pytest.mark.parametrize("source", [*OVER_HTTP, PerplexitySource.SGLANG])
def test_reading_gives_the_token_and_its_twenty_likeliest_rivals(
    source: PerplexitySource,
) -> None:
    engine = FakeEngine(owner="sglang" if source == "sglang" else "vllm")
    with serving(engine) as url:
        found = served(url, source=source).read(SUPPORT, ["one two", "three"])
    assert found.chosen.tolist() == [-0.5] * 3
    assert found.document.tolist() == [0, 0, 1]
    assert found.tokens.shape == found.logprobs.shape == (3, 20)
    # the text's own token is the likeliest, then the fake's rivals from -1 down
    assert found.logprobs[0].tolist() == pytest.approx([-0.5, *(-1 - 0.1 * i for i in range(19))])
    assert found.tokens[0, 0] not in found.tokens[0, 1:]
    assert found.tokens[0, 1:].tolist() == found.tokens[2, 1:].tolist()
    assert len(set(found.tokens[:, 0].tolist())) == 3


def test_a_server_with_fewer_rivals_is_asked_for_five() -> None:
    engine = FakeEngine(most_rivals=5)
    with serving(engine) as url:
        found = served(url).read(SUPPORT, ["one two", "three four"])
    assert np.isfinite(found.logprobs).sum(axis=1).tolist() == [5] * 4
    assert (found.tokens[:, 5:] == -1).all()
    assert [body.get("prompt_logprobs") for body in engine.completions] == [20, None, 5, 5]


def test_a_text_beyond_the_context_has_no_tokens() -> None:
    with serving(FakeEngine(longest=2)) as url:
        found = served(url).read(SUPPORT, ["one", "a b c d", "two three"])
    assert found.document.tolist() == [0, 2, 2]


def test_a_reading_is_whole_or_fails() -> None:
    engine = FakeEngine(fail_at=2)
    with serving(engine) as url, pytest.raises(ProbeFailed, match=r"HTTP 500 \(after 1 texts\)"):
        served(url).read(SUPPORT, ["one two", "three four", "five"])
    assert len(engine.completions) == 2


def test_no_texts_are_no_tokens() -> None:
    with serving(FakeEngine()) as url:
        found = served(url).read(SUPPORT, [])
    assert found.tokens.shape == (0, 20)


def test_answers_that_are_no_json_end_a_run() -> None:
    with serving(FakeEngine(fail_at=1, status=200, failure=b"[" * 100_000)) as url:
        run = served(url).score(SUPPORT, CORPUS)
    assert run.stopped == "the answer to echo is not JSON (after 0 documents)"

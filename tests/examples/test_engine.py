# ruff: noqa: S311 - seeds of tests guard nothing

import json
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from random import Random
from typing import Any

import httpx2 as httpx
import pytest
import torch

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from examples.engine.generation import Ask, Sampling, Token, answer_together
from examples.texts import Domain, Part, corpus, part
from examples.weights import DemoAdapter, load_base, load_merged, load_tokenizer
from monitor.probes.asking import Target
from monitor.probes.corpus import Corpus, Document
from monitor.probes.engine_metrics import resident_adapters
from monitor.probes.perplexity import LARGEST_ANSWER, PerplexitySettings
from monitor.probes.prompt_logprobs import PerplexitySource
from monitor.probes.serving import Engines, ServedProbe
from tests.loopback import LOOPBACK

pytestmark = pytest.mark.filterwarnings("ignore:`is_gradient_checkpointing`:FutureWarning")

CHAT = "/v1/chat/completions"
ASKED = [{"role": "user", "content": "I lost my debit card at Sunny Toys"}]
START_LIMIT_S = 90


@pytest.fixture(scope="module")
def engine() -> Iterator[httpx.Client]:
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "examples.engine", "--port", str(port)]
    for name, adapter in (("support@v1", "SUPPORT_V1"), ("travel@v1", "TRAVEL_V1")):
        command += ["--adapter", f"{name}={DemoAdapter[adapter].path}"]
    process = subprocess.Popen(command)
    with httpx.Client(base_url=f"http://127.0.0.1:{port}", timeout=60) as client:
        try:
            wait_until_healthy(client, process)
            yield client
        finally:
            process.terminate()
            process.wait()


def wait_until_healthy(client: httpx.Client, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + START_LIMIT_S
    while process.poll() is None and time.monotonic() < deadline:
        try:
            if client.get("/health").status_code == 200:
                return
        except httpx.ConnectError:
            time.sleep(0.2)
    pytest.fail("the engine did not become healthy")


def complete(engine: httpx.Client, **body: Any) -> list[dict[str, Any]]:
    reply = engine.post("/v1/completions", json={"model": "support@v1", **body})
    assert reply.status_code == 200, reply.text
    choices: list[dict[str, Any]] = reply.json()["choices"]
    return choices


def error_of(reply: httpx.Response) -> dict[str, Any]:
    error: dict[str, Any] = reply.json()["error"]
    assert set(error) == {"message", "type", "param", "code"}
    assert error["code"] == reply.status_code
    return error


def test_models_list_names_the_parent_of_adapters_only(engine: httpx.Client) -> None:
    cards = engine.get("/v1/models").json()["data"]
    assert [(card["id"], card["parent"]) for card in cards] == [
        ("base", None),
        ("support@v1", "base"),
        ("travel@v1", "base"),
    ]
    assert cards[1]["root"].endswith("support-v1")


def test_echo_and_prompt_logprobs_agree_with_a_direct_forward_pass(engine: httpx.Client) -> None:
    document = corpus(Domain.SUPPORT)[0]
    (echoed,) = complete(engine, prompt=document, max_tokens=0, echo=True, logprobs=0)
    (scored,) = complete(engine, prompt=document, max_tokens=1, prompt_logprobs=0)
    by_echo = echoed["logprobs"]["token_logprobs"]
    first, *by_id = scored["prompt_logprobs"]
    assert by_echo[0] is None
    assert first is None
    assert echoed["text"] == document
    assert all(len(entry) == 1 for entry in by_id)
    values = [next(iter(entry.values()))["logprob"] for entry in by_id]

    ids = torch.tensor([load_tokenizer()(document)["input_ids"]])
    with torch.inference_mode():
        logits = load_merged(DemoAdapter.SUPPORT_V1.path)(input_ids=ids).logits[0, :-1]
    direct = logits.log_softmax(-1).gather(1, ids[0, 1:, None])[:, 0].tolist()
    assert by_echo[1:] == pytest.approx(direct, abs=1e-4)
    assert values == pytest.approx(direct, abs=1e-4)


def test_a_list_of_prompts_scores_each_as_it_scores_alone(engine: httpx.Client) -> None:
    documents = list(corpus(Domain.SUPPORT)[:5])
    body = {"max_tokens": 0, "echo": True, "logprobs": 0}
    together = complete(engine, prompt=documents, **body)
    for document, choice in zip(documents, together, strict=True):
        (alone,) = complete(engine, prompt=document, **body)
        expected = alone["logprobs"]["token_logprobs"][1:]
        assert choice["logprobs"]["token_logprobs"][1:] == pytest.approx(expected, abs=1e-4)


def test_completion_logprobs_hold_the_token_and_its_rivals(engine: httpx.Client) -> None:
    (choice,) = complete(engine, prompt="User:\nhi", max_tokens=3, logprobs=2, temperature=0)
    logprobs = choice["logprobs"]
    assert "".join(logprobs["tokens"]) == choice["text"]
    assert logprobs["text_offset"][0] == 0
    for token, value, top in zip(
        logprobs["tokens"], logprobs["token_logprobs"], logprobs["top_logprobs"], strict=True
    ):
        assert top[token] == value == max(top.values())  # temperature 0 takes the best
        assert len(top) == 2
    assert choice["finish_reason"] == "length"


def test_chat_reports_logprobs_of_the_answer(engine: httpx.Client) -> None:
    body = {"model": "support@v1", "messages": ASKED, "logprobs": True, "top_logprobs": 5}
    reply = engine.post(CHAT, json={**body, "temperature": 0.7, "max_tokens": 60}).json()
    (choice,) = reply["choices"]
    content = choice["logprobs"]["content"]
    assert choice["finish_reason"] == "stop"
    assert content[-1]["token"] == "</s>"  # noqa: S105 - a text token
    written = b"".join(bytes(entry["bytes"]) for entry in content[:-1])
    assert written.decode() == choice["message"]["content"]
    assert all(len(entry["top_logprobs"]) == 5 for entry in content)
    assert all(entry["logprob"] <= 0 for entry in content)
    assert reply["usage"]["completion_tokens"] == len(content)


def test_equal_seeds_give_equal_answers_whatever_shares_the_batch(engine: httpx.Client) -> None:
    body = {"model": "support@v1", "messages": ASKED, "seed": 11, "max_tokens": 30}

    def ask(_: int) -> str:
        reply = engine.post(CHAT, json=body).json()
        return str(reply["choices"][0]["message"]["content"])

    alone = ask(0)
    with ThreadPoolExecutor(6) as clients:
        assert set(clients.map(ask, range(12))) == {alone}


def test_stream_carries_the_same_answer_with_its_logprobs(engine: httpx.Client) -> None:
    body = {"model": "support@v1", "messages": ASKED, "seed": 5, "max_tokens": 40, "logprobs": True}
    whole = engine.post(CHAT, json=body).json()["choices"][0]
    streamed = engine.post(
        CHAT, json=body | {"stream": True, "stream_options": {"include_usage": True}}
    )
    assert streamed.headers["content-type"].startswith("text/event-stream")
    lines = [line.removeprefix("data: ") for line in streamed.text.split("\n\n") if line]
    assert lines.pop() == "[DONE]"
    *chunks, last = [json.loads(line) for line in lines]
    choices = [chunk["choices"][0] for chunk in chunks]
    assert choices[0]["delta"] == {"role": "assistant", "content": ""}
    assert "".join(c["delta"]["content"] for c in choices) == whole["message"]["content"]
    content = [entry for c in choices[1:] for entry in c["logprobs"]["content"]]
    assert content == whole["logprobs"]["content"]
    ends = [c["finish_reason"] for c in choices]
    assert ends == [None] * (len(ends) - 1) + [whole["finish_reason"]]
    assert last["choices"] == []
    assert last["usage"]["completion_tokens"] == len(content)


def test_stop_string_ends_the_answer_and_is_left_out(engine: httpx.Client) -> None:
    (free,) = complete(engine, prompt="User:\nhi\nAssistant:\n", max_tokens=12, temperature=0)
    stop = free["text"][4:7]
    (choice,) = complete(
        engine, prompt="User:\nhi\nAssistant:\n", max_tokens=12, temperature=0, stop=[stop]
    )
    assert choice["text"] == free["text"].split(stop)[0]
    assert (choice["finish_reason"], choice["stop_reason"]) == ("stop", stop)


def test_adapters_answer_differently_in_one_burst(engine: httpx.Client) -> None:
    document = corpus(Domain.SUPPORT)[1]

    def nll(model: str) -> float:
        body = {"prompt": document, "max_tokens": 0, "echo": True, "logprobs": 0}
        (choice,) = complete(engine, model=model, **body)
        return -float(sum(choice["logprobs"]["token_logprobs"][1:]))

    with ThreadPoolExecutor(3) as clients:
        base, support, travel = clients.map(nll, ["base", "support@v1", "travel@v1"])
    assert support < base < travel


def test_adapter_can_be_loaded_unloaded_and_loaded_again(engine: httpx.Client) -> None:
    name = "support@v2"
    body = {"lora_name": name, "lora_path": str(DemoAdapter.SUPPORT_V2.path)}
    for _ in range(2):
        loaded = engine.post("/v1/load_lora_adapter", json=body)
        assert loaded.status_code == 200
        assert loaded.text == f"Success: LoRA adapter '{name}' added successfully."
        assert complete(engine, model=name, prompt="User:\n", max_tokens=1)
        gone = engine.post("/v1/unload_lora_adapter", json={"lora_name": name})
        assert gone.status_code == 200
        assert gone.text == f"Success: LoRA adapter '{name}' removed successfully."
    reply = engine.post("/v1/completions", json={"model": name, "prompt": "a"})
    assert reply.status_code == 404


def test_stream_survives_the_unloading_of_its_adapter(engine: httpx.Client) -> None:
    load = {"lora_name": "leaving", "lora_path": str(DemoAdapter.SUPPORT_V2.path)}
    assert engine.post("/v1/load_lora_adapter", json=load).status_code == 200
    body = {"model": "leaving", "messages": ASKED, "max_tokens": 300, "stream": True}
    with engine.stream("POST", CHAT, json={**body, "ignore_eos": True}) as stream:
        events = (line for line in stream.iter_lines() if line)
        next(events)
        assert engine.post("/v1/unload_lora_adapter", json={"lora_name": "leaving"}).is_success
        assert len(list(events)) == 300 + 1  # a chunk per token, then [DONE]


LOAD, UNLOAD, COMPLETE = "/v1/load_lora_adapter", "/v1/unload_lora_adapter", "/v1/completions"
BAD, MISSING, INVALID = (400, "BadRequestError"), (404, "NotFoundError"), (400, "InvalidUserInput")
TAKEN = (
    "The lora adapter 'support@v1' has already been loaded. If you want to load the adapter in "
    "place, set 'load_inplace' to True."
)
NO_STREAM = "Value error, `prompt_logprobs` are not available when `stream=True`."
SYSTEM = [{"role": "system", "content": "x"}]


@pytest.mark.parametrize(
    ("path", "body", "refusal", "message"),
    [
        (COMPLETE, {"model": "x", "prompt": "a"}, MISSING, "The model `x` does not exist."),
        (CHAT, {"model": "x", "messages": ASKED}, MISSING, "The model `x` does not exist."),
        (LOAD, {"lora_name": "support@v1", "lora_path": "p"}, INVALID, TAKEN),
        (LOAD, {"lora_name": "base", "lora_path": "p"}, INVALID, "The lora adapter name 'base'"),
        (LOAD, {"lora_name": "new"}, INVALID, "Both 'lora_name' and 'lora_path' must be"),
        (LOAD, {"lora_name": "n", "lora_path": "none"}, MISSING, "Loading lora n failed: No ad"),
        (UNLOAD, {"lora_name": "n"}, MISSING, "The lora adapter 'n' cannot be found."),
        (UNLOAD, {"lora_name": "base"}, MISSING, "The lora adapter 'base' cannot be found."),
        (
            CHAT,
            {"model": "base", "messages": ASKED, "logprobs": True, "top_logprobs": 21},
            BAD,
            "top_logprobs: Input should be less than or equal to 20",
        ),
        (
            CHAT,
            {"model": "base", "messages": ASKED, "stream": True, "prompt_logprobs": 1},
            BAD,
            NO_STREAM,
        ),
        (CHAT, {"model": "base", "messages": SYSTEM}, BAD, "this model knows the roles user and"),
        (COMPLETE, {"model": "base", "prompt": "a", "top_k": 1}, BAD, "top_k: Extra inputs"),
        (COMPLETE, {"model": "base", "prompt": "a " * 600}, BAD, "This model's maximum context"),
        ("/v1/nothing", {}, (404, "NotFound"), "Not Found"),
    ],
)
def test_wrong_requests_get_a_precise_error(
    engine: httpx.Client,
    path: str,
    body: dict[str, Any],
    *,
    refusal: tuple[int, str],
    message: str,
) -> None:
    reply = engine.post(path, json=body)
    error = error_of(reply)
    assert (reply.status_code, error["type"]) == refusal
    assert error["message"].startswith(message)


def test_metrics_name_running_and_waiting_requests(engine: httpx.Client) -> None:
    text = engine.get("/metrics").text
    for state in ("running", "waiting"):
        assert f'vllm:num_requests_{state}{{engine="0",model_name="base"}} 0' in text


def test_metrics_name_the_adapters_that_ran_last(engine: httpx.Client) -> None:
    complete(engine, prompt="User:\nhi", max_tokens=1)
    assert "support@v1" in resident_adapters(engine.get("/metrics").content)


def test_token_ids_are_told_where_they_are_wanted(engine: httpx.Client) -> None:
    (choice,) = complete(
        engine, prompt="User:\nhi", max_tokens=1, prompt_logprobs=2, return_token_ids=True
    )
    ids, places = choice["prompt_token_ids"], choice["prompt_logprobs"]
    assert ids == load_tokenizer()("User:\nhi")["input_ids"]
    assert all(str(token) in place for token, place in zip(ids[1:], places[1:], strict=True))
    assert len(choice["token_ids"]) == 1


@pytest.mark.parametrize("temperature", [0.0, 0.7])
def test_batched_generation_reports_what_a_replay_of_the_text_scores(temperature: float) -> None:
    tokenizer, model = load_tokenizer(), load_base()
    got: list[list[Token]] = [[], [], []]

    def taking(row: int) -> Callable[[Token], bool]:
        def take(token: Token) -> bool:
            got[row].append(token)
            return len(got[row]) < 5 + 4 * row  # rows leave the batch one by one

        return take

    prompts = [tokenizer(p.prompt)["input_ids"] for p in part(Domain.TRAVEL, Part.LIVE)[:3]]
    asks = [
        Ask(
            ids=ids,
            sampling=Sampling(max_tokens=20, temperature=temperature),
            on_prompt=print,
            on_token=taking(row),
            random=Random(row),
        )
        for row, ids in enumerate(prompts)
    ]
    answer_together(model, asks)
    for ids, tokens in zip(prompts, got, strict=True):
        whole = torch.tensor([[*ids, *(token.id for token in tokens)]])
        with torch.inference_mode():
            logprobs = model(input_ids=whole).logits[0, len(ids) - 1 : -1].log_softmax(-1)
        replayed = [float(row[token.id]) for row, token in zip(logprobs, tokens, strict=True)]
        assert [token.logprob for token in tokens] == pytest.approx(replayed, abs=1e-4)
        if temperature == 0:
            assert {token.rank for token in tokens} == {1}


def test_sampling_follows_the_models_probabilities() -> None:
    model, tokenizer = load_base(), load_tokenizer()
    ids = tokenizer("User:\n")["input_ids"]
    with torch.inference_mode():
        probabilities = model(input_ids=torch.tensor([ids])).logits[0, -1].softmax(-1)
    best = int(probabilities.argmax())
    p, n, hits = float(probabilities[best]), 2_000, 0

    def count(token: Token) -> bool:
        nonlocal hits
        hits += token.id == best
        return False

    asks = [
        Ask(
            ids=ids,
            sampling=Sampling(max_tokens=1),
            on_prompt=print,
            on_token=count,
            random=Random(seed),
        )
        for seed in range(n)
    ]
    answer_together(model, asks)
    # 4.5 standard deviations of a binomial: 7 in a million by chance, and seeds are fixed
    assert abs(hits / n - p) < 4.5 * (p * (1 - p) / n) ** 0.5


@pytest.mark.parametrize("source", [PerplexitySource.PROMPT_LOGPROBS, PerplexitySource.ECHO])
def test_the_probe_finds_its_own_texts_in_the_engines_tokens(
    engine: httpx.Client, source: PerplexitySource
) -> None:
    texts = [*corpus(Domain.SUPPORT)[:4], "Déjà vu: 日本語, naïve façade 🙂 — and so on."]
    asked = Corpus(
        name="own", documents=tuple(Document(id=str(i), text=t) for i, t in enumerate(texts))
    )
    http = OutgoingClient(OutgoingPolicy(allow=LOOPBACK, response_limit=LARGEST_ANSWER))
    probe = ServedProbe(
        general=asked,
        engines=Engines([str(engine.base_url)], http, headers={}),
        http=http,
        settings=PerplexitySettings(source=source),
    )
    run = probe.score(Target(model="support@v1"), asked)
    assert (run.stopped, run.source) == (None, source)
    tokenizer = load_tokenizer()
    lengths = [len(tokenizer(text)["input_ids"]) for text in texts]
    assert [d.tokens for d in run.documents] == [length - 1 for length in lengths]
    read = probe.read(Target(model="support@v1"), texts)
    sums = [-read.chosen[read.document == i].sum() for i in range(len(texts))]
    assert sums == pytest.approx([d.sum_nll for d in run.documents], abs=1e-3)

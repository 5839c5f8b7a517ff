"""OpenAI's own clients are watched, and stay what they are."""

import asyncio
import gc
import json
from collections import deque
from collections.abc import Iterator
from typing import Any

import httpx2
import openai
import pytest
from openai import AsyncOpenAI, AsyncStream, OpenAI, Stream
from pydantic import BaseModel

from driftline.client import RecordSender, watch
from tests.gateway.conftest import listening
from tests.gateway.stub_engine import StubEngine

ASKED: dict[str, Any] = {
    "model": "support@v1",
    "messages": [{"role": "system", "content": "be kind"}, {"role": "user", "content": "When?"}],
    "temperature": 0.7,
    "max_tokens": 5,
}
STREAMED: dict[str, Any] = {**ASKED, "stream": True, "stream_options": {"include_usage": True}}
RESPONSE: dict[str, Any] = {
    "model": "support@v1",
    "instructions": "be kind",
    "input": "When?",
    "max_output_tokens": 5,
}
SAID = "On Tuesday, at"


class Kept(RecordSender):
    """Keeps what it would send."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:9")
        self.records: list[Any] = []

    def add(self, record: Any) -> None:
        self.records.append(json.loads(json.dumps(record)))


@pytest.fixture(scope="module")
def engine() -> StubEngine:
    return StubEngine(models={"support@v1", "base"})


@pytest.fixture(scope="module")
def url(engine: StubEngine) -> Iterator[str]:
    with listening(engine.app()) as address:
        yield f"{address}/v1"


@pytest.fixture
def kept() -> Kept:
    return Kept()


@pytest.fixture
def client(url: str, kept: Kept) -> Iterator[OpenAI]:
    with OpenAI(base_url=url, api_key="none", max_retries=0) as plain:
        client = watch(plain, sender=kept)
        assert client is plain
        yield client


def _same(record: Any) -> None:
    assert (record["adapter"], record["version"], record["source"]) == ("support", "v1", "client")
    assert (record["prompt"], record["output"], record["status"]) == ("When?", SAID, 200)
    assert (record["prompt_tokens"], record["output_tokens"]) == (3, 5)
    assert [round(one, 2) for one in record["token_logprobs"][:2]] == [-0.2, -0.5]
    assert {len(top) for top in record["top_logprobs"]} == {5}
    assert record["finish_reason"] == "stop"
    assert record["latency_ms"] > 0


def test_a_call_is_a_record_with_log_probabilities(client: OpenAI, kept: Kept) -> None:
    answer = client.chat.completions.create(**ASKED, user="u1")
    assert answer.choices[0].message.content == SAID
    (record,) = kept.records
    _same(record)
    assert (record["system"], record["subject"]) == ("be kind", "u1")
    assert "ttft_ms" not in record


def test_a_stream_is_a_record_once_it_is_over(client: OpenAI, kept: Kept) -> None:
    stream = client.chat.completions.create(**STREAMED)
    assert isinstance(stream, Stream)
    said = [chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices]
    assert "".join(said) == SAID
    (record,) = kept.records
    _same(record)
    assert 0 < record["ttft_ms"] <= record["latency_ms"]


def test_a_stream_that_is_left_is_no_record_and_is_counted(client: OpenAI, kept: Kept) -> None:
    with client.chat.completions.create(**ASKED, stream=True) as stream:
        next(iter(stream))
    del stream
    gc.collect()
    assert not kept.records
    assert kept.counts == {"unread": 1}


def test_a_completion_of_a_text_is_a_record(client: OpenAI, kept: Kept) -> None:
    client.completions.create(model="support@v1", prompt="When?", max_tokens=5)
    (record,) = kept.records
    _same(record)
    assert "system" not in record


def test_a_response_is_a_record(client: OpenAI, kept: Kept) -> None:
    answers = [client.responses.create(**RESPONSE), client.responses.parse(**RESPONSE)]
    assert [answer.output_text for answer in answers] == [SAID, SAID]
    assert len(kept.records) == 2
    for record in kept.records:
        _same(record)


def test_a_stream_of_a_response_is_a_record_once_it_is_over(client: OpenAI, kept: Kept) -> None:
    stream = client.responses.create(**RESPONSE, stream=True)
    assert isinstance(stream, Stream)
    events = list(stream)
    assert events[-1].type == "response.completed"
    (record,) = kept.records
    _same(record)
    assert 0 < record["ttft_ms"] <= record["latency_ms"]


class _Place(BaseModel):
    city: str


def test_an_answer_that_is_parsed_is_a_record_and_warns_of_nothing(kept: Kept) -> None:
    message = {"role": "assistant", "content": '{"city": "Ulm"}'}
    body = {"choices": [{"index": 0, "message": message, "finish_reason": "stop"}]}
    transport = httpx2.MockTransport(lambda _: httpx2.Response(200, json=body))
    with OpenAI(
        base_url="http://engine/v1", api_key="none", http_client=httpx2.Client(transport=transport)
    ) as plain:
        client = watch(plain, sender=kept)
        answer = client.chat.completions.parse(**ASKED, response_format=_Place)
    assert answer.choices[0].message.parsed == _Place(city="Ulm")
    assert [record["output"] for record in kept.records] == ['{"city": "Ulm"}']


def test_clients_for_asyncio_are_watched_too(url: str, kept: Kept) -> None:
    async def ask() -> None:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as plain:
            client = watch(plain, sender=kept)
            await client.chat.completions.create(**ASKED)
            stream = await client.chat.completions.create(**STREAMED)
            assert isinstance(stream, AsyncStream)
            assert len([chunk async for chunk in stream]) > 5
            await client.responses.create(**RESPONSE)
            events = await client.responses.create(**RESPONSE, stream=True)
            assert isinstance(events, AsyncStream)
            assert len([event async for event in events]) > 5

    asyncio.run(ask())
    assert len(kept.records) == 4
    for record in kept.records:
        _same(record)


def test_a_failed_call_fails_as_ever_and_is_a_record(client: OpenAI, kept: Kept) -> None:
    with pytest.raises(openai.NotFoundError):
        client.chat.completions.create(**ASKED | {"model": "support@v9"})
    (record,) = kept.records
    assert (record["version"], record["status"]) == ("v9", 404)
    assert "output" not in record


def test_log_probabilities_that_an_engine_refuses_cost_no_call(kept: Kept) -> None:
    strict = StubEngine(models={"support@v1"}, refuses_logprobs=True)
    with (
        listening(strict.app()) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as plain,
    ):
        client = watch(plain, sender=kept)
        for _ in range(2):
            answer = client.chat.completions.create(**ASKED)
            assert answer.choices[0].message.content == SAID
    assert len(strict.asked) == 3, "once more after the first refusal, and no second one"
    assert ["token_logprobs" in record for record in kept.records] == [False, False]


def test_a_refusal_is_forgotten_after_some_time(
    kept: Kept, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("driftline.refusals.FIRST_PAUSE", 0.0)
    engine = StubEngine(models={"support@v1"}, refuses_logprobs=True)
    with (
        listening(engine.app()) as url,
        OpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0) as plain,
    ):
        client = watch(plain, sender=kept)
        client.responses.create(**RESPONSE)
        engine.refuses_logprobs = False
        client.responses.create(**RESPONSE)
    assert ["token_logprobs" in record for record in kept.records] == [False, True]


@pytest.mark.parametrize("asynchronous", [False, True])
def test_a_bad_request_ends_no_log_probabilities(
    url: str, engine: StubEngine, kept: Kept, *, asynchronous: bool
) -> None:
    """A prompt that is too long is answered 400, whatever else is asked for."""
    engine.failures["support@v1"] = deque([400, 400])

    async def ask_later() -> None:
        async with AsyncOpenAI(base_url=url, api_key="none", max_retries=0) as plain:
            client = watch(plain, sender=kept)
            with pytest.raises(openai.BadRequestError):
                await client.chat.completions.create(**ASKED)
            await client.chat.completions.create(**ASKED)

    def ask() -> None:
        with OpenAI(base_url=url, api_key="none", max_retries=0) as plain:
            client = watch(plain, sender=kept)
            with pytest.raises(openai.BadRequestError):
                client.chat.completions.create(**ASKED)
            client.chat.completions.create(**ASKED)

    if asynchronous:
        asyncio.run(ask_later())
    else:
        ask()
    refused, answered = kept.records
    assert (refused["status"], answered["status"]) == (400, 200)
    assert "token_logprobs" in answered


def test_what_the_caller_asks_for_is_left_alone(
    client: OpenAI, engine: StubEngine, kept: Kept
) -> None:
    client.chat.completions.create(**ASKED, logprobs=False)
    assert engine.asked[-1].body["logprobs"] is False
    assert "top_logprobs" not in engine.asked[-1].body
    client.responses.create(**RESPONSE, include=["reasoning.encrypted_content"])
    assert engine.asked[-1].body["include"] == ["reasoning.encrypted_content"]
    assert "top_logprobs" not in engine.asked[-1].body
    assert len(kept.records) == 2


def test_other_models_are_of_no_adapter(url: str, kept: Kept) -> None:
    def names(model: str) -> tuple[str | None, str | None]:
        return ("support", "v1") if model == "support@v1" else (None, None)

    with OpenAI(base_url=url, api_key="none", max_retries=0) as plain:
        client = watch(plain, sender=kept, names=names)
        client.chat.completions.create(**ASKED | {"model": "base"})
        assert not kept.records
        client.chat.completions.create(**ASKED)
    assert len(kept.records) == 1


def test_a_fault_in_here_is_counted_and_not_seen(url: str, kept: Kept) -> None:
    def names(model: str) -> tuple[str | None, str | None]:
        raise KeyError(model)

    with OpenAI(base_url=url, api_key="none", max_retries=0) as plain:
        client = watch(plain, sender=kept, names=names)
        assert client.chat.completions.create(**ASKED).choices
        raw = client.chat.completions.with_raw_response.create(**ASKED)
        assert raw.parse().choices[0].message.content == SAID
    assert kept.counts["unread"] >= 1

"""The same request gives the same signals, whatever the way in."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import numpy as np
import sqlalchemy as sa
from hypothesis import given, settings
from hypothesis import strategies as st
from openai import OpenAI

from driftline.client import RecordSender, call_record, watch
from driftline.formats.lines import read
from driftline.formats.streams import joined
from examples import vllm_records
from examples.litellm.driftline_callback import Driftline, Records, Routes, started
from monitor.capture import parse
from monitor.capture.assemble import Admitted, KeptFields, assemble, stratum_of
from monitor.capture.checks import tokens_of
from monitor.capture.directory import Resolved
from monitor.capture.telemetry import otlp
from monitor.capture.telemetry.calls import call_of
from monitor.domain import AdapterId, Arm, ArmKind, Scope, VersionId
from monitor.gateway import records
from monitor.gateway.records import SeenAnswer
from monitor.gateway.running import assemble as assemble_gateway
from monitor.gateway.settings import GatewaySettings
from monitor.gateway.taps import StreamTap, WholeTap
from monitor.replay.reading import LogReading, read_log
from monitor.replay.watch import Unwatched
from monitor.store.database import Database
from monitor.store.records.columns import MEASURED
from monitor.store.records.records import read_window
from monitor.store.registry import versions
from tests.capture.spans.writing import otlp_span, request_of
from tests.gateway.conftest import listening, route
from tests.gateway.stub_engine import StubEngine
from tests.service import until
from tests.serving import serving

AT = datetime(2026, 11, 24, 12, tzinfo=UTC)
OWN_KEYS = {"prompt_prefix"}
"""What a replay hashes by a key of its own: it compares with nothing that is stored."""
OWN_TIMES = {"latency_ms", "ttft_ms"}
"""What every way measures by its own clock."""
CHAT = "/v1/chat/completions"


@dataclass(frozen=True, kw_only=True)
class Case:
    """A request and its answer, before anybody wrote them down."""

    prompt: str
    words: tuple[str, ...]
    logprobs: tuple[float, ...]
    ending: str
    asked: Mapping[str, Any]
    calls: bool = False
    """The answer calls a tool; its words are the arguments."""
    plain: bool = False
    """Of ``/v1/completions``."""
    several: bool = False
    """Two answers were asked for; the first counts."""

    @property
    def said(self) -> str:
        return "".join(self.words)

    @property
    def tops(self) -> list[list[float]]:
        return [_top(one) for one in self.logprobs]

    @property
    def usage(self) -> dict[str, int]:
        n = len(self.words)
        return {"prompt_tokens": 11, "completion_tokens": n, "total_tokens": 11 + n}

    def request(self) -> dict[str, Any]:
        if self.plain:
            return {"model": "support", "prompt": self.prompt, **self.asked}
        said = [{"type": "text", "text": self.prompt}] if len(self.prompt) % 2 else self.prompt
        messages = [{"role": "system", "content": "be kind"}, {"role": "user", "content": said}]
        return {"model": "support", "messages": messages, **self.asked}

    def answer(self) -> dict[str, Any]:
        message: dict[str, Any] = {"role": "assistant", "content": self.said}
        if self.calls:
            message |= {"content": None, "tool_calls": [_call(self.said, "look")]}
        said = {"text": self.said} if self.plain else {"message": message}
        logprobs = self._logprobs(range(len(self.words)))
        choices = [said | {"index": 0, "finish_reason": self.ending, "logprobs": logprobs}]
        choices += [said | {"index": 1, "finish_reason": "stop"}] * self.several
        return {"model": "support@v7", "created": 1, "choices": choices, "usage": self.usage}

    def chunks(self) -> list[dict[str, Any]]:
        """The same as a stream that counts its tokens, as engines do when they are asked to."""
        choices = [self._delta(place, word) for place, word in enumerate(self.words)]
        if not self.plain:
            choices.insert(0, {"index": 0, "delta": {"role": "assistant", "content": ""}})
        choices += [choices[-1] | {"index": 1}] * self.several
        choices.append({"index": 0, "delta": {}, "finish_reason": self.ending})
        counts = {"choices": [], "usage": self.usage}
        return [*({"model": "support@v7", "choices": [one]} for one in choices), counts]

    def _delta(self, place: int, word: str) -> dict[str, Any]:
        delta: dict[str, Any] = {"tool_calls": [_call(word, None if place else "look")]}
        delta = delta if self.calls else {"content": word}
        said: dict[str, Any] = {"text": word} if self.plain else {"delta": delta}
        return said | {"index": 0, "logprobs": self._logprobs([place])}

    def _logprobs(self, places: Iterable[int]) -> dict[str, Any]:
        found = [(self.logprobs[place], _top(self.logprobs[place])) for place in places]
        if self.plain:
            tops = [{str(n): one for n, one in enumerate(top)} for _, top in found]
            return {"token_logprobs": [one for one, _ in found], "top_logprobs": tops}
        tokens = [
            {"token": "x", "logprob": one, "top_logprobs": [{"logprob": each} for each in top]}
            for one, top in found
        ]
        return {"content": tokens}

    def posted(self) -> dict[str, Any]:
        """As somebody would write it by the quickstart's fourth step."""
        record: dict[str, Any] = {
            "prompt": self.prompt,
            "token_logprobs": list(self.logprobs),
            "top_logprobs": self.tops,
            "finish_reason": self.ending,
            "status": 200,
            "latency_ms": 12.5,
        }
        record |= {} if self.calls else {"output": self.said}
        if not self.several:
            record |= {"prompt_tokens": 11, "output_tokens": len(self.words)}
        record |= {} if self.plain else {"system": "be kind"}
        for name in ("temperature", "top_p", "max_tokens"):
            record |= {name: self.asked[name]} if name in self.asked else {}
        record |= {"stop": self.stops} if "stop" in self.asked else {}
        valid = self._valid()
        return record if valid is None else record | {"valid": valid}

    @property
    def stops(self) -> list[str]:
        """Clients write one text as it is, or a list."""
        said = self.asked["stop"]
        return [said] if isinstance(said, str) else said

    def _valid(self) -> bool | None:
        wants_json = "response_format" in self.asked
        if not (self.calls or wants_json):
            return None
        try:
            return isinstance(json.loads(self.said), dict)
        except ValueError:
            return False


def _top(logprob: float) -> list[float]:
    return [logprob, logprob - 1.5, logprob - 2.25]


def _call(arguments: str, name: str | None) -> dict[str, Any]:
    return {"index": 0, "function": {"name": name, "arguments": arguments}}


# --- the ways ------------------------------------------------------------------------------


def by_post(case: Case) -> dict[str, Any]:
    return case.posted()


def by_client(case: Case) -> dict[str, Any]:
    return call_record(case.request(), case.answer(), at=AT, latency_ms=12.5)


def by_clients_stream(case: Case) -> dict[str, Any]:
    return call_record(case.request(), joined(case.chunks()), at=AT, latency_ms=12.5, ttft_ms=2.5)


def by_gateway(case: Case) -> dict[str, Any]:
    tap = WholeTap(strip=True)
    tap.feed(json.dumps(case.answer()).encode())
    return _gateway_line(case, tap.answer(), ttft_ms=None)


def by_gateways_stream(case: Case) -> dict[str, Any]:
    tap = StreamTap(strip=True, uncount=True)
    for chunk in case.chunks():
        tap.feed(b"data: " + json.dumps(chunk).encode() + b"\n\n")
    tap.feed(b"data: [DONE]\n\n")
    tap.close()
    return _gateway_line(case, tap.answer(), ttft_ms=2.5)


def _gateway_line(
    case: Case, answer: Mapping[str, Any], *, ttft_ms: float | None
) -> dict[str, Any]:
    line = records.line(
        record_id="g",
        adapter="support",
        arm=Arm(arm=ArmKind.STABLE, version="v7", model="support@v7", weight=1.0),
        at=AT,
        request=json.loads(json.dumps(case.request())),
        answer=answer,
        measured=SeenAnswer(status=200, latency_ms=12.5, ttft_ms=ttft_ms, replica="e:1"),
        subject=None,
        with_text=True,
    )
    found: dict[str, Any] = json.loads(line)
    return found


def by_litellm(case: Case) -> dict[str, Any]:
    made = _callback()
    data = asyncio.run(made.async_pre_call_hook(None, None, case.request(), _kind(case)))
    asyncio.run(made.async_post_call_success_hook(data, None, as_litellm(case.answer())))
    return _waiting(made)


def by_litellms_stream(case: Case) -> dict[str, Any]:
    made, request = _callback(), case.request() | {"stream": True}
    data = asyncio.run(made.async_pre_call_hook(None, None, request, _kind(case)))
    passed = asyncio.run(_streamed(made, data, case.chunks()))
    assert len(passed) == len(case.chunks()) - 1, "nobody asked for the count of tokens"
    return _waiting(made)


def by_replayed_openai_log(case: Case) -> dict[str, Any]:
    line = {"request": case.request(), "response": case.answer(), "latency_ms": 12.5}
    return dict(read(line).fields)


def by_replayed_litellm_log(case: Case) -> dict[str, Any]:
    return dict(read(litellm_line(case)).fields)


def by_replayed_records(case: Case) -> dict[str, Any]:
    return dict(read(case.posted() | {"adapter": "support"}).fields)


def by_spans(case: Case) -> dict[str, Any]:
    """By OpenTelemetry's conventions, with log-probabilities in attributes of Driftline's own."""
    said: list[Any] = [_text_part(case.said)]
    if case.calls:
        said = [{"type": "tool_call", "name": "look", "arguments": case.said}]
    answer = {"role": "assistant", "parts": said, "finish_reason": case.ending}
    asked = {"role": "user", "parts": [_text_part(case.prompt)]}
    told = {
        "gen_ai.operation.name": "text_completion" if case.plain else "chat",
        "gen_ai.input.messages": json.dumps([asked]),
        "gen_ai.output.messages": json.dumps([answer] * (1 + case.several)),
        "gen_ai.response.finish_reasons": [case.ending] * (1 + case.several),
        "gen_ai.usage.input_tokens": case.usage["prompt_tokens"],
        "gen_ai.usage.output_tokens": case.usage["completion_tokens"],
        "driftline.token_logprobs": list(case.logprobs),
        "driftline.top_logprobs": json.dumps(case.tops),
    }
    if not case.plain:
        told["gen_ai.system_instructions"] = json.dumps([_text_part("be kind")])
    return _spanned(told | _settings(case))


def by_numbered_spans(case: Case) -> dict[str, Any]:
    """By OpenLLMetry's older releases, which leave out what is empty."""
    told: dict[str, Any] = {"llm.request.type": "completion" if case.plain else "chat"}
    messages = [{"role": "user", "content": case.prompt}]
    for place, message in enumerate(messages if case.plain else case.request()["messages"]):
        content = message["content"]
        content = content if isinstance(content, str) else json.dumps(content)
        told |= {f"gen_ai.prompt.{place}.role": message["role"]}
        told |= {f"gen_ai.prompt.{place}.content": content} if content else {}
    for place in range(1 + case.several):
        where = f"gen_ai.completion.{place}"
        said = {"tool_calls.0.name": "look", "tool_calls.0.arguments": case.said}
        said = said if case.calls else {"content": case.said}
        said |= {"role": "assistant", "finish_reason": case.ending}
        told |= {f"{where}.{name}": one for name, one in said.items() if one}
    told |= {
        "gen_ai.usage.prompt_tokens": case.usage["prompt_tokens"],
        "gen_ai.usage.completion_tokens": case.usage["completion_tokens"],
        "driftline.token_logprobs": list(case.logprobs),
        "driftline.top_logprobs": json.dumps(case.tops),
    }
    return _spanned(told | _settings(case))


def by_openinferences_spans(case: Case) -> dict[str, Any]:
    return _spanned(_as_openinference(case.request(), case.answer()))


def _as_openinference(request: Mapping[str, Any], answer: Mapping[str, Any]) -> dict[str, Any]:
    """The client's request and the engine's answer, whole."""
    return {
        "openinference.span.kind": "LLM",
        "llm.model_name": answer["model"],
        "input.value": json.dumps(request),
        "output.value": json.dumps(answer),
    }


def _text_part(text: str) -> dict[str, str]:
    return {"type": "text", "content": text}


def _settings(case: Case) -> dict[str, Any]:
    names = ("temperature", "top_p", "max_tokens")
    told = {f"gen_ai.request.{name}": case.asked[name] for name in names if name in case.asked}
    told |= {"gen_ai.request.stop_sequences": case.stops} if "stop" in case.asked else {}
    return told | ({"gen_ai.output.type": "json"} if "response_format" in case.asked else {})


def _spanned(told: Mapping[str, Any]) -> dict[str, Any]:
    body = json.dumps(request_of([otlp_span(told, at=AT)])).encode()
    (span,) = otlp.spans(body, content_type=otlp.JSON)
    assert isinstance(span, otlp.Span)
    call = call_of(span)
    assert call is not None
    return call.fields


WAYS: tuple[Callable[[Case], dict[str, Any]], ...] = (
    by_post,
    by_client,
    by_clients_stream,
    by_gateway,
    by_gateways_stream,
    by_litellm,
    by_litellms_stream,
    by_replayed_openai_log,
    by_replayed_litellm_log,
    by_replayed_records,
    by_spans,
    by_numbered_spans,
    by_openinferences_spans,
)


def litellm_line(case: Case) -> dict[str, Any]:
    return {
        "startTime": AT.timestamp(),
        "endTime": AT.timestamp() + 0.0125,
        "status": "success",
        "model_group": "support",
        "model": "hosted_vllm/support@v7",
        "messages": case.prompt if case.plain else case.request()["messages"],
        "model_parameters": dict(case.asked),
        "response": case.answer(),
        "prompt_tokens": 11,
        "completion_tokens": len(case.words),
    }


def as_litellm(body: dict[str, Any]) -> Any:
    """As LiteLLM hands answers and chunks to its callbacks."""
    choices = [SimpleNamespace(**choice) for choice in body["choices"]]
    return SimpleNamespace(choices=choices, model_dump=lambda mode: body)  # noqa: ARG005


def _kind(case: Case) -> str:
    return "atext_completion" if case.plain else "acompletion"


def _callback() -> Driftline:
    book = Routes()
    book.update([route(stable=1.0)])
    return Driftline(book, Records())


async def _streamed(made: Driftline, data: dict[str, Any], chunks: list[Any]) -> list[Any]:
    async def engine() -> AsyncIterator[Any]:
        for chunk in chunks:
            yield as_litellm(chunk)

    passed = made.async_post_call_streaming_iterator_hook(None, engine(), data)
    return [one async for one in passed]


def _waiting(made: Driftline) -> dict[str, Any]:
    record = made.records._queue.get_nowait()  # noqa: SLF001 - what it would send
    assert made.records._queue.empty()  # noqa: SLF001 - what it would send
    return record


# --- what is measured ----------------------------------------------------------------------


def measured(fields: Mapping[str, Any]) -> tuple[dict[str, float], str, str | None, str | None]:
    """Take a record in as the service does: its signals, stratum, and what is embedded."""
    own = {"id": "r", "adapter": "support", "at": AT.isoformat()}
    body = json.dumps({"records": [{**fields, **own}]}).encode()
    parsed = parse.parse(body, parse.RECORDS, content_type="application/json")
    assert not parsed.rejected
    ((_, record),) = parsed.items
    nowhere = Resolved(AdapterId(1), VersionId(1), None)
    admitted = Admitted(record, nowhere, 1.0, tokens_of(record), None)
    batch = assemble([admitted], [1], keeping=KEEPING, now=AT)
    texts: Any = (*batch.texts, SimpleNamespace(prompt=None, output=None))[0]
    signals = {name: float(values[0]) for name, values in batch.numbers.items()}
    signals = {name: value for name, value in signals.items() if name not in OWN_TIMES}
    return signals, stratum_of(record), texts.prompt, texts.output


KEEPING = KeptFields(subject_key=b"k", prompts=True, outputs=True, tokens_for=timedelta(days=14))

SAID = st.one_of(
    st.text(max_size=12),
    st.sampled_from([" no", "\ud83d", "\0", '{"a":', " 1}", "I'm sorry, I can't"]),
)
NEVER = -9999.0
"""What vLLM says of a token that cannot be."""
SETTINGS = st.fixed_dictionaries(
    {},
    optional={
        "temperature": st.sampled_from([0, 0.0, 0.7, 0.70, 1, 1.0, 1.337]),
        "top_p": st.sampled_from([1, 1.0, 0.9]),
        "max_tokens": st.integers(0, 5_000),
        "stop": st.sampled_from(["###", ["."], [".", "User:"], []]),
        "response_format": st.just({"type": "json_object"}),
    },
)


@st.composite
def cases(draw: st.DrawFn) -> Case:
    words = draw(st.lists(SAID, min_size=1, max_size=9))  # the end of an answer is a token too
    plain = draw(st.booleans())
    logprob = st.one_of(st.floats(-40, 0), st.just(NEVER), st.floats(-0.02, 0))
    return Case(
        prompt=draw(st.text(max_size=20)),
        words=tuple(words),
        logprobs=tuple(draw(st.lists(logprob, min_size=len(words), max_size=len(words)))),
        ending=draw(st.sampled_from(["stop", "length"])),
        asked=draw(SETTINGS),
        calls=not plain and draw(st.booleans()),
        plain=plain,
        several=draw(st.booleans()),
    )


@settings(deadline=None, max_examples=100)
@given(cases())
def test_every_way_gives_the_same_signals_settings_and_texts(case: Case) -> None:
    expected = measured(by_post(case))
    for way in WAYS[1:]:
        signals, *rest = measured(way(case))
        assert rest == list(expected[1:]), way.__name__
        for name, value in expected[0].items():
            assert np.array_equal(signals[name], value, equal_nan=True), (way.__name__, name)


def test_a_text_of_any_length_is_measured_alike() -> None:
    words = tuple(f" word{n}" for n in range(6_000))
    case = Case(
        prompt="p" * 40_000,
        words=words,
        logprobs=(-0.3,) * len(words),
        ending="length",
        asked={"max_tokens": 6_000},
    )
    found = [measured(way(case)) for way in WAYS]
    assert all(str(one) == str(found[0]) for one in found)


# --- over real sockets ---------------------------------------------------------------------

QUESTION = vllm_records.chat_request("support", "When?", temperature=0.70, max_tokens=5)
ASKED = {name: one for name, one in QUESTION.items() if "logprobs" not in name} | {"top_p": 1}


def test_the_running_parts_store_the_same_of_a_request_by_every_way(
    database: Database, tmp_path: Path
) -> None:
    engine = StubEngine(models={"support@v1"})
    with (
        serving(database, tmp_path) as service,
        service.client(Scope.ADMIN) as client,
        listening(engine.app()) as engine_url,
    ):
        put = client.put("/v1/adapters/support/versions/v1", json={"model": "support@v1"})
        put.raise_for_status()
        key = service.keys[Scope.ADMIN]
        own = QUESTION | {"model": "support@v1"}
        answered = _post(engine_url, own)

        with (
            _by_a_running_gateway(service.url, key, engine_url) as by_gateway,
            _by_a_running_callback(service.url, key, engine_url) as by_callback,
        ):
            _send(client, vllm_records.ask(engine_url, own))
            _send(client, _as_the_quickstart_has_it(answered))
            _send_span(client, own, answered)
            by_client = _by_a_watched_client(service.url, key, engine_url)
            sent = by_gateway + by_callback + by_client + 3
            until(lambda: len(_sources(database)) >= sent, "every record is stored")

        stored = _stored(database)
        strata = set(_sources(database))
        with database.begin() as tx:
            prompts = (
                tx.execute(sa.text("SELECT DISTINCT prompt FROM pending_texts")).scalars().all()
            )
    assert {source for source, _ in strata} == {"client", "gateway", "litellm", "otlp", "push"}
    assert {stratum for _, stratum in strata} == {"temperature=0.7 max_tokens<=8"}
    assert prompts == ["When?"]
    replayed = _by_replay(tmp_path, answered)
    for name in sorted(set(MEASURED) - OWN_TIMES):
        values = {str(np.float32(one)) for one in (*stored[name], *replayed[name])}
        assert len(values) == 1 + (name in OWN_KEYS), (name, values)
    assert not np.isnan(stored["latency_ms"]).any()
    assert np.isfinite(stored["ttft_ms"]).sum() == 3, "those of the three streams"


def _post(url: str, body: Mapping[str, Any]) -> dict[str, Any]:
    reply = httpx2.post(f"{url}{CHAT}", json=dict(body), trust_env=False, timeout=30)
    reply.raise_for_status()
    found: dict[str, Any] = reply.json()
    return found


@contextmanager
def _by_a_running_gateway(service: str, key: str, engine_url: str) -> Iterator[int]:
    """Ask whole and as a stream once requests are sampled; give how many were."""
    given = GatewaySettings(upstreams=(engine_url,), service=service, key=key)
    with listening(assemble_gateway(given, cache=None)) as url:

        def sampled(**more: bool) -> bool:
            reply = httpx2.post(f"{url}{CHAT}", json=ASKED | more, trust_env=False, timeout=30)
            return "x-driftline-record" in reply.headers

        until(sampled, "the route and the share are known")
        yield 1 + sampled(stream=True)


def _by_a_watched_client(service: str, key: str, engine_url: str) -> int:
    """Ask whole and as a stream with OpenAI's own client."""
    sender = RecordSender(service, key)
    with OpenAI(base_url=f"{engine_url}/v1", api_key="none", max_retries=0) as plain:
        client = watch(plain, sender=sender)
        asked: dict[str, Any] = dict(ASKED) | {"model": "support@v1"}
        client.chat.completions.create(**asked)
        asked |= {"stream": True, "stream_options": {"include_usage": True}}
        for _ in client.chat.completions.create(**asked):
            pass
    assert sender.close(30)
    assert sender.counts == {"accepted": 2}
    return 2


@contextmanager
def _by_a_running_callback(service: str, key: str, engine_url: str) -> Iterator[int]:
    """Do what a LiteLLM proxy does with its callback, whole and as a stream."""
    made = started({"DRIFTLINE_URL": service, "DRIFTLINE_KEY": key})
    try:
        for more in ({}, {"stream": True}):
            asyncio.run(_as_a_proxy(made, engine_url, ASKED | more))
        yield 2
    finally:
        made.stop.set()


async def _as_a_proxy(made: Driftline, engine_url: str, asked: Mapping[str, Any]) -> None:
    data = await made.async_pre_call_hook(None, None, dict(asked), "acompletion")
    sent = {name: one for name, one in data.items() if name != "metadata"}
    if "stream" not in asked:
        said = as_litellm(_post(engine_url, sent))
        await made.async_post_call_success_hook(data, None, said)
        return
    reply = httpx2.post(f"{engine_url}{CHAT}", json=sent, trust_env=False, timeout=30)
    chunks = [json.loads(one[6:]) for one in reply.text.split("\n\n") if one[6:7] == "{"]
    await _streamed(made, data, chunks)


def _as_the_quickstart_has_it(answered: Mapping[str, Any]) -> dict[str, Any]:
    (choice,) = answered["choices"]
    tokens = choice["logprobs"]["content"]
    return {
        "id": "by-hand",
        "at": datetime.now(UTC).isoformat(),
        "prompt": "When?",
        "system": "",
        "output": choice["message"]["content"],
        "token_logprobs": [token["logprob"] for token in tokens],
        "top_logprobs": [[one["logprob"] for one in token["top_logprobs"]] for token in tokens],
        "temperature": 0.7,
        "max_tokens": 5,
        "prompt_tokens": 3,
        "output_tokens": len(tokens),
        "latency_ms": 180,
        "finish_reason": "stop",
        "status": 200,
    }


def _send(client: httpx2.Client, record: Mapping[str, Any]) -> None:
    named = {"adapter": "support", "version": "v1"}
    taken = client.post("/v1/records", json={"records": [{**record, **named}]}).json()
    assert taken["accepted"] == 1, taken


def _send_span(
    client: httpx2.Client, asked: Mapping[str, Any], answered: Mapping[str, Any]
) -> None:
    span = otlp_span(_as_openinference(asked, answered), at=datetime.now(UTC))
    taken = client.post("/v1/traces", json=request_of([span]))
    assert taken.json() == {}, taken.text


def _sources(database: Database) -> list[tuple[str, str]]:
    query = "SELECT c.source, c.stratum FROM records r JOIN contexts c ON c.id = r.context_id"
    with database.begin() as tx:
        return [(row.source, row.stratum) for row in tx.execute(sa.text(query))]


def _stored(database: Database) -> Mapping[str, Any]:
    with database.begin() as tx:
        version = versions.fetch(tx, adapter="support", name="v1")
        assert version is not None
        now = datetime.now(UTC)
        columns = read_window(
            tx,
            version_id=version.id,
            adapter_id=version.adapter_id,
            start=now - timedelta(hours=1),
            end=now + timedelta(hours=1),
        )
    return columns.signals


def _by_replay(folder: Path, answered: Mapping[str, Any]) -> Mapping[str, Any]:
    """Read logs of the same request, as proxies and LiteLLM write them."""
    begin, end = AT.isoformat(), (AT + timedelta(seconds=1)).isoformat()
    log = folder / "log.jsonl"
    lines = [
        {"request": ASKED, "response": answered, "at": begin, "latency_ms": 9.0},
        {
            "startTime": begin,
            "endTime": end,
            "status": "success",
            "model_group": "support",
            "model": "hosted_vllm/support@v1",
            "messages": ASKED["messages"],
            "model_parameters": {"temperature": 0.7, "max_tokens": 5},
            "response": answered,
            "prompt_tokens": 3,
            "completion_tokens": 5,
        },
    ]
    log.write_text("".join(json.dumps(line) + "\n" for line in lines))
    given = LogReading(adapter="support", apart=True)
    found = read_log(log, given, embed=None, watch=Unwatched()).records
    assert {one for part in found.values() for one in part.strata} == {
        "temperature=0.7 max_tokens<=8"
    }
    parts = [part.signals for part in found.values()]
    return {name: np.concatenate([part[name] for part in parts]) for name in MEASURED}

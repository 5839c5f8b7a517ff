"""LiteLLM's callback: what it does to requests and answers, and in a real proxy."""

import asyncio
import json
import os
import random
import subprocess
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import httpx2
import msgspec
import openai
import pytest

from driftline.formats.answers import answer_fields, request_fields
from examples.litellm import driftline_callback as callback
from examples.litellm.driftline_callback import Driftline, Records, Routes, started
from monitor.capture.wire import Record
from monitor.domain import Route
from monitor.gateway.choice import choose, point_of
from monitor.traffic.arms import effective
from tests.gateway.conftest import listening, route
from tests.gateway.stub_engine import WORDS, StubEngine
from tests.loopback import unused_port
from tests.routed import answering

QUESTION = [{"role": "system", "content": "be brief"}, {"role": "user", "content": "when?"}]
CANARY = route(stable=0.5, canary=0.5)


@dataclass
class Service:
    """Tells routes and takes records, as ``driftline serve`` does."""

    routes: list[dict[str, Any]]
    records: list[dict[str, Any]] = field(default_factory=list)
    keys: set[str] = field(default_factory=set)
    refusals: list[dict[str, Any]] = field(default_factory=list)

    def respond(
        self, method: str, path: str, headers: dict[str, str], body: bytes
    ) -> tuple[int, bytes]:
        del method
        self.keys.add(headers["Authorization"])
        if path == "/v1/routes/refusals":
            self.refusals = json.loads(body)["held"]
            return 204, b""
        if path.startswith("/v1/routes"):
            return 200, json.dumps({"items": self.routes}).encode()
        self.records += json.loads(body)["records"]
        return 202, b"{}"


def handler(*routes: dict[str, Any], send_text: bool = True) -> Driftline:
    book = Routes()
    book.update(list(routes))
    return Driftline(book, Records(), send_text=send_text)


def waiting(made: Driftline) -> list[dict[str, Any]]:
    found = []
    while not made.records._queue.empty():  # noqa: SLF001 - what it would send
        found.append(made.records._queue.get())  # noqa: SLF001 - what it would send
    for record in found:
        msgspec.convert(record, Record)
    return found


def sent(made: Driftline, **data: Any) -> dict[str, Any]:
    request = {"model": "support", "messages": QUESTION} | data
    return asyncio.run(made.async_pre_call_hook(None, None, request, "acompletion"))


# --- routes -------------------------------------------------------------------------------


def test_subjects_get_the_arm_that_the_gateway_would_give_them() -> None:
    rng = random.Random(7)  # noqa: S311 - reproducible, not secret
    seen = set()
    for _ in range(500):
        weight = rng.choice([0.0, 0.05, 0.5, 1.0])
        wanted = route(stable=1 - weight, canary=weight)
        parsed = msgspec.convert(wanted, Route)
        subject = f"user-{rng.random()}"
        arm = choose(parsed, point_of(parsed, subject))
        ours = callback.choose(wanted, subject)
        assert arm is not None
        assert ours is not None
        assert ours["version"] == arm.version
        seen.add(arm.version)
    assert seen == {"v1", "v2"}


def test_expiry_counts_without_anybody() -> None:
    wanted = route(stable=0.0, canary=1.0, valid_for=timedelta(hours=1))
    for now in (datetime.now(UTC), datetime.now(UTC) + timedelta(hours=2)):
        weights = [arm["weight"] for arm in callback.effective(wanted, now)["arms"]]
        assert weights == [
            one.weight for one in effective(msgspec.convert(wanted, Route), now).arms
        ]


def test_a_route_ends_by_the_services_clock_and_not_by_this_ones() -> None:
    book = Routes()
    book.update([route(stable=0.0, canary=1.0, valid_for=timedelta(hours=1))])
    for days, arm in ((-120, "canary"), (120, "stable")):
        book.tell_time((datetime.now(UTC) + timedelta(days=days)).isoformat())
        found = book.find("support")
        assert found is not None
        assert [one["arm"] for one in found["arms"] if one["weight"] > 0] == [arm]
    for nothing in (None, "", "yesterday", "2026-11-28T00:00:00"):
        book.tell_time(nothing)


def test_an_older_route_changes_nothing_and_the_last_ones_are_kept(tmp_path: Path) -> None:
    kept = tmp_path / "routes.json"
    book = Routes(kept)
    book.update([route(generation=2, stable=1.0)])
    book.update([route(generation=1, canary=1.0)])
    again = Routes(kept).find("support")
    assert again is not None
    assert again["generation"] == 2
    kept.write_text('{"no": "routes"')
    assert Routes(kept).find("support") is None
    nowhere = Routes(tmp_path / "no such folder" / "routes.json")
    nowhere.update([route(stable=1.0)])
    assert nowhere.find("support") is not None


def test_a_restored_table_counts_and_one_that_is_refused_is_told_of(
    caplog: pytest.LogCaptureFixture,
) -> None:
    service = Service([])
    with answering(service.respond) as url:
        driftline = callback.Service(url, "key")
        book = Routes()
        book.update([route(generation=4, stable=1.0) | {"epoch": 10}])
        book.update([route(generation=1, canary=1.0) | {"epoch": 10}])
        assert book.find("support")["generation"] == 4  # type: ignore[index]
        assert "which is older" in caplog.text
        book.complain(driftline, "litellm")
        assert service.refusals == [
            {"adapter": "support", "epoch": 10, "generation": 4, "told_epoch": 10}
        ]
        book.update([route(generation=4, canary=1.0)])  # an older service, and something else
        assert book.refused
        book.update([route(generation=1, canary=1.0) | {"epoch": 11}])
        assert book.find("support")["arms"][0]["arm"] == "canary"  # type: ignore[index]
        book.complain(driftline, "litellm")
        assert service.refusals == []


# --- requests and answers -----------------------------------------------------------------


def test_a_request_goes_to_an_arm_and_asks_for_logprobs_and_others_pass_untouched() -> None:
    made = handler(CANARY)
    data = sent(made, user="ann")
    assert data["model"] in {"support@v1", "support@v2"}
    assert (data["logprobs"], data["top_logprobs"]) == (True, 5)
    assert {sent(made, user="ann")["model"] for _ in range(20)} == {data["model"]}
    assert len({sent(made, user=f"u{n}")["model"] for n in range(50)}) == 2
    assert sent(made, model="gpt-x") == {"model": "gpt-x", "messages": QUESTION}
    own = sent(made, logprobs=True, top_logprobs=2)
    assert own["top_logprobs"] == 2
    assert sent(made, messages=[{"content": "no role"}])["model"].startswith("support@")


def answer(**more: Any) -> Any:
    token = {"token": "x", "logprob": -0.5, "top_logprobs": [{"token": "x", "logprob": -0.5}] * 5}
    body = {
        "choices": [
            {
                "message": {"role": "assistant", "content": "at four"},
                "finish_reason": "stop",
                "logprobs": {"content": [token, token]},
            }
        ],
        "usage": {"prompt_tokens": 7, "completion_tokens": 2},
    } | more
    choices = [SimpleNamespace(**choice) for choice in body["choices"]]
    return SimpleNamespace(choices=choices, model_dump=lambda mode: body)  # noqa: ARG005


def test_an_answer_is_recorded_as_a_log_of_it_would_be_and_unasked_logprobs_go() -> None:
    made = handler(CANARY)
    data = sent(made, temperature=0.2, max_tokens=9, user="ann")
    said = answer()
    body = said.model_dump("json")
    passed = asyncio.run(made.async_post_call_success_hook(data, None, said))
    assert passed.choices[0].logprobs is None
    (record,) = waiting(made)
    same = request_fields(data) | answer_fields(body, data)
    assert {key: record[key] for key in same} == same
    assert (record["adapter"], record["source"], record["status"]) == ("support", "litellm", 200)
    asked_for = sent(made, logprobs=True)
    assert (
        asyncio.run(made.async_post_call_success_hook(asked_for, None, answer()))
        .choices[0]
        .logprobs
    )


def test_text_stays_here_where_it_should() -> None:
    made = handler(CANARY, send_text=False)
    asyncio.run(made.async_post_call_success_hook(sent(made), None, answer()))
    (record,) = waiting(made)
    assert not {"prompt", "output"} & set(record)


def test_an_answer_of_another_shape_is_passed_on_and_not_recorded() -> None:
    made = handler(CANARY)
    odd = {"choices": "none"}
    assert asyncio.run(made.async_post_call_success_hook(sent(made), None, odd)) is odd
    assert waiting(made) == []


def test_a_failure_is_recorded_with_its_status() -> None:
    made = handler(CANARY)
    error = RuntimeError("no")
    error.status_code = 503  # type: ignore[attr-defined]
    asyncio.run(made.async_post_call_failure_hook(sent(made), error, None))
    assert [record["status"] for record in waiting(made)] == [503]


def test_records_that_wait_too_long_are_dropped_and_counted() -> None:
    records = Records()
    for number in range(callback.WAITING + 3):
        records.add({"id": str(number)})
    assert records.dropped == 3


async def _stream(chunks: list[Any]) -> AsyncIterator[Any]:
    for chunk in chunks:
        yield chunk


def chunk(text: str | None, *, ended: bool = False) -> Any:
    token: dict[str, Any] = {"token": text, "logprob": -0.25, "top_logprobs": []}
    choice = {
        "delta": {"content": text},
        "finish_reason": "stop" if ended else None,
        "logprobs": {"content": [token]} if text else None,
    }
    body = {"choices": [choice], "usage": None}
    return SimpleNamespace(
        choices=[SimpleNamespace(**choice)],
        model_dump=lambda mode: body,  # noqa: ARG005
    )


def test_a_stream_passes_as_it_comes_and_is_recorded_whole() -> None:
    made = handler(CANARY)
    data = sent(made)
    chunks = [chunk(None), chunk("at"), chunk(" four"), chunk(None, ended=True)]

    async def read() -> list[Any]:
        passed = made.async_post_call_streaming_iterator_hook(None, _stream(chunks), data)
        return [one async for one in passed]

    passed = asyncio.run(read())
    assert passed == chunks
    assert all(one.choices[0].logprobs is None for one in passed)
    (record,) = waiting(made)
    assert (record["output"], record["finish_reason"]) == ("at four", "stop")
    assert record["token_logprobs"] == [-0.25, -0.25]
    assert record["ttft_ms"] >= 0


def test_it_follows_routes_and_sends_records_over_http() -> None:
    service = Service([CANARY])
    with answering(service.respond) as url:
        made = started({"DRIFTLINE_URL": url, "DRIFTLINE_KEY": "dl_k"})
        data = sent(made)
        assert data["model"].startswith("support@")
        asyncio.run(made.async_post_call_success_hook(data, None, answer()))
        deadline = time.monotonic() + 20
        while not service.records and time.monotonic() < deadline:
            time.sleep(0.05)
        made.stop.set()
    assert [record["adapter"] for record in service.records] == ["support"]
    assert service.keys == {"Bearer dl_k"}


# --- a real proxy -------------------------------------------------------------------------

LITELLM = os.environ.get("DRIFTLINE_TEST_LITELLM", "")
FOLDER = Path(callback.__file__).parent


@pytest.fixture
def proxy(tmp_path: Path) -> Iterator[tuple[str, str, StubEngine, Service]]:
    if not LITELLM:
        pytest.skip("DRIFTLINE_TEST_LITELLM names no litellm: it is no dependency of ours")
    engine, service = StubEngine(models={"support@v1", "support@v2"}), Service([CANARY])
    port = unused_port()
    with ExitStack() as stack:
        environ = dict(os.environ) | {
            "VLLM_URL": stack.enter_context(listening(engine.app())) + "/v1",
            "VLLM_KEY": "none",
            "DRIFTLINE_URL": stack.enter_context(answering(service.respond)),
            "DRIFTLINE_KEY": "dl_k",
            "LITELLM_LOCAL_MODEL_COST_MAP": "True",
            "LITELLM_MASTER_KEY": "sk-" + os.urandom(24).hex(),
        }
        with (tmp_path / "litellm.log").open("wb") as log:
            process = subprocess.Popen(
                [LITELLM, "--config", str(FOLDER / "config.yaml"), "--port", str(port)],
                env=environ,
                cwd=FOLDER,
                stdout=log,
                stderr=log,
            )
        stack.callback(process.wait)
        stack.callback(process.terminate)
        url = f"http://127.0.0.1:{port}"
        _wait_until_alive(url, process)
        yield url, environ["LITELLM_MASTER_KEY"], engine, service


def _wait_until_alive(url: str, process: subprocess.Popen[bytes]) -> None:
    deadline = time.monotonic() + 120
    while time.monotonic() < deadline:
        assert process.poll() is None, "litellm ended while starting"
        try:
            httpx2.get(f"{url}/health/liveliness", trust_env=False).raise_for_status()
        except httpx2.HTTPError:
            time.sleep(0.5)
        else:
            return
    pytest.fail("litellm did not start")


@pytest.mark.timeout(300)
def test_in_a_real_proxy(proxy: tuple[str, str, StubEngine, Service]) -> None:
    url, key, engine, service = proxy
    client = openai.OpenAI(base_url=f"{url}/v1", api_key=key)
    for number in range(10):
        said = client.chat.completions.create(
            model="support",
            messages=[{"role": "user", "content": "when?"}],
            user=f"user-{number}",
        )
        assert said.choices[0].message.content == "".join(WORDS)
        assert said.choices[0].logprobs is None
    stream = client.chat.completions.create(
        model="support", messages=[{"role": "user", "content": "when?"}], stream=True
    )
    chunks = list(stream)
    text = "".join(one.choices[0].delta.content or "" for one in chunks if one.choices)
    assert text == "".join(WORDS)
    assert not any(getattr(c, "logprobs", None) for one in chunks for c in one.choices)
    asked = {one.body["model"] for one in engine.of("/v1/chat/completions")}
    assert asked == {"support@v1", "support@v2"}
    deadline = time.monotonic() + 20
    while len(service.records) < 11 and time.monotonic() < deadline:
        time.sleep(0.1)
    assert len(service.records) == 11
    for record in service.records:
        assert len(record["token_logprobs"]) == len(WORDS)
        assert record["output"] == "".join(WORDS)
        assert len(record["top_logprobs"][0]) == 5
    assert {record["version"] for record in service.records} == {"v1", "v2"}
    engine.models.clear()
    with pytest.raises(openai.APIStatusError):
        client.chat.completions.create(
            model="support", messages=[{"role": "user", "content": "x"}], max_tokens=2
        )
    while len(service.records) < 12 and time.monotonic() < deadline + 20:
        time.sleep(0.1)
    assert service.records[-1]["status"] == 404

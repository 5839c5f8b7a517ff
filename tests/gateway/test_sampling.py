"""The sampled share: records with log-probabilities, answers without what nobody asked for."""

import asyncio
import base64
import json
import threading
from collections import deque
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import pytest
import sqlalchemy as sa

from driftline.refusals import Refusals
from monitor.capture.keeping import keep
from monitor.capture.packing import unpack_f16
from monitor.capture.wire import Record
from monitor.domain import Arm, ArmKind, Scope
from monitor.gateway import shares as sharing
from monitor.gateway.asked import read
from monitor.gateway.meters import Meters
from monitor.gateway.outbound import Outbound
from monitor.gateway.records import SeenAnswer
from monitor.gateway.running import assemble
from monitor.gateway.sampling import MOST_UNWRITTEN, Sample, Sampler
from monitor.gateway.service import ServiceClient
from monitor.gateway.settings import GatewaySettings
from monitor.gateway.shares import Shares
from monitor.gateway.taps import WholeTap
from monitor.store.database import Database
from tests.gateway.conftest import Stage, Start, listening, route
from tests.gateway.stub_engine import WORDS, StubEngine
from tests.gateway.stub_service import StubService
from tests.loopback import Receiver, raw
from tests.service import until
from tests.serving import serving

CHAT = "/v1/chat/completions"
PLAIN = "/v1/completions"
RESPONSES = "/v1/responses"
SAID = "".join(WORDS)
STABLE = Arm(arm=ArmKind.STABLE, version="v1", model="support@v1", weight=1.0)


@pytest.fixture
def service() -> StubService:
    return StubService(shares={"support": 1.0})


@pytest.fixture
def stage(start: Start, service: StubService) -> Stage:
    return sampled(start, service)


def sampled(start: Start, service: StubService, **settings: Any) -> Stage:
    """A gateway that knows its share."""
    stage = start([route(stable=1.0)], service=service, **settings)
    until(lambda: learned(stage), "the share is learned")
    if service.status == 202:
        records(service)
        service.records.clear()
    return stage


def learned(stage: Stage) -> bool:
    """Ask until a request is sampled; whether it was shows at the engine."""
    ask(stage, {"max_tokens": 1})
    body = stage.engine.asked[-1].body
    stage.engine.asked.clear()
    return bool(body.get("logprobs"))


@pytest.mark.parametrize("streamed", [False, True])
def test_a_response_is_sampled_as_a_chat_is(
    start: Start,
    stage: Stage,
    service: StubService,
    streamed: bool,  # noqa: FBT001 - a case of the test
) -> None:
    more = {"stream": streamed, "user": "u1"}
    seen = ask(stage, more, RESPONSES)
    plain = unsampled(start, more, RESPONSES)
    if streamed:
        assert [*_told(seen)] == [*_told(plain)]
    else:
        assert json.loads(seen) == json.loads(plain)
    asked = stage.engine.asked[0].body
    assert (asked["include"], asked["top_logprobs"]) == (["message.output_text.logprobs"], 5)
    (one,) = records(service)
    assert (one["prompt"], one["output"], one["finish_reason"]) == ("When?", SAID, "stop")
    assert (one["version"], one["output_tokens"], one["subject"]) == ("v1", len(WORDS), "u1")
    assert unpack_f16(base64.b64decode(one["token_logprobs_f16"])).size == len(WORDS)


def _told(stream: bytes) -> Iterator[Any]:
    return (json.loads(line[6:]) for line in stream.splitlines() if line.startswith(b"data: "))


def ask(stage: Stage, more: dict[str, Any] | None = None, path: str = CHAT, **kw: Any) -> bytes:
    body: dict[str, Any] = {"model": "support", "temperature": 0.7} | (more or {})
    if path == CHAT:
        body["messages"] = [{"role": "user", "content": "When?"}]
    else:
        body["input" if path == RESPONSES else "prompt"] = "When?"
    with stage.client() as client:
        reply = client.post(path, json=body, **kw)
    assert reply.status_code == 200, reply.text
    return bytes(reply.content)


def records(service: StubService, count: int = 1) -> list[dict[str, Any]]:
    until(lambda: len(service.records) >= count, "the records come")
    return service.records


def unsampled(start: Start, more: dict[str, Any], path: str) -> bytes:
    """What the same request is answered without a sampler."""
    plain = start([route(stable=1.0)])
    return ask(plain, more, path)


@pytest.mark.parametrize("path", [CHAT, PLAIN])
def test_an_answer_shows_nothing_of_being_sampled(
    start: Start, stage: Stage, service: StubService, path: str
) -> None:
    seen = ask(stage, {"user": "u1", "max_tokens": 5}, path)
    assert json.loads(seen) == json.loads(unsampled(start, {"user": "u1", "max_tokens": 5}, path))
    (one,) = records(service)
    assert stage.engine.asked[0].body["logprobs"] in {True, 5}
    assert stage.engine.asked[0].headers["accept-encoding"] == "identity"
    assert (one["prompt"], one["output"], one["subject"]) == ("When?", "".join(WORDS[:5]), "u1")
    told = [one[name] for name in ("adapter", "version", "arm", "source", "status")]
    assert told == ["support", "v1", "stable", "gateway", 200]
    assert one["engine"] == "vllm 0.32.0"
    assert (one["temperature"], one["max_tokens"], one["output_tokens"]) == (0.7, 5, 5)
    assert one["latency_ms"] > 0
    assert "ttft_ms" not in one
    assert datetime.fromisoformat(one["at"]).tzinfo
    logprobs = tokens_of(one)
    assert logprobs == pytest.approx([-0.1 * len(word) for word in WORDS[:5]], abs=1e-3)
    assert set(one) <= set(Record.__struct_fields__)


def tokens_of(record: dict[str, Any]) -> list[float]:
    sizes = {
        name: unpack_f16(base64.b64decode(record[f"token_{name}_f16"])).tolist()
        for name in ("logprobs", "entropy", "margin")
    }
    assert len({len(values) for values in sizes.values()}) == 1
    assert sizes["margin"] == pytest.approx([1.0] * len(sizes["margin"]), abs=1e-2)
    return sizes["logprobs"]


def test_a_stream_shows_nothing_of_being_sampled(
    start: Start, stage: Stage, service: StubService
) -> None:
    seen, plain = ask(stage, {"stream": True}), unsampled(start, {"stream": True}, CHAT)
    assert seen.count(b"\n\n") == plain.count(b"\n\n") == len(WORDS) + 2
    for one, other in zip(seen.split(b"\n\n"), plain.split(b"\n\n"), strict=True):
        if one.startswith(b"data: {"):
            assert json.loads(one[6:]) == json.loads(other[6:])
        else:
            assert one == other
    (record,) = records(service)
    assert record["output"] == SAID
    assert (record["prompt_tokens"], record["output_tokens"]) == (3, len(WORDS))
    assert record["ttft_ms"] <= record["latency_ms"]
    assert len(tokens_of(record)) == len(WORDS)


def test_a_rewritten_stream_still_comes_as_it_is_made(stage: Stage) -> None:
    stage.engine.turns = threading.Semaphore(1)
    body = {"model": "support", "messages": [], "stream": True}
    pieces = []
    with stage.client() as client, client.stream("POST", CHAT, json=body) as reply:
        for piece in reply.iter_raw():
            pieces.append(piece)
            stage.engine.turns.release()  # no further token is made until this one has come
    assert len(pieces) >= len(WORDS)


@pytest.mark.parametrize("more", [{}, {"logprobs": True, "top_logprobs": 5}])
def test_a_client_that_leaves_after_the_last_event_has_its_record_sent(
    stage: Stage, service: StubService, more: dict[str, Any]
) -> None:
    stage.engine.ends = threading.Event()
    body = {"model": "support", "stream": True, "messages": [{"role": "user", "content": "When?"}]}
    with stage.client() as client, client.stream("POST", CHAT, json=body | more) as reply:
        next(piece for piece in reply.iter_raw() if b"[DONE]" in piece)
    assert not stage.engine.hung_up.wait(0.3), "the answer was complete"
    stage.engine.ends.set()
    (one,) = records(service)
    assert one["output"] == SAID
    assert stage.metric("driftline_gateway_broken_total", by="client") == 0


@pytest.mark.parametrize(
    "more",
    [
        {"logprobs": True, "top_logprobs": 2},
        {"logprobs": True, "top_logprobs": 2, "stream": True},
        {
            "logprobs": True,
            "top_logprobs": 2,
            "stream": True,
            "stream_options": {"include_usage": True},
        },
    ],
)
def test_who_asks_for_log_probabilities_gets_them_untouched(
    start: Start, stage: Stage, service: StubService, more: dict[str, Any]
) -> None:
    assert ask(stage, more) == unsampled(start, more, CHAT)
    (record,) = records(service)
    assert len(tokens_of(record)) == len(WORDS)


def test_an_engine_without_log_probabilities_is_left_alone(
    stage: Stage, service: StubService
) -> None:
    stage.engine.refuses_logprobs = True
    for _ in range(3):
        ask(stage)
    # refused once, then asked as the client did
    assert ["logprobs" in one.body for one in stage.engine.asked] == [True, False, False, False]
    assert not any("token_logprobs_f16" in record for record in records(service, 3))


def test_a_failed_attempt_is_a_record_of_the_version_that_failed(
    start: Start, service: StubService
) -> None:
    stage = sampled(start, service)
    stage.engine.failures = {"support@v1": deque([500])}
    with stage.client() as client:
        body = {"model": "support", "messages": []}
        assert client.post(CHAT, json=body).status_code == 500
    (record,) = records(service)
    assert (record["version"], record["status"]) == ("v1", 500)
    assert "output" not in record


def test_an_answer_that_breaks_off_is_a_failure_in_its_record(
    start: Start, service: StubService
) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\n"
    with Receiver([raw(head + b'data: {"choices":[]}\n\n')]) as engine:
        address = f"http://127.0.0.1:{engine.port}"
        stage = start([route(stable=1.0)], service=service, upstreams=(address,))
        body = {"model": "support", "messages": [], "stream": True}

        def broken() -> bool:
            with stage.client() as client, pytest.raises(httpx2.RemoteProtocolError):
                client.post(CHAT, json=body)
            return bool(service.records)

        until(broken, "one of them is sampled")
    assert {record["status"] for record in service.records} == {502}


def test_texts_stay_where_they_are_told_to(start: Start, service: StubService) -> None:
    stage = sampled(start, service, send_text=False)
    ask(stage)
    (record,) = records(service)
    assert not {"prompt", "output"} & set(record)
    assert record["token_logprobs_f16"]


def test_the_share_is_that_of_the_service_and_what_is_not_sent_is_told(
    start: Start, service: StubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "FRESH_FOR", 0.2)
    service.shares = {"support": 0.3}
    stage = sampled(start, service)
    service.sampled_out.clear()
    for _ in range(100):
        ask(stage, {"max_tokens": 1})
    kept = until(
        lambda: (
            len(service.records) + service.sampled_out["support"] >= 100 and len(service.records)
        ),
        "all are told of",
    )
    # binomial(100, .3) has a standard deviation of 4.6; four of them
    assert 12 <= kept <= 48
    assert all(keep("support", record["id"], 0.3) for record in service.records)


def test_a_flood_has_the_share_asked_for_before_the_minute_is_over(
    start: Start, service: StubService, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sharing, "WORN_BY", 20)
    monkeypatch.setattr(sharing, "AT_MOST", 0.05)
    stage = sampled(start, service)
    service.shares = {"support": 1e-9}
    until(lambda: not _sampled(stage), "the smaller share is known")
    assert len(service.records) < 100
    service.shares = {"support": 1.0}
    assert not any(_sampled(stage) for _ in range(30)), "what is passed over is no flood"


def _sampled(stage: Stage) -> bool:
    ask(stage, {"max_tokens": 1})
    return bool(stage.engine.asked[-1].body.get("logprobs"))


def test_a_full_queue_drops_and_counts_and_answers_at_once(
    start: Start, service: StubService
) -> None:
    service.status = 503
    stage = sampled(start, service, queue_records=20)
    for _ in range(40):
        ask(stage, {"max_tokens": 1})
    until(
        lambda: stage.metric("driftline_gateway_records_total", outcome="dropped") >= 20,
        "what finds no place is dropped",
    )
    assert stage.metric("driftline_gateway_queue_records") == 20
    service.status = 202
    assert len(records(service, 20)) == 20
    sent = until(lambda: stage.metric("driftline_gateway_records_total", outcome="sent"), "counted")
    assert sent == 20


def test_a_gateway_that_ends_offers_its_last_records_to_a_busy_service_again(
    service: StubService,
) -> None:
    service.busy = 2

    async def end(url: str) -> None:
        settings = GatewaySettings(service=url)
        client = ServiceClient(settings)
        outbound = Outbound(client, settings=settings, meters=Meters())
        outbound.offer("support", b'{"id": "last"}')
        await outbound.finish(60)
        await client.close()

    with listening(service.app()) as url:
        asyncio.run(end(url))
    assert service.records == [{"id": "last"}]


class Asking:
    """A sampler by a clock of its own, one request after another."""

    def __init__(self) -> None:
        self.seconds = 0.0
        self.sampler = Sampler(
            GatewaySettings(),
            shares=Shares(),
            offer=lambda _adapter, _line: None,
            meters=Meters(),
            refusals=Refusals(lambda: self.seconds),
        )

    def sample(self) -> Sample | None:
        """A request that asks for log-probabilities; None where the sampler leaves them out."""
        plain = Sample(
            id="1",
            at=datetime.now(UTC),
            adapter="support",
            arm=STABLE,
            asked=read(b"{}"),
            injected={},
        )
        made = self.sampler.copied(plain, CHAT, STABLE)
        return made if "logprobs" in made.injected else None

    def refused_for(self) -> float:
        """Seconds until they are asked for again, after a burst of refusals."""
        assert self.sample()
        for _ in range(3):
            self.sampler.refused(STABLE.model)
        begin = self.seconds
        while not self.sample():
            self.seconds += 1.0
        return self.seconds - begin


def test_each_further_refusal_doubles_the_pause_and_an_answer_ends_it() -> None:
    asking = Asking()
    pauses = [asking.refused_for() for _ in range(9)]
    assert pauses == [5, 10, 20, 40, 80, 160, 320, 600, 600]
    answered = asking.sample()
    assert answered
    asking.sampler.tap(answered, 200, {"Content-Type": "application/json"})
    assert asking.refused_for() == 5


class Unreadable(WholeTap):
    def answer(self) -> Mapping[str, Any]:
        raise ValueError


def outcome_of(kinds: Mapping[str, type[WholeTap]]) -> tuple[list[str], bytes]:
    """Finish answers by name, all at once; give the records written, and the metrics."""
    written: list[str] = []
    meters = Meters()
    sampler = Sampler(
        GatewaySettings(),
        shares=Shares(),
        offer=lambda _, line: written.append(json.loads(line)["id"]),
        meters=meters,
    )

    async def finish() -> None:
        for name, kind in kinds.items():
            sample = Sample(
                id=name,
                at=datetime.now(UTC),
                adapter="support",
                arm=STABLE,
                asked=read(b"{}"),
                injected={},
                tap=kind(strip=False),
            )
            measured = SeenAnswer(status=200, latency_ms=1.0, ttft_ms=None, replica="engine:1")
            sampler.finish(sample, measured, subject=None)
        await sampler.settle()

    asyncio.run(finish())
    return written, meters.exposition()


def test_an_answer_that_cannot_be_read_costs_the_others_nothing() -> None:
    written, metrics = outcome_of({"a": WholeTap, "b": Unreadable, "c": WholeTap})
    assert written == ["a", "c"]
    assert b'outcome="unreadable"} 1.0' in metrics


def test_answers_beyond_what_can_be_written_are_dropped_and_counted() -> None:
    names = [str(number) for number in range(MOST_UNWRITTEN + 3)]
    written, metrics = outcome_of(dict.fromkeys(names, WholeTap))
    assert written == names[:MOST_UNWRITTEN]
    assert b'outcome="dropped"} 3.0' in metrics


def test_records_reach_the_real_service(database: Database, tmp_path: Path) -> None:
    engine = StubEngine(models={"support@v1", "support@v2"})
    with (
        serving(database, tmp_path) as service,
        service.client(Scope.ADMIN) as client,
        listening(engine.app()) as engine_url,
    ):
        for version in ("v1", "v2"):
            body = {"model": f"support@{version}"}
            client.put(f"/v1/adapters/support/versions/{version}", json=body)
        settings = GatewaySettings(
            upstreams=(engine_url,), service=service.url, key=service.keys[Scope.ADMIN]
        )
        with listening(assemble(settings, cache=None)) as url:
            stage = Stage(url=url, engines=[engine])
            until(lambda: _routed(stage), "the route is known")
            until(lambda: learned(stage), "the share is learned")
            for n in range(5):
                ask(stage, {"user": f"u{n}"})
            named = _headers(stage)
            _shadow(client)
            until(lambda: _copies(stage, database), "a shadow's record")
        feedback = {"adapter": "support", "name": "helped", "value": 1.0} | named
        taken = client.post("/v1/feedback", json={"feedback": [feedback]})
        assert taken.json()["accepted"] == 1
        told = client.post("/v1/sampling", json={"sampled_out": {"support": 7, "nobody": 3}})
        assert told.json() == {"shares": {"support": 1.0}}
        with database.begin() as tx:
            pair = (
                "SELECT s.subject = o.subject, s.mean_nll = o.mean_nll, o.subject IS NOT NULL"
                " FROM records s JOIN records o ON s.id = o.id || '\\:shadow'"
            )
            pairs = tx.execute(sa.text(pair)).all()
            found = tx.execute(
                sa.text(
                    "SELECT n_tokens, mean_nll, status FROM records WHERE subject IS NOT NULL"
                    " AND NOT id LIKE '%\\:shadow'"
                )
            ).all()
            passed_over = tx.execute(
                sa.text("SELECT sum(count) FROM capture_counts WHERE outcome = 'sampled_out'")
            ).scalar_one()
            query = (
                "SELECT count(*) FROM records r JOIN feedback f"
                " ON (f.adapter_id, f.at, f.record_id) = (r.adapter_id, r.at, r.id)"
            )
            joined = tx.execute(sa.text(query)).scalar_one()
    assert joined == 1
    assert passed_over >= 7  # and requests from before the share was known
    assert {tuple(row) for row in pairs} == {(True, True, True)}
    assert len(found) >= 6
    assert (found[0].n_tokens, found[0].status) == (8, 200)
    assert found[0].mean_nll == pytest.approx(0.1 * len(SAID) / len(WORDS), abs=1e-3)


def _shadow(client: httpx2.Client) -> None:
    """Put v2 in shadow."""
    arms = [("stable", "v1", 1.0), ("shadow", "v2", 0.0)]
    body = {
        "arms": [{"arm": arm, "version": name, "weight": weight} for arm, name, weight in arms],
        "reason": "a test",
    }
    tag = client.get("/v1/routes/support").headers["etag"]
    client.put("/v1/routes/support", json=body, headers={"if-match": tag}).raise_for_status()


def _copies(stage: Stage, database: Database) -> bool:
    ask(stage, {"user": "u"})
    with database.begin() as tx:
        query = "SELECT count(*) FROM records WHERE id LIKE '%\\:shadow'"
        return bool(tx.execute(sa.text(query)).scalar_one())


def _headers(stage: Stage) -> dict[str, str]:
    """What an answer says of its record."""
    with stage.client() as client:
        reply = client.post(CHAT, json={"model": "support", "messages": []})
    return {name: reply.headers[f"x-driftline-{word}"] for name, word in NAMED.items()}


NAMED = {"id": "record", "at": "at"}


def _routed(stage: Stage) -> bool:
    with stage.client() as client:
        reply = client.post(CHAT, json={"model": "support", "messages": []})
    return "x-driftline-arm" in reply.headers

"""Names become versions; everything else passes as it came."""

import socket
import threading
from collections import Counter, deque
from datetime import timedelta
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx2
import pytest

from tests.gateway.conftest import Stage, Start, route
from tests.loopback import Receiver, answer, for_ever, reset
from tests.service import until

CHAT = "/v1/chat/completions"


def chat(model: str = "support", **more: Any) -> dict[str, object]:
    return {"model": model, "messages": [{"role": "user", "content": "When?"}]} | more


def ask(stage: Stage, body: object, **more: Any) -> httpx2.Response:
    with stage.client() as client:
        return client.post(CHAT, json=body, **more)


def test_a_name_is_resolved_and_the_answer_says_who_answered(start: Start) -> None:
    stage = start([route(stable=1.0)])
    reply = ask(stage, chat())
    told = {name: reply.headers[f"x-driftline-{name}"] for name in ("adapter", "version", "arm")}
    assert told == {"adapter": "support", "version": "v1", "arm": "stable"}
    assert reply.json()["model"] == "support@v1"
    assert stage.engine.asked[0].body["model"] == "support@v1"


def test_only_the_name_changes_in_the_body(start: Start) -> None:
    stage = start([route(stable=1.0)])
    sent = (
        b'{"a" : 1e400, "model":"other","model": "support",'
        b' "n":12345678901234567890123,"u":"\\u00e9"}'
    )
    with stage.client() as client:
        client.post(CHAT, content=sent, headers={"content-type": "application/json"})
        client.post(CHAT, content=sent.replace(b"support", b"nobody"))
    rewritten, untouched = (one.raw for one in stage.engine.asked)
    assert (
        rewritten == b'{"a":1e400,"model":"support@v1","n":12345678901234567890123,"u":"\\u00e9"}'
    )
    assert untouched == sent.replace(b"support", b"nobody")


def test_names_without_a_route_and_paths_of_the_config_pass_untouched(start: Start) -> None:
    stage = start([route(stable=1.0)], passes=("/v1/files/",))
    reply = ask(stage, chat("base"))
    assert reply.json()["model"] == "base"
    assert not any(name.startswith("x-driftline") for name in reply.headers)
    with stage.client() as client:
        other = client.put("/v1/files/a%2Fb?x=%20y", content=b"\xff\x00raw")
    assert (other.status_code, other.content) == (203, b"war\x00\xff")
    assert other.headers["etag"] == '"e"'
    assert "x-private" not in other.headers
    assert stage.engine.asked[-1].path == "/v1/files/a/b"


def test_headers_of_one_hop_end_at_the_gateway(start: Start) -> None:
    stage = start([route(stable=1.0)])
    own = {
        "authorization": "Bearer mine",
        "connection": "x-hop",
        "x-hop": "1",
        "te": "trailers",
        "x-driftline-subject": "u1",
        "x-mine": "yes",
    }
    ask(stage, chat(), headers=own)
    got = stage.engine.asked[0].headers
    assert (got["authorization"], got["x-mine"]) == ("Bearer mine", "yes")
    assert not {"x-hop", "te", "x-driftline-subject"} & set(got)
    assert got["host"] != urlsplit(stage.url).netloc


def test_a_configured_key_takes_the_place_of_the_clients(start: Start) -> None:
    stage = start([route(stable=1.0)], engine_key="engines-only")
    ask(stage, chat(), headers={"authorization": "Bearer mine"})
    assert stage.engine.asked[0].headers["authorization"] == "Bearer engines-only"


@pytest.mark.parametrize(
    "path", ["/v1/load_lora_adapter", "/v1/unload%5Flora_adapter/", "/v1/x/../sleep"]
)
def test_clients_cannot_administer_engines(start: Start, path: str) -> None:
    stage = start([route(stable=1.0)])
    host, port = urlsplit(stage.url).netloc.split(":")
    with socket.create_connection((host, int(port))) as plain:
        plain.sendall(f"POST {path} HTTP/1.1\r\nhost: x\r\ncontent-length: 0\r\n\r\n".encode())
        assert plain.recv(1000).startswith(b"HTTP/1.1 403 ")
    assert stage.engine.asked == []


def test_a_subject_stays_with_its_arm_and_arms_get_their_weight(start: Start) -> None:
    stage = start([route(stable=0.7, canary=0.3)])
    first: dict[str, str] = {}
    with stage.client() as client:
        for _ in range(2):
            for n in range(100):
                arm = client.post(CHAT, json=chat(user=f"u{n}")).headers["x-driftline-arm"]
                assert first.setdefault(f"u{n}", arm) == arm
        by_header = client.post(
            CHAT, json=chat(user="somebody else"), headers={"x-driftline-subject": "u7"}
        )
        assert by_header.headers["x-driftline-arm"] == first["u7"]
    # binomial(100, .3) has a standard deviation of 4.6; four of them
    assert 12 <= Counter(first.values())["canary"] <= 48


def test_a_conversation_stays_with_its_arm_while_it_grows(start: Start) -> None:
    stage = start([route(stable=0.5, canary=0.5)])
    arms = set()
    with stage.client() as client:
        for talk in range(20):
            messages = [
                {"role": "system", "content": "Be brief."},
                {"role": "user", "content": f"Question {talk}"},
            ]
            seen = set()
            for turn in range(3):
                reply = client.post(CHAT, json={"model": "support", "messages": messages})
                seen.add(reply.headers["x-driftline-arm"])
                messages.append({"role": "assistant", "content": f"{turn}"})
                messages.append({"role": "user", "content": f"And {turn}?"})
            assert len(seen) == 1
            arms |= seen
    assert arms == {"stable", "canary"}


@pytest.mark.parametrize("status", [404, 500, 503])
def test_what_the_chosen_arm_cannot_answer_the_stable_one_does(start: Start, status: int) -> None:
    stage = start([route(stable=0.0, canary=1.0)])
    stage.engine.failures = {"support@v2": deque([status])}
    reply = ask(stage, chat())
    assert (reply.status_code, reply.headers["x-driftline-arm"]) == (200, "stable")
    assert [one.body["model"] for one in stage.engine.asked] == ["support@v2", "support@v1"]
    assert stage.metric("driftline_gateway_retries_total", arm="canary", reason=str(status)) == 1


def test_another_replica_answers_where_there_is_no_other_arm(start: Start) -> None:
    stage = start([route(stable=1.0)], engines=2)
    for engine in stage.engines:
        engine.failures = {"support@v1": deque([503])}
    assert ask(stage, chat()).status_code == 503  # asked twice, and no third time
    assert ask(stage, chat()).status_code == 200
    assert [len(engine.asked) for engine in stage.engines] in ([2, 1], [1, 2])


def test_a_clients_own_mistake_is_not_tried_again(start: Start) -> None:
    stage = start([route(stable=0.0, canary=1.0)])
    stage.engine.failures = {"support@v2": deque([400])}
    assert ask(stage, chat()).status_code == 400
    assert len(stage.engine.asked) == 1


def test_a_replica_that_is_gone_is_left_out(start: Start) -> None:
    with Receiver([reset]) as breaking:
        stage = start(
            [route(stable=1.0)],
            upstreams=("http://127.0.0.1:9", f"http://127.0.0.1:{breaking.port}"),
        )
        reply = ask(stage, chat())
    assert reply.status_code == 502
    assert reply.json()["error"]["code"] == "engine_unreachable"
    reasons = stage.metric("driftline_gateway_retries_total", reason="unreachable")
    assert reasons == 1


def test_a_stream_comes_as_it_is_made(start: Start) -> None:
    stage = start([route(stable=1.0)])
    stage.engine.turns = threading.Semaphore(1)
    pieces = []
    with stage.client() as client, client.stream("POST", CHAT, json=chat(stream=True)) as reply:
        for piece in reply.iter_raw():
            pieces.append(piece)
            stage.engine.turns.release()  # no further token is made until this one has come
    assert len(pieces) >= 8
    assert pieces[-1].endswith(b"data: [DONE]\n\n")


def test_a_client_that_hangs_up_ends_the_engines_work(start: Start) -> None:
    stage = start([route(stable=1.0)])
    stage.engine.pause = 0.2
    with stage.client() as client, client.stream("POST", CHAT, json=chat(stream=True)) as reply:
        next(reply.iter_raw())
    assert stage.engine.hung_up.wait(30)
    counted = until(lambda: stage.metric("driftline_gateway_broken_total", by="client"), "counted")
    assert counted == 1


def test_an_answer_that_breaks_off_is_seen_to_break_off(start: Start) -> None:
    head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ncontent-length: 999\r\n\r\n"

    def part(connection: socket.socket) -> None:
        connection.sendall(head + b"data: {}\n\n")

    with Receiver([part]) as engine:
        stage = start([route(stable=1.0)], upstreams=(f"http://127.0.0.1:{engine.port}",))
        with pytest.raises(httpx2.RemoteProtocolError):
            ask(stage, chat(stream=True))


def test_bodies_and_waits_have_limits(start: Start) -> None:
    with Receiver([for_ever(b"", b"", pause=5.0)]) as silent:
        settings = {"upstreams": (f"http://127.0.0.1:{silent.port}",), "max_body": 1000}
        stage = start([route(stable=1.0)], idle_timeout=timedelta(seconds=0.3), **settings)
        slow = ask(stage, chat())
        assert (slow.status_code, slow.json()["error"]["code"]) == (504, "engine_timeout")
        assert ask(stage, chat(user="x" * 2000)).status_code == 413


def test_redirects_are_given_to_the_client_not_followed(start: Start) -> None:
    elsewhere = {"location": "http://169.254.169.254/"}
    with Receiver([answer(307, headers=elsewhere)]) as engine:
        stage = start([route(stable=1.0)], upstreams=(f"http://127.0.0.1:{engine.port}",))
        reply = ask(stage, chat())
    assert (reply.status_code, reply.headers["location"]) == (307, elsewhere["location"])


def test_no_text_of_a_request_is_logged(start: Start, capfd: pytest.CaptureFixture[str]) -> None:
    stage = start([route(stable=0.0, canary=1.0)])
    stage.engine.failures = {"support@v2": deque([500])}
    ask(stage, chat(user="secret-user") | {"x": "secret-text"}, headers={"authorization": "secret"})
    out, err = capfd.readouterr()
    assert "asked_again" in out + err
    assert "secret" not in out + err


def test_replicas_come_and_go_with_the_file_that_lists_them(
    start: Start, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("monitor.engine_addresses.LOOK_EVERY", 0.0)
    monkeypatch.setattr("monitor.gateway.engines.LOOK_EVERY", 0.05)
    file = tmp_path / "engines"
    stage = start([route(stable=1.0)], engines=2, upstreams=(file.as_uri(),))
    first, second = stage.engines
    nobody = ask(stage, chat())
    assert (nobody.status_code, nobody.json()["error"]["code"]) == (502, "engine_unreachable")
    file.write_text(stage.engine_urls[0])
    until(lambda: ask(stage, chat()).status_code == 200, "the first replica answers")
    file.write_text(stage.engine_urls[1])
    until(lambda: ask(stage, chat()).status_code == 200 and second.asked, "the second answers")
    asked = len(first.asked)
    assert [ask(stage, chat()).status_code for _ in range(3)] == [200] * 3
    assert len(first.asked) == asked, "it is gone"


def test_a_replica_that_lacks_the_adapter_is_asked_last(start: Start) -> None:
    stage = start([route(stable=1.0)], engines=3)
    have, *lack = stage.engines
    for engine in lack:
        engine.models = {"base"}
    replies = [ask(stage, chat()).status_code for _ in range(8)]
    assert replies[2:] == [200] * 6, "each of the two was asked once"
    assert [len(engine.asked) for engine in lack] == [1, 1]
    assert len(have.asked) >= 6


def test_replicas_that_still_lack_the_adapter_are_tried_again_by_no_second_attempt(
    start: Start, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage = start([route(stable=1.0)], engines=3)
    have, *lack = stage.engines
    for engine in lack:
        engine.models = {"base"}
    while not all(engine.asked for engine in lack):
        ask(stage, chat())
    monkeypatch.setattr("monitor.gateway.engines.SET_ASIDE", 0.0)  # both are tried again
    assert [ask(stage, chat()).status_code for _ in range(9)] == [200] * 9
    assert len(have.asked) >= 9
    have.failures = {"support@v1": deque([500])}
    assert ask(stage, chat()).status_code == 500, "what the only holder says"

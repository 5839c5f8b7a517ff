"""What reaches the engines through a gateway, and what of it is seen."""

import gzip
import json
from collections.abc import Iterator
from typing import Any

import pytest

from tests.attacks.wire import sent, status
from tests.gateway.conftest import Stage, Start, route, start

__all__ = ["start"]

ADMINISTRATION = r"""
/abort_request /adapters /clear_hicache_storage_backend /collective_rpc /configure_logging
/flush_cache /generate /get_weights_by_name /init_weights_update_group
/inference/v1/generate /is_sleeping /lora-adapters /metrics/reset /models/load
/models/unload /pause /pause_generation /props /release_memory_occupation /reset_mm_cache
/reset_prefix_cache /resume /resume_memory_occupation /scale_elastic_ep /server_info
/slots/0?action=erase /sleep /start_profile /stop_profile /update_weights_from_disk
/update_weights_from_tensor /v1/files /v1/fine_tuning/jobs /v1/load_lora_adapter
/v1/lora-adapters /v1/models/../pause /v1/responses/resp_1/cancel /v1/unload_lora_adapter
/wake_up /
"""
"""Of vLLM, SGLang and llama.cpp; what is not for clients ends at the gateway."""

DISGUISES = r"""
/v1/chat/completions/../../../pause /v1/models/%2e%2e/pause /v1/models/..%2fpause
/v1/models/%252e%252e/pause /v1/models/%ff /v1/models/%c3%28
/v1/models/a/../../pause /v1/models/a\..\pause //pause /./pause
/v1//chat/completions /v1/chat%2fcompletions /v1/%63hat/completions /V1/chat/completions
/v1/chat/completions/ /v1/chat/completions;x /v1/models// /v1/models/a//b
"""

CHAT = {"model": "support", "messages": [{"role": "user", "content": "When?"}]}
TEXT = json.dumps(CHAT)


def _bodies() -> Iterator[tuple[str, bytes]]:
    yield "NaN", TEXT.replace("}]}", '}], "temperature": NaN}').encode()
    yield "byte order mark", b"\xef\xbb\xbf" + TEXT.encode()
    yield "UTF-16", TEXT.encode("utf-16")
    yield "UTF-16-LE", TEXT.encode("utf-16-le")
    yield "UTF-32", TEXT.encode("utf-32")
    yield "half a character", TEXT.replace("When?", "When\\ud800?").encode()
    yield "a half in a name", TEXT.replace("}]}", '}], "x\\udfff": 1}').encode()
    yield "as bytes", TEXT.encode().replace(b"When?", b"\xed\xa0\x80")


def test_administration_ends_at_the_gateway_in_every_disguise(start: Start) -> None:
    stage = start([route(stable=1.0)])
    for path in (ADMINISTRATION + DISGUISES).split():
        for method in ("POST", "GET", "PUT", "DELETE"):
            head = f"{method} {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            assert status(sent(stage.url, head.encode())) in {400, 403}, (method, path)
    assert stage.engine.asked == []
    assert stage.metric("driftline_gateway_requests_total", status="403") > 100


@pytest.mark.parametrize(
    "target", ["http://169.254.169.254/", "HTTP://x/v1/models", "*", "x:80", "@x/v1/models", "?v1"]
)
def test_a_target_that_is_no_path_goes_nowhere(start: Start, target: str) -> None:
    stage = start([route(stable=1.0)])
    for method in ("GET", "OPTIONS", "CONNECT"):
        head = f"{method} {target} HTTP/1.1\r\nHost: x\r\n\r\n"
        assert status(sent(stage.url, head.encode())) == 400
    assert stage.engine.asked == []


def test_what_is_named_in_the_config_passes_and_nothing_beside_it(start: Start) -> None:
    stage = start([route(stable=1.0)], passes=("/v1/rerank", "/v1/audio/"))
    with stage.client() as client:
        for path in ("/v1/rerank", "/v1/audio/speech"):
            assert client.post(path, content=b"\xff raw").status_code == 203
        for path in ("/v1/rerank/x", "/v1/audio", "/v1/audio/../pause", "/v1/audio/%2e%2e/pause"):
            head = f"POST {path} HTTP/1.1\r\nHost: x\r\nContent-Length: 0\r\n\r\n"
            assert status(sent(stage.url, head.encode())) == 403, path
    assert len(stage.engine.asked) == 2


@pytest.mark.parametrize("body", [pytest.param(body, id=name) for name, body in _bodies()])
def test_what_engines_read_is_routed(start: Start, body: bytes) -> None:
    stage = start([route(stable=1.0)])
    reply = _posted(stage, body)
    assert reply.status_code == 200, reply.text
    assert reply.headers["x-driftline-version"] == "v1"
    assert stage.engine.asked[0].body["model"] == "support@v1"


@pytest.mark.parametrize(
    ("body", "encoding", "expected"),
    [
        pytest.param(gzip.compress(TEXT.encode()), "gzip", 415, id="gzip"),
        pytest.param(TEXT.encode(), "x-gzip", 415, id="no gzip that says it is"),
        pytest.param(gzip.compress(TEXT.encode()), "", 400, id="gzip that does not say so"),
        pytest.param(b'{"a":' * 100_000, "", 400, id="deep objects"),
        pytest.param(b"[" * 100_000, "", 400, id="deep lists"),
        pytest.param(TEXT.encode() + b"x", "", 400, id="more behind it"),
        pytest.param(b"[]", "", 400, id="a list"),
        pytest.param(TEXT.encode("cp037"), "", 400, id="EBCDIC"),
    ],
)
def test_what_engines_do_not_read_is_refused_and_counted(
    start: Start, body: bytes, encoding: str, expected: int
) -> None:
    stage = start([route(stable=1.0)])
    reply = _posted(stage, body, **({"content-encoding": encoding} if encoding else {}))
    assert reply.status_code == expected
    assert reply.json()["error"]["type"] == "invalid_request_error"
    assert stage.engine.asked == []
    assert stage.metric("driftline_gateway_requests_total", status=str(expected)) == 1


def test_a_body_too_large_to_be_read_with_patience_is_refused(start: Start) -> None:
    stage = start([route(stable=1.0)])
    for repeats, expected in (50_000, 200), (100_000, 400):
        body = b'{"model": "support", "x": NaN, "messages": [' + b'{"a": "b"}, ' * repeats + b"{}]}"
        assert _posted(stage, body).status_code == expected


def _posted(stage: Stage, body: bytes, **headers: str) -> Any:
    with stage.client() as client:
        return client.post(
            "/v1/chat/completions",
            content=body,
            headers={"content-type": "application/json", **headers},
        )

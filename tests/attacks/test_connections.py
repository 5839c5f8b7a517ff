"""Clients without a key that hold on to a server: what each may take of it, in time and places."""

import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest
import uvicorn
from starlette.types import Receive, Scope, Send

from monitor.connections import Door, fitted
from monitor.patience import ConnectionSettings
from tests.attacks.wire import connected, ended, heard, sent, status

HASTY = ConnectionSettings(
    head=timedelta(seconds=1),
    body=timedelta(seconds=1),
    pace=10_000,
    reading=timedelta(seconds=1),
)
LATE = 5.0
"""Seconds in which what is limited to one of them must have ended, on a busy machine too."""

PROBE = b"GET /livez HTTP/1.1\r\nHost: x\r\n\r\n"
HALVES = {
    "nothing": b"",
    "half a head": b"GET /livez HTTP/1.1\r\nHost:",
    "blank lines": b"\r\n\r\n",
    "half a body": b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 100\r\n\r\nx",
    "half a chunk": b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nx",
    "a head after an answer": PROBE + b"G",
    "blanks after an answer": PROBE + b"\r\n",
    "a body after a refusal": b"POST /refused HTTP/1.1\r\nHost: x\r\nContent-Length: 9\r\n\r\nx",
}


async def _app(scope: Scope, receive: Receive, send: Send) -> None:
    """Reads the body and answers with its size; ``/refused`` does not, ``/much`` says a lot."""
    if scope["type"] != "http":
        return
    size, more = 0, scope["path"] != "/refused"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        size, more = size + len(message.get("body", b"")), message.get("more_body", False)
    body = b"x" * (64 << 20) if scope["path"] == "/much" else b"%d" % size
    length = (b"content-length", b"%d" % len(body))
    names = (b"names", b",".join(name for name, _ in scope["headers"]))
    await send({"type": "http.response.start", "status": 200, "headers": [length, names]})
    await send({"type": "http.response.body", "body": body})


def _without_a_pause(bounded: Any) -> Any:
    class Unpaused(bounded):
        def connection_made(self, transport: Any) -> None:
            super().connection_made(transport)
            transport.set_write_buffer_limits(high=1 << 30)

    return Unpaused


@contextmanager
def _serving(
    settings: ConnectionSettings,
    *,
    trusted: tuple[str, ...] = (),
    written_without_a_pause: bool = False,
) -> Iterator[str]:
    door = Door(settings, trusted=trusted)
    protocol: Any = door.protocol()
    if written_without_a_pause:
        protocol = _without_a_pause(protocol)
    config = uvicorn.Config(
        _app, port=0, http=protocol, ws="none", lifespan="off", log_level="critical"
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert time.monotonic() < deadline
        time.sleep(0.01)
    try:
        yield f"http://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
    finally:
        server.should_exit = True
        server.force_exit = True
        thread.join(20)


def test_whoever_does_not_go_on_is_ended() -> None:
    with _serving(HASTY) as url, connected(url, len(HALVES)) as held:
        for one, half in zip(held, HALVES.values(), strict=True):
            one.sendall(half)
        assert len(ended(held, within=3 * LATE)) == len(HALVES)


def test_a_body_that_drips_is_ended_and_one_that_flows_is_not() -> None:
    head = b"POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 40000\r\n\r\n"
    with _serving(HASTY) as url, connected(url, 2) as [drips, flows]:
        drips.sendall(head)
        flows.sendall(head)
        for _ in range(20):
            flows.sendall(b"x" * 2000)
            _send_if_there(drips, b"x")
            time.sleep(0.15)
        assert heard(flows).endswith(b"40000")
        assert status(heard(drips)) in {0, 408}


def test_a_client_that_takes_nothing_of_its_answer_is_ended() -> None:
    with _serving(HASTY) as url, connected(url) as [one]:
        one.sendall(PROBE.replace(b"/livez", b"/much"))
        time.sleep(3)
        assert len(heard(one)) < 64 << 20


def test_a_place_is_given_up_although_the_last_bytes_are_not_taken() -> None:
    """uvicorn closes when all is written; what is left of it may stay unsent for ever."""
    with _serving(HASTY, written_without_a_pause=True) as url, connected(url) as [one]:
        one.sendall(b"GET /much HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        time.sleep(4)
        assert len(heard(one)) < 64 << 20


@pytest.mark.parametrize(
    ("head", "expected"),
    [
        (b"GET / HTTP/1.1\r\nHost: x\r\nA: " + b"a" * 100_000 + b"\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\n" + b"a: b\r\n" * 20_000 + b"\r\n", 400),
        (b"GET /" + b"a" * 700_000, 431),
        (b"GET http://169.254.169.254/latest HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET HTTP://x/ HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"OPTIONS * HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"CONNECT x:443 HTTP/1.1\r\nHost: x\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x\r\nHost: y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: a@b\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: x/y\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nHost: [::1]:80\r\n\r\n", 200),
        (b"GET / HTTP/1.1\r\nHost: a_b.example.:80\r\n\r\n", 200),
        (b"GET / HTTP/1.0\r\n\r\n", 200),
    ],
)
def test_heads_that_no_honest_client_sends_are_refused(head: bytes, expected: int) -> None:
    with _serving(HASTY) as url:
        assert status(sent(url, head)) == expected


def test_trailers_are_no_headers_and_do_not_grow_without_end() -> None:
    chunk = b"POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n"
    with _serving(HASTY) as url:
        answer = sent(url, chunk + b"Authorization: mine\r\n\r\n")
        assert status(answer) == 200
        assert b"authorization" not in answer
        assert status(sent(url, chunk + b"a: b\r\n" * 30_000)) == 431


def test_one_address_cannot_take_all_places() -> None:
    with _serving(ConnectionSettings(most=20, per_address=10)) as url, connected(url, 10):
        assert status(sent(url, PROBE)) == 503
        assert status(sent(url, PROBE, source="127.0.0.2")) == 200


def test_a_trusted_proxy_may_take_more_than_one_address() -> None:
    settings = ConnectionSettings(most=20, per_address=10)
    with _serving(settings, trusted=("127.0.0.1/32",)) as url, connected(url, 12):
        assert status(sent(url, PROBE)) == 200


def test_health_is_answered_when_all_places_are_taken() -> None:
    settings = ConnectionSettings(most=10, per_address=1000)
    with _serving(settings) as url, connected(url, 300):
        assert status(sent(url, PROBE)) == 200
        assert status(sent(url, PROBE.replace(b"/livez", b"/"))) == 503


def test_places_are_given_back() -> None:
    with _serving(ConnectionSettings(most=5, per_address=5)) as url:
        for _ in range(30):
            assert status(sent(url, PROBE)) == 200
        with connected(url, 40):
            pass
        deadline = time.monotonic() + LATE
        while status(sent(url, PROBE.replace(b"/livez", b"/"))) != 200:
            assert time.monotonic() < deadline


def test_fewer_files_make_fewer_places() -> None:
    wanted = ConnectionSettings(most=1000)
    assert fitted(wanted, files=256, own=128).most == 112
    assert fitted(wanted, files=256, own=64, files_each=2).most == 88
    assert fitted(wanted, files=4096, own=128).most == 1000
    assert fitted(wanted, files=64, own=128).most == 8


def _send_if_there(one: socket.socket, piece: bytes) -> None:
    try:
        one.sendall(piece)
    except OSError:
        return

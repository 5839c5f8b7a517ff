"""How a gateway leaves its port: whoever reached it is answered, and told not to come again."""

import asyncio
import http.client
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import pytest
import uvicorn

from monitor.gateway.server import GatewayServer, Leaving, listeners
from tests.service import until

REQUEST = b"GET / HTTP/1.1\r\nhost: x\r\n\r\n"


@dataclass(kw_only=True)
class Running:
    """A server in a thread, and the loop that it runs on."""

    server: GatewayServer
    port: int
    loop: asyncio.AbstractEventLoop
    thread: threading.Thread


@contextmanager
def running(*, lame_duck: float, port: int = 0) -> Iterator[Running]:
    loops: list[asyncio.AbstractEventLoop] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == "lifespan":
            loops.append(asyncio.get_running_loop())
            await receive()
            await send({"type": "lifespan.startup.complete"})
            await receive()
            await send({"type": "lifespan.shutdown.complete"})
            return
        headers = [(b"content-length", b"2")]
        await send({"type": "http.response.start", "status": 200, "headers": headers})
        await send({"type": "http.response.body", "body": b"ok"})

    leaving = Leaving()
    sockets = listeners("127.0.0.1", port)
    config = uvicorn.Config(leaving.telling(app), log_level="warning", timeout_graceful_shutdown=5)
    server = GatewayServer(config, leaving=leaving, lame_duck=timedelta(seconds=lame_duck))
    bound = sockets[0].getsockname()[1]
    thread = threading.Thread(target=server.run, args=(sockets,))
    thread.start()
    try:
        until(lambda: server.started, "it listens")
        yield Running(server=server, port=bound, loop=loops[0], thread=thread)
    finally:
        server.should_exit = True
        thread.join(20)
        assert not thread.is_alive()


def test_connections_that_nobody_has_accepted_yet_are_answered() -> None:
    blocked = threading.Event()

    def block() -> None:
        blocked.set()
        time.sleep(1.0)

    with running(lame_duck=0.0) as one:
        one.loop.call_soon_threadsafe(block)
        assert blocked.wait(10)
        waiting = [socket.create_connection(("127.0.0.1", one.port)) for _ in range(20)]
        for connection in waiting[:10]:
            connection.sendall(REQUEST)
        one.server.should_exit = True
        until(lambda: not one.server.servers[0].is_serving(), "it stops listening")
        for connection in waiting[10:]:
            connection.sendall(REQUEST)
        said = [_all(connection) for connection in waiting]
    assert {reply.partition(b"\r\n")[0] for reply in said} == {b"HTTP/1.1 200 OK"}
    assert all(b"connection: close" in reply for reply in said)


def test_what_comes_while_the_last_connections_are_served_is_refused_and_not_reset(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """A refused connection is tried elsewhere; a reset one may have been a request."""
    waiting: list[socket.socket] = []
    later: list[str] = []
    with running(lame_duck=0.0) as one:
        [listening] = one.server.servers
        serve = one.server.config.http_protocol_class
        address = ("127.0.0.1", one.port)

        def closed_with_one_waiting() -> None:
            if not waiting:
                waiting.append(socket.create_connection(address))
            listening.close()

        def served_while_another_comes(**given: Any) -> Any:
            try:
                socket.create_connection(address).close()
                later.append("connected")
            except ConnectionRefusedError:
                later.append("refused")
            return serve(**given)

        closing = SimpleNamespace(close=closed_with_one_waiting, wait_closed=listening.wait_closed)
        monkeypatch.setattr(one.server, "servers", [closing])
        monkeypatch.setattr(one.server.config, "http_protocol_class", served_while_another_comes)
        one.server.should_exit = True
        until(lambda: waiting, "it stops listening")
        waiting[0].sendall(REQUEST)
        said = _all(waiting[0])
    assert said.startswith(b"HTTP/1.1 200 OK")
    assert later == ["refused"]


def _all(connection: socket.socket) -> bytes:
    with connection:
        connection.settimeout(20)
        said = b""
        while piece := connection.recv(4096):
            said += piece
    return said


def test_a_kept_connection_is_answered_once_more_and_then_closed() -> None:
    with running(lame_duck=5.0) as one:
        client = http.client.HTTPConnection("127.0.0.1", one.port, timeout=20)
        assert _asked(client) is None
        one.server.handle_exit(signal.SIGTERM, None)
        assert _asked(client) == "close"
        client.close()
        time.sleep(1.0)
        late = http.client.HTTPConnection("127.0.0.1", one.port, timeout=20)
        assert _asked(late) == "close"
        late.close()


def _asked(client: http.client.HTTPConnection) -> str | None:
    """What the answer says of its connection."""
    client.request("GET", "/")
    reply = client.getresponse()
    assert (reply.status, reply.read()) == (200, b"ok")
    return reply.getheader("connection")


def test_the_next_process_may_listen_before_this_one_leaves() -> None:
    with running(lame_duck=0.0) as old, running(lame_duck=0.0, port=old.port) as new:
        old.server.should_exit = True
        old.thread.join(20)  # until then the kernel may give it a connection, and then reset that
        assert not old.thread.is_alive()
        client = http.client.HTTPConnection("127.0.0.1", new.port, timeout=20)
        assert _asked(client) is None
        client.close()

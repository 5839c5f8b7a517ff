"""A webhook receiver that keeps what it was sent and checks every signature."""

import contextlib
import json
import secrets
import threading
from base64 import b64encode
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self

from standardwebhooks import Webhook

from tests.loopback import unused_port


def new_secret() -> str:
    return "whsec_" + b64encode(secrets.token_bytes(32)).decode()


@dataclass(frozen=True, kw_only=True)
class Message:
    """One verified delivery: its id over all attempts, and the body."""

    id: str
    alert: dict[str, Any]

    @property
    def said(self) -> tuple[str, str, str]:
        """Whom it is about, what happened, how urgent it is."""
        return (self.alert["adapter"], self.alert["status"], self.alert["severity"])


@dataclass
class Inbox:
    """Listens on one port; ``down`` and ``up`` close and open it. Deliveries are kept."""

    secret: str = field(default_factory=new_secret)
    port: int = field(default_factory=unused_port)
    deliveries: list[Message] = field(default_factory=list)
    forged: list[str] = field(default_factory=list)
    """Why deliveries could not be verified; empty unless something is very wrong."""
    arrived: threading.Condition = field(default_factory=threading.Condition)

    def __enter__(self) -> Self:
        self._server: ThreadingHTTPServer | None = None
        self.up()
        return self

    def __exit__(self, *_: object) -> None:
        self.down()
        assert self.forged == []

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/hook"

    @property
    def messages(self) -> list[Message]:
        """Every message once, in the order of first arrival."""
        with self.arrived:
            return list({message.id: message for message in reversed(self.deliveries)}.values())[
                ::-1
            ]

    def up(self) -> None:
        self._server = ThreadingHTTPServer(("127.0.0.1", self.port), self._handler())
        self._server.daemon_threads = True
        self._thread = threading.Thread(
            target=self._server.serve_forever, kwargs={"poll_interval": 0.01}
        )
        self._thread.start()

    def down(self) -> None:
        if self._server is not None:
            self._server.shutdown()
            self._server.server_close()
            self._thread.join()
            self._server = None

    def take(self, body: bytes, headers: dict[str, str]) -> None:
        try:
            Webhook(self.secret).verify(body, headers)
        except Exception as error:  # noqa: BLE001 (whatever the verifier says is the finding)
            self.forged.append(repr(error))
            return
        message = Message(id=headers["webhook-id"], alert=json.loads(body))
        with self.arrived:
            self.deliveries.append(message)
            self.arrived.notify_all()

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        inbox = self

        class Handler(BaseHTTPRequestHandler):
            def log_message(self, *_: object) -> None:
                pass

            def do_POST(self) -> None:
                body = self.rfile.read(int(self.headers["content-length"]))
                inbox.take(body, {name.lower(): value for name, value in self.headers.items()})
                with contextlib.suppress(OSError):  # a killed sender does not hear the answer
                    self.send_response(204)
                    self.end_headers()

        return Handler


@contextlib.contextmanager
def inbox() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened

"""On-call's side: a webhook receiver that checks every signature before it believes a body."""

import base64
import hashlib
import hmac
import json
import secrets
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Final, Self

FRESH_S: Final = 300
LARGEST_BODY: Final = 64 * 1024


class ForgedError(ValueError):
    """The body does not carry a fresh signature of ours."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Message:
    """A message whose signature was right; ``body`` is Driftline's own webhook body."""

    id: str
    body: Mapping[str, Any]
    received: float = field(default_factory=time.monotonic)

    @property
    def subject(self) -> str:
        """``adapter@version``."""
        return f"{self.body['adapter']}@{self.body['version']}"

    @property
    def severity(self) -> str:
        """``ticket`` or ``page``."""
        return str(self.body["severity"])

    @property
    def status(self) -> str:
        """``started``, ``worsened``, ``updated``, ``recovered`` or ``reopened``."""
        return str(self.body["status"])


def new_secret() -> str:
    """Make a secret that both sides of a webhook share."""
    return "whsec_" + base64.b64encode(secrets.token_bytes(32)).decode()


def verify(secret: str, headers: Mapping[str, str], body: bytes, *, now: float) -> str:
    """Check a Standard Webhooks signature and give the message's id.

    Written from the specification, without Driftline's own code, as a receiver would:
    https://github.com/standard-webhooks/standard-webhooks/blob/main/spec/standard-webhooks.md

    Parameters
    ----------
    headers
        With names in lower case.
    now
        Epoch seconds; messages more than 5 minutes away are refused, so that an old one
        cannot be played again.

    Raises
    ------
    ForgedError
        A header is missing, the time is off, or no signature fits.
    """
    message_id, stamp = headers.get("webhook-id", ""), headers.get("webhook-timestamp", "")
    if not (message_id and stamp.isdigit()):
        raise ForgedError("no id or no timestamp")
    if abs(now - int(stamp)) > FRESH_S:
        raise ForgedError("older than 5 minutes")
    key = base64.b64decode(secret.removeprefix("whsec_"))
    signed = f"{message_id}.{stamp}.".encode() + body
    expected = base64.b64encode(hmac.new(key, signed, hashlib.sha256).digest()).decode()
    given = headers.get("webhook-signature", "").split()
    if not any(hmac.compare_digest(f"v1,{expected}", signature) for signature in given):
        raise ForgedError("no signature fits")
    return message_id


class Receiver:
    """Keeps each message once: deliveries are at least once, and ids tell repeats."""

    def __init__(self, port: int, *, secret: str) -> None:
        self.url = f"http://127.0.0.1:{port}/on-call"
        self.forged = 0
        self._secret = secret
        self._messages: dict[str, Message] = {}
        self._lock = threading.Lock()
        self._server = ThreadingHTTPServer(("127.0.0.1", port), _handler_of(self))
        self._thread = threading.Thread(target=self._server.serve_forever, name="on-call")

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def messages(self) -> tuple[Message, ...]:
        """Messages in order of arrival."""
        with self._lock:
            return tuple(self._messages.values())

    def take(self, headers: Mapping[str, str], body: bytes) -> None:
        """Keep a message; raises ForgedError when it is not Driftline's."""
        try:
            message_id = verify(self._secret, headers, body, now=time.time())
        except ForgedError:
            with self._lock:
                self.forged += 1
            raise
        message = Message(id=message_id, body=json.loads(body))
        with self._lock:
            self._messages.setdefault(message_id, message)


def _handler_of(receiver: Receiver) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            length = int(self.headers.get("content-length") or 0)
            body = self.rfile.read(min(length, LARGEST_BODY))
            headers = {name.lower(): value for name, value in self.headers.items()}
            try:
                receiver.take(headers, body)
            except ForgedError:
                self.send_response(401)
            else:
                self.send_response(204)
            self.end_headers()

        def log_message(self, *_: object) -> None:
            """Say nothing: the terminal belongs to the narrator."""

    return Handler

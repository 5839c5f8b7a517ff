"""Read a request's body as far as routing needs it; all other bytes stay untouched."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from monitor.capture.surrogates import whole

MOST_LENIENT: Final = 1024 * 1024
"""The largest body, in bytes, that is read with Python's parser, which blocks for some 10 ms."""

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MESSAGES: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _Message(msgspec.Struct):
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class RequestBody:
    """A request's body; ``fields`` are its members as raw JSON, None if it is not an object.

    Of duplicate member names the last one counts, here and for the engine, because only the parsed
    members are sent on. If no route takes the request, ``body`` itself is sent on.
    """

    body: bytes
    fields: Mapping[str, msgspec.Raw] | None = None

    @property
    def model(self) -> str | None:
        """The model's name as the client wrote it."""
        return self.text("model")

    def text(self, name: str) -> str | None:
        """Return a member that is a non-empty string, else None."""
        found = self.value(name)
        return found if isinstance(found, str) and found else None

    def value(self, name: str) -> Any:
        """Return a member; None if it is absent, null, or not JSON."""
        raw = (self.fields or {}).get(name)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return _as_python_reads_it(bytes(raw))

    def replaced(self, **members: object) -> bytes:
        """Return the body with members set; the bytes of all others are untouched."""
        fields = dict(self.fields or {})
        for name, value in members.items():
            fields[name] = msgspec.Raw(msgspec.json.encode(value))
        return msgspec.json.encode(fields)

    def conversation(self) -> str:
        """Return the part of a conversation that stays the same: all up to the first question."""
        fields = self.fields or {}
        if "messages" not in fields:
            return bytes(fields.get("prompt", fields.get("input", b""))).decode("utf-8", "replace")
        try:
            messages = _MESSAGES.decode(fields["messages"])
        except (ValueError, RecursionError):
            return ""
        first = next((n for n, one in enumerate(messages) if _role(one) == "user"), 0)
        return b"\0".join(map(bytes, messages[: first + 1])).decode("utf-8", "replace")


def read(body: bytes) -> RequestBody:
    """Read a body; one that is not a JSON object has no fields.

    Engines read with Python, which accepts NaN, a byte order mark and UTF-16. A body that only
    Python can read is rewritten without them.
    """
    try:
        return RequestBody(body=body, fields=_FIELDS.decode(body))
    except (ValueError, RecursionError):
        found = _as_python_reads_it(body)
    if not isinstance(found, dict):
        return RequestBody(body=body)
    fields = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in found.items()}
    return RequestBody(body=body, fields=fields)


def _as_python_reads_it(text: bytes) -> Any:
    """Parse as Python does; None if that fails, or if the text is too long to block others."""
    if len(text) > MOST_LENIENT:
        return None
    try:
        return whole(json.loads(text))
    except (ValueError, RecursionError):
        return None


def _role(message: msgspec.Raw) -> str:
    try:
        return msgspec.json.decode(message, type=_Message).role
    except (ValueError, RecursionError):
        return ""

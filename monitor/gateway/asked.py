"""What a client asks for, read as far as routing needs it; all other bytes stay as they came."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec

from monitor.capture.surrogates import whole

MOST_LENIENT: Final = 1024 * 1024
"""Bytes of a body that are read as Python reads them: some 10 ms, in which nothing else is done."""

_FIELDS: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_MESSAGES: Final = msgspec.json.Decoder(list[msgspec.Raw])


class _Message(msgspec.Struct):
    role: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """A request's body; ``fields`` are its members as raw JSON, None where it is no object.

    Members are compared by name once: of a name that stands twice the last one counts, here
    and for the engine, as nothing else is sent on. Where no route takes the body, ``body`` itself
    goes on.
    """

    body: bytes
    fields: Mapping[str, msgspec.Raw] | None = None

    @property
    def model(self) -> str | None:
        """The model's name as the client wrote it."""
        return self.text("model")

    def text(self, name: str) -> str | None:
        """A member that is a string and not empty."""
        found = self.value(name)
        return found if isinstance(found, str) and found else None

    def value(self, name: str) -> Any:
        """A member; None where it is absent, null, or no JSON."""
        raw = (self.fields or {}).get(name)
        if raw is None:
            return None
        try:
            return msgspec.json.decode(raw)
        except (ValueError, RecursionError):
            return _as_python_reads_it(bytes(raw))

    def replaced(self, **members: object) -> bytes:
        """Give the body with members set; the bytes of all others are untouched."""
        fields = dict(self.fields or {})
        for name, value in members.items():
            fields[name] = msgspec.Raw(msgspec.json.encode(value))
        return msgspec.json.encode(fields)

    def conversation(self) -> str:
        """What stays the same while a conversation grows: everything up to the first question."""
        fields = self.fields or {}
        if "messages" not in fields:
            return bytes(fields.get("prompt", fields.get("input", b""))).decode("utf-8", "replace")
        try:
            messages = _MESSAGES.decode(fields["messages"])
        except (ValueError, RecursionError):
            return ""
        first = next((n for n, one in enumerate(messages) if _role(one) == "user"), 0)
        return b"\0".join(map(bytes, messages[: first + 1])).decode("utf-8", "replace")


def read(body: bytes) -> Asked:
    """Read a body; one that is no JSON object has no fields.

    Engines read with Python: with NaN, with a byte order mark, in UTF-16. What only that reads
    is written anew, without them.
    """
    try:
        return Asked(body=body, fields=_FIELDS.decode(body))
    except (ValueError, RecursionError):
        found = _as_python_reads_it(body)
    if not isinstance(found, dict):
        return Asked(body=body)
    fields = {name: msgspec.Raw(json.dumps(value).encode()) for name, value in found.items()}
    return Asked(body=body, fields=fields)


def _as_python_reads_it(text: bytes) -> Any:
    """None where it cannot be read, or is too much to be read so while others wait."""
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

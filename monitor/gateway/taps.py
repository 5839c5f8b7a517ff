"""Reads an answer while it passes, and takes log-probabilities out that nobody asked for.

In the way of the answer stands only what is needed to cut them out of its bytes, which all
others stay as they came; what they say is read when the answer is over.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Iterable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from monitor.capture.formats.shapes import mapping
from monitor.gateway.said import joined

MOST: Final = 32 * 1024 * 1024
"""Bytes of an answer that are held; what is larger passes as it came, and is no record's."""

_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LOGPROBS: Final = b'"logprobs"'
_PLAIN: Final = b"data: {"
"""How an event of one line begins, as engines write them."""


class Tap(Protocol):
    """Stands in the way of one answer. ``strip`` of both kinds: nobody asked for logprobs."""

    def feed(self, piece: bytes) -> bytes:
        """Take a piece; give what passes on now."""
        ...

    def close(self) -> bytes:
        """Give what has been held until the end."""
        ...

    def answer(self) -> Mapping[str, Any]:
        """What was said, in the shape of an answer that is no stream; empty: unreadable."""
        ...


class WholeTap:
    """An answer in one JSON document. To be cleaned it is held to its end."""

    def __init__(self, *, strip: bool) -> None:
        self._strip = strip
        self._parts: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> bytes:
        """See :class:`Tap`."""
        if self._size > MOST:
            return piece
        self._size += len(piece)
        self._parts.append(piece)
        if self._size > MOST:
            held, self._parts = self._parts, []
            return b"".join(held) if self._strip else piece
        return b"" if self._strip else piece

    def close(self) -> bytes:
        """See :class:`Tap`."""
        return cleaned(b"".join(self._parts)) if self._strip else b""

    def answer(self) -> Mapping[str, Any]:
        """See :class:`Tap`."""
        return mapping(_decoded(b"".join(self._parts)))


class StreamTap:
    """Server-sent events, each cleaned by itself; none waits for the next."""

    def __init__(self, *, strip: bool) -> None:
        self._strip = strip
        self._held = b""
        self._data: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> bytes:
        """See :class:`Tap`."""
        self._size += len(piece)
        if self._size > MOST:
            held, self._held, self._data = self._held, b"", []
            return held + piece if self._strip else piece
        events = _split(self._held + piece if self._held else piece)
        self._held = events.pop()
        out = [self._event(event) for event in events]
        if not self._strip:
            return piece
        return out[0] if len(out) == 1 else b"".join(out)

    def close(self) -> bytes:
        """See :class:`Tap`."""
        rest = self._event(self._held) if self._held else b""
        return rest if self._strip else b""

    def answer(self) -> Mapping[str, Any]:
        """See :class:`Tap`."""
        return joined(mapping(_decoded(data)) for data in self._data)

    def _event(self, event: bytes) -> bytes:
        plain = event.startswith(_PLAIN) and event.find(b"\n") == len(event) - 2
        data = event[len(_PLAIN) - 1 : -2] if plain else b"\n".join(_payloads(event))
        if not data.startswith(b"{"):
            return event
        self._data.append(data)
        if not self._strip or _LOGPROBS not in data:
            return event
        clean = cleaned(data)
        if plain:
            return b"data: " + clean + b"\n\n"
        others = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
        return b"\n".join([*others, b"data: " + clean]) + b"\n\n"


class _Choice(msgspec.Struct, gc=False):
    logprobs: Raw = Raw(b"null")


class _Choices(msgspec.Struct, gc=False):
    choices: list[_Choice] = []


_CHOICES: Final = msgspec.json.Decoder(_Choices)


def cleaned(document: bytes) -> bytes:
    """Put ``null`` in place of each choice's ``logprobs``; all other bytes stay.

    >>> cleaned(b'{"choices": [{"text": "a", "logprobs": {"tokens": ["a"]}}], "x" : 1e400}')
    b'{"choices": [{"text": "a", "logprobs": null}], "x" : 1e400}'
    """
    try:
        found = [bytes(choice.logprobs) for choice in _CHOICES.decode(document).choices]
    except (ValueError, RecursionError):
        return _rewritten(document)
    for logprobs in found:
        # inside a string its quotes would be escaped, so these bytes can only be the value
        if logprobs.startswith(b"{") and b'"' in logprobs:
            document = _without(document, logprobs)
    return document


def _without(document: bytes, logprobs: bytes) -> bytes:
    """Put ``null`` in the place of a value of this name.

    Looked for by its name: to look for so long a text costs more than all else in an event.
    """
    name = document.find(_LOGPROBS)
    while name >= 0:
        begin = document.find(b"{", name)
        if document.startswith(logprobs, begin):
            return document[:begin] + b"null" + document[begin + len(logprobs) :]
        name = document.find(_LOGPROBS, name + 1)
    return document


def _rewritten(document: bytes) -> bytes:
    """Do the same to what is not quite JSON: some engines write NaN."""
    told = mapping(_decoded(document))
    choices = told.get("choices")
    if not isinstance(choices, list):
        return document
    kept = [one | {"logprobs": None} if isinstance(one, dict) else one for one in choices]
    return json.dumps({**told, "choices": kept}).encode()


def _split(text: bytes) -> list[bytes]:
    """Split after each event's end; the last item is what has not ended yet."""
    if b"\r" not in text:
        *events, rest = text.split(b"\n\n")
        return [*[event + b"\n\n" for event in events], rest]
    ends = [0, *(end.end() for end in _EVENT_END.finditer(text))]
    return [*(text[begin:end] for begin, end in itertools.pairwise(ends)), text[ends[-1] :]]


def _payloads(event: bytes) -> Iterable[bytes]:
    for line in event.splitlines():
        if line.startswith(b"data:"):
            yield line[5:].removeprefix(b" ")


def _decoded(body: bytes) -> Any:
    for decode in (msgspec.json.decode, json.loads):  # the latter also reads NaN and infinities
        try:
            return decode(body)
        except (ValueError, RecursionError):
            continue
    return None

"""Read an answer while it passes, and cut out log-probabilities the client did not request.

Only the cutting happens in the answer's way, and leaves all other bytes unchanged; the content is
read once the answer is over.
"""

from __future__ import annotations

import itertools
import json
import re
from collections.abc import Callable, Mapping
from typing import Any, Final, Protocol

import msgspec
from msgspec import Raw

from driftline.formats.shapes import mapping
from driftline.formats.streams import joined

MOST: Final = 32 * 1024 * 1024
"""Bytes of an answer that are held; a larger answer passes unchanged, and makes no record."""

_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LOGPROBS: Final = b'"logprobs"'
_USAGE: Final = b'"usage"'
_NO_CHOICE: Final = re.compile(rb'"choices"\s*:\s*\[\s*\]')
_AS_WRITTEN: Final = {
    blank: re.compile(
        rb'"logprobs":%b\{[^}]*+(?:\}(?:,%b\{|\])[^}]*+)*+\}(?=,%b"finish_reason":)'
        % ((blank,) * 3)
    )
    for blank in (b"", b" ")
}
"""The whole value and no more: objects inside it are in lists, so that ``}`` before a comma and a
name ends the value, and quotes inside a text would be escaped."""
DONE: Final = b"data: [DONE]\n\n"
"""The last event of OpenAI's streams, after which its client closes the connection."""


class Tap(Protocol):
    """A filter on one answer. ``strip``, in both kinds: the client did not request logprobs."""

    def feed(self, piece: bytes) -> bytes:
        """Take a piece; return the bytes to pass on now."""
        ...

    def close(self) -> bytes:
        """Return the bytes held until the end."""
        ...

    def answer(self) -> Mapping[str, Any]:
        """Return the answer in the shape of a plain one; empty if unreadable."""
        ...


class WholeTap:
    """A filter for an answer in one JSON document, which is held to its end for cleaning."""

    def __init__(self, *, strip: bool, clean: Callable[[bytes], bytes] | None = None) -> None:
        self._strip = strip
        self._clean = clean or cleaned
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
        return self._clean(b"".join(self._parts)) if self._strip else b""

    def answer(self) -> Mapping[str, Any]:
        """See :class:`Tap`."""
        return mapping(_decoded(b"".join(self._parts)))


class StreamTap:
    """A filter for server-sent events, which cleans and passes each complete event at once.

    ``uncount`` is true if the client did not request the event that counts tokens.
    """

    def __init__(
        self, *, strip: bool, uncount: bool = False, clean: Callable[[bytes], bytes] | None = None
    ) -> None:
        self._strip = strip
        self._uncount = uncount
        self._clean = clean or cleaned_events
        self._held = b""
        self._passed: list[bytes] = []
        self._size = 0

    def feed(self, piece: bytes) -> bytes:
        """See :class:`Tap`."""
        self._size += len(piece)
        if self._size > MOST:
            held, self._held, self._passed = self._held, b"", []
            return held + piece
        if not (self._strip or self._uncount):
            self._passed.append(piece)
            return piece
        events, self._held = _parted(self._held + piece)
        return self._taken(events)

    def close(self) -> bytes:
        """See :class:`Tap`."""
        return self._taken(self._held)

    def answer(self) -> Mapping[str, Any]:
        """See :class:`Tap`."""
        events = b"".join(self._passed)
        try:
            said = _ANYTHING.decode_lines(_lines(events))
        except (ValueError, RecursionError):
            said = [_decoded(payload(event)) for event in split(events)]
        return joined(map(mapping, said))

    def _taken(self, events: bytes) -> bytes:
        self._passed.append(events)
        events = uncounted(events) if self._uncount else events
        return self._clean(events) if self._strip else events


class _Choice(msgspec.Struct, gc=False):
    logprobs: Raw = Raw(b"null")


class _Choices(msgspec.Struct, gc=False):
    choices: list[_Choice] = []


_CHOICES: Final = msgspec.json.Decoder(_Choices)
_ANYTHING: Final = msgspec.json.Decoder()


def cleaned(document: bytes) -> bytes:
    """Put ``null`` in place of each choice's ``logprobs``; all other bytes stay.

    >>> cleaned(b'{"choices": [{"text": "a", "logprobs": {"tokens": ["a"]}}], "x" : 1e400}')
    b'{"choices": [{"text": "a", "logprobs": null}], "x" : 1e400}'
    """
    try:
        return _without(document, _CHOICES.decode(document))
    except (ValueError, RecursionError):
        return _rewritten(document)


def cleaned_events(events: bytes) -> bytes:
    r"""Clean whole events of a stream: at once if they are written as engines write them.

    >>> cleaned_events(b'data: {"choices": [{"logprobs": {"tokens": ["a"]}}]}\n\n: hello\n\n')
    b'data: {"choices": [{"logprobs": null}]}\n\n: hello\n\n'
    """
    if _LOGPROBS not in events:
        return events
    try:
        return _cut(events)
    except ValueError:
        return b"".join(map(_cleaned_event, split(events)))


def uncounted(events: bytes) -> bytes:
    r"""Drop the event that counts a stream's tokens, which has no choice.

    >>> uncounted(b'data: {"choices": [], "usage": {"total_tokens": 3}}\n\ndata: [DONE]\n\n')
    b'data: [DONE]\n\n'
    """
    if _USAGE not in events or not _NO_CHOICE.search(events):
        return events
    return b"".join(event for event in split(events) if not _counts(event))


def _counts(event: bytes) -> bool:
    told = mapping(_decoded(payload(event)))
    return told.get("choices") == [] and isinstance(told.get("usage"), dict)


def _cut(events: bytes) -> bytes:
    """Cut out values between the names of two members, as engines write them.

    Parsing the documents would cost more than twice as much, and a client waits for it.

    Raises
    ------
    ValueError
        The events are not written like that, or not all of them.
    """
    blank = b" " if b'"logprobs": ' in events else b""
    nothing = b'"logprobs":%bnull' % blank
    clean = _AS_WRITTEN[blank].sub(nothing, events)
    # the name must not remain elsewhere: with other blanks, in escaped letters, inside a text
    escapes = b"\\u006" in clean or b"\\u007" in clean
    if escapes or clean.count(_LOGPROBS) != clean.count(nothing):
        raise ValueError
    return clean


def _lines(events: bytes) -> bytes:
    """Return the documents of events as engines write them, one a line; else invalid JSON."""
    # line ends are escaped inside JSON, so these can only be between two events
    return events.removesuffix(DONE).removeprefix(b"data: ").replace(b"\n\ndata: ", b"\n")


def _cleaned_event(event: bytes) -> bytes:
    data = payload(event)
    clean = cleaned(data)
    return event if clean == data else with_data(event, clean)


def with_data(event: bytes, data: bytes) -> bytes:
    """Return an event with its data replaced by ``data``, which is one line."""
    others = [line for line in event.splitlines() if line and not line.startswith(b"data:")]
    return b"\n".join([*others, b"data: " + data]) + b"\n\n"


def _without(text: bytes, document: _Choices) -> bytes:
    """Replace all log-probabilities of a document in a text by ``null``.

    They are found by their name, because searching for such a long value costs more than all else.
    """
    kept, done = [], 0
    for logprobs in [bytes(choice.logprobs) for choice in document.choices]:
        # inside a string its quotes would be escaped, so these bytes can only be the value
        if logprobs[:1] != b"{" or b'"' not in logprobs:
            continue
        begin = text.index(b"{", text.index(_LOGPROBS, done))
        while not text.startswith(logprobs, begin):
            begin = text.index(b"{", text.index(_LOGPROBS, begin))
        kept.append(text[done:begin])
        done = begin + len(logprobs)
    return b"null".join([*kept, text[done:]])


def _rewritten(document: bytes) -> bytes:
    """Clean invalid JSON that Python still reads, such as an engine's NaN."""
    told = mapping(_decoded(document))
    choices = told.get("choices")
    if not isinstance(choices, list):
        return document
    kept = [
        one | {"logprobs": None} if isinstance(one, dict) and "logprobs" in one else one
        for one in choices
    ]
    return document if kept == choices else json.dumps({**told, "choices": kept}).encode()


def _parted(text: bytes) -> tuple[bytes, bytes]:
    """Separate complete events from the unfinished rest."""
    if b"\r" in text:
        *parts, rest = split(text)
        return b"".join(parts), rest
    end = text.rfind(b"\n\n")
    return (b"", text) if end < 0 else (text[: end + 2], text[end + 2 :])


def split(text: bytes) -> list[bytes]:
    """Split after each event's end; the last item is the unfinished rest."""
    ends = [0, *(end.end() for end in _EVENT_END.finditer(text))]
    return [*(text[begin:end] for begin, end in itertools.pairwise(ends)), text[ends[-1] :]]


def payload(event: bytes) -> bytes:
    """Return the data of an event."""
    lines = (line[5:].removeprefix(b" ") for line in event.splitlines() if line[:5] == b"data:")
    return b"\n".join(lines)


def _decoded(body: bytes) -> Any:
    for decode in (msgspec.json.decode, json.loads):  # json.loads also reads NaN and infinities
        try:
            return decode(body)
        except (ValueError, RecursionError):
            continue
    return None

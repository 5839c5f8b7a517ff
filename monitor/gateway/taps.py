"""Reads an answer while it passes, and takes log-probabilities out that nobody asked for."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any, Final, Protocol

import msgspec

from monitor.capture.formats.shapes import mapping, sequence

MOST: Final = 32 * 1024 * 1024
"""Bytes of an answer, or of one event, that are held; what is larger passes as it came."""

_EVENT_END: Final = re.compile(rb"\r\n\r\n|\n\n|\r\r")
_LOGPROBS: Final = b'"logprobs"'


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
        self._told: Mapping[str, Any] | None = None

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
        if not self._strip or self._size > MOST:
            return b""
        body = b"".join(self._parts)
        told = self.answer() if _LOGPROBS in body else {}
        return msgspec.json.encode(_without(told)) if told else body

    def answer(self) -> Mapping[str, Any]:
        """See :class:`Tap`."""
        if self._told is None:
            self._told = mapping(_decoded(b"".join(self._parts)))
        return self._told


class StreamTap:
    """Server-sent events, each rewritten by itself; none waits for the next."""

    def __init__(self, *, strip: bool) -> None:
        self._strip = strip
        self._held = b""
        self._lost = False
        self._said = _Said()

    def feed(self, piece: bytes) -> bytes:
        """See :class:`Tap`."""
        if self._lost:
            return piece
        self._held += piece
        out, begin = [], 0
        for end in _EVENT_END.finditer(self._held):
            out.append(self._event(self._held[begin : end.end()]))
            begin = end.end()
        self._held = self._held[begin:]
        if len(self._held) > MOST:
            self._lost = True
            out.append(self._held)
            self._held = b""
        return b"".join(out) if self._strip else piece

    def close(self) -> bytes:
        """See :class:`Tap`."""
        rest = self._event(self._held) if self._held else b""
        return rest if self._strip else b""

    def answer(self) -> Mapping[str, Any]:
        """See :class:`Tap`."""
        return self._said.answer()

    def _event(self, event: bytes) -> bytes:
        lines = event.splitlines()
        data = b"\n".join(
            line[5:].removeprefix(b" ") for line in lines if line.startswith(b"data:")
        )
        chunk = mapping(_decoded(data)) if data.startswith(b"{") else {}
        if not chunk:
            return event
        self._said.take(chunk)
        if not self._strip or _LOGPROBS not in data:
            return event
        others = [line + b"\n" for line in lines if line and not line.startswith(b"data:")]
        return b"".join(others) + b"data: " + msgspec.json.encode(_without(chunk)) + b"\n\n"


class _Said:
    """Puts the first choice of a stream together."""

    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, str]] = {}
        self._tokens: list[Any] = []
        self._columns: dict[str, list[Any]] = {}
        self._ending: Any = None
        self._usage: Any = None
        self._begun = False
        self._several = False

    def take(self, chunk: Mapping[str, Any]) -> None:
        """Take one chunk."""
        self._usage = chunk.get("usage") or self._usage
        for choice in map(mapping, sequence(chunk.get("choices"))):
            if choice.get("index", 0) != 0:
                self._several = True
                continue
            self._begun = True
            self._ending = choice.get("finish_reason") or self._ending
            delta = mapping(choice.get("delta"))
            for name, text in (
                ("text", choice.get("text")),
                ("content", delta.get("content")),
                ("refusal", delta.get("refusal")),
            ):
                if isinstance(text, str):
                    self._texts.setdefault(name, []).append(text)
            self._take_calls(delta)
            self._take_logprobs(mapping(choice.get("logprobs")))

    def answer(self) -> dict[str, Any]:
        """Give the whole."""
        if not self._begun:
            return {}
        texts = {name: "".join(parts) for name, parts in self._texts.items()}
        choice: dict[str, Any] = {"index": 0, "finish_reason": self._ending}
        if "text" in texts:
            choice["text"] = texts["text"]
        else:
            calls = [{"function": call} for call in self._calls.values()]
            said = texts.get("content") or (None if calls else "")
            choice["message"] = {
                "content": said,
                "refusal": texts.get("refusal") or None,
                "tool_calls": calls,
            }
        if self._tokens:
            choice["logprobs"] = {"content": self._tokens}
        elif self._columns:
            choice["logprobs"] = self._columns
        rest = [{"index": 1}] if self._several else []
        return {"choices": [choice, *rest], "usage": self._usage}

    def _take_calls(self, delta: Mapping[str, Any]) -> None:
        for part in map(mapping, sequence(delta.get("tool_calls"))):
            place = part.get("index", 0)
            if not isinstance(place, int):
                continue
            call = self._calls.setdefault(place, {"name": "", "arguments": ""})
            function = mapping(part.get("function"))
            for name in call:
                if isinstance(function.get(name), str):
                    call[name] += function[name]

    def _take_logprobs(self, found: Mapping[str, Any]) -> None:
        # names and bytes of tokens weigh most and are not needed
        for token in map(mapping, sequence(found.get("content"))):
            best = [
                {"logprob": mapping(one).get("logprob")}
                for one in sequence(token.get("top_logprobs"))
            ]
            self._tokens.append({"logprob": token.get("logprob"), "top_logprobs": best})
        for name in ("token_logprobs", "top_logprobs"):
            if isinstance(found.get(name), list):
                self._columns.setdefault(name, []).extend(found[name])


def _without(told: Mapping[str, Any]) -> dict[str, Any]:
    choices = [
        choice | {"logprobs": None} if isinstance(choice, dict) and "logprobs" in choice else choice
        for choice in sequence(told.get("choices"))
    ]
    return {**told, "choices": choices} if choices else dict(told)


def _decoded(body: bytes) -> Any:
    try:
        return msgspec.json.decode(body)
    except (ValueError, RecursionError):
        pass
    try:
        return json.loads(body)  # also reads NaN and infinities, which some engines write
    except (ValueError, RecursionError):
        return None

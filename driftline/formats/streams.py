"""Combine the chunks of a stream into one answer. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from driftline.formats.shapes import mapping, sequence


def joined(chunks: Iterable[Mapping[str, Any]]) -> dict[str, Any]:
    """Combine a stream into the shape of a plain answer; empty if the stream said nothing.

    Only the first choice is combined; of the others only their presence is kept.
    """
    said = _Said()
    for chunk in chunks:
        said.take(chunk)
    return said.answer()


class _Said:
    def __init__(self) -> None:
        self._texts: dict[str, list[str]] = {}
        self._calls: dict[int, dict[str, str]] = {}
        self._tokens: list[Any] = []
        self._columns: dict[str, list[Any]] = {}
        self._ending: Any = None
        self._usage: Any = None
        self._begun = False
        self._several = False
        self._response: Mapping[str, Any] = {}

    def take(self, chunk: Mapping[str, Any]) -> None:
        self._usage = chunk.get("usage") or self._usage
        # the last event of a response holds the whole response
        self._response = mapping(chunk.get("response")) or self._response
        for choice in map(mapping, sequence(chunk.get("choices"))):
            if choice.get("index", 0) == 0:
                self._take_choice(choice)
            else:
                self._several = True

    def answer(self) -> dict[str, Any]:
        if not self._begun:
            return dict(self._response)
        texts = {name: "".join(parts) for name, parts in self._texts.items()}
        choice: dict[str, Any] = {"index": 0, "finish_reason": self._ending}
        if "text" in texts:
            choice["text"] = texts["text"]
        else:
            calls = [{"function": call} for call in self._calls.values()]
            choice["message"] = {
                "content": texts.get("content") or (None if calls else ""),
                "refusal": texts.get("refusal") or None,
                "tool_calls": calls,
            }
        if self._tokens:
            choice["logprobs"] = {"content": self._tokens}
        elif self._columns:
            choice["logprobs"] = self._columns
        others = [{"index": 1}] if self._several else []
        return {"choices": [choice, *others], "usage": self._usage}

    def _take_choice(self, choice: Mapping[str, Any]) -> None:
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
        for part in map(mapping, sequence(delta.get("tool_calls"))):
            self._take_call(part)
        found = mapping(choice.get("logprobs"))
        self._tokens.extend(sequence(found.get("content")))
        for name in ("token_logprobs", "top_logprobs"):
            if isinstance(found.get(name), list):
                self._columns.setdefault(name, []).extend(found[name])

    def _take_call(self, part: Mapping[str, Any]) -> None:
        place = part.get("index", 0)
        if not isinstance(place, int):
            return
        call = self._calls.setdefault(place, {"name": "", "arguments": ""})
        function = mapping(part.get("function"))
        for name in call:
            if isinstance(function.get(name), str):
                call[name] += function[name]

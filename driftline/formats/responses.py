"""Translate OpenAI's Responses requests and answers into those of chat completions."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

from driftline.formats.shapes import mapping, sequence

OUTPUT_LOGPROBS: Final = "message.output_text.logprobs"
"""The value in a request's ``include`` that asks for log-probabilities."""

_ENDINGS: Final = {"max_output_tokens": "length", "content_filter": "content_filter"}
_OVER: Final = ("completed", "incomplete")
_CALLS: Final = ("function_call", "custom_tool_call")
_TOOLS: Final = ("function", "custom")

Table = Mapping[str, Any]


def is_request(body: Table) -> bool:
    """True if a body is a Responses request, and not a completion request."""
    return "input" in body and "messages" not in body and "prompt" not in body


def is_answer(body: Table) -> bool:
    """True if a body is a Responses answer."""
    return isinstance(body.get("output"), list) and "choices" not in body


def chat_request(body: Table) -> Table:
    """Map a request's messages, settings and tools to the names of chat completions."""
    form = mapping(mapping(body.get("text")).get("format"))
    told = {
        **body,
        "messages": body["input"],
        "response_format": form,
        "tools": [_tool(tool) for tool in map(mapping, sequence(body.get("tools")))],
    }
    if body.get("max_output_tokens") is not None:
        told["max_tokens"] = body["max_output_tokens"]
    return told


def chat_answer(body: Table) -> Table:
    """Map a finished answer to one choice; an unfinished answer has none."""
    if body.get("status") not in _OVER:
        return {}
    said = [mapping(item) for item in sequence(body["output"])]
    parts = [
        mapping(part)
        for item in said
        if item.get("type") == "message"
        for part in sequence(item.get("content"))
    ]
    calls = [{"function": item} for item in said if item.get("type") in _CALLS]
    texts, refusals = _texts(parts, "text"), _texts(parts, "refusal")
    usage = mapping(body.get("usage"))
    message = {
        "content": "".join(texts) if texts or not (calls or refusals) else None,
        "refusal": "".join(refusals) or None,
        "tool_calls": calls,
    }
    tokens = [token for part in parts for token in sequence(part.get("logprobs"))]
    choice = {
        "index": 0,
        "message": message,
        "finish_reason": _ending(body, calls),
        "logprobs": {"content": tokens} if tokens else None,
    }
    counts = {
        "prompt_tokens": usage.get("input_tokens"),
        "completion_tokens": usage.get("output_tokens"),
    }
    return {"choices": [choice], "usage": counts}


def _tool(tool: Table) -> Table:
    return {"function": tool} if tool.get("type") in _TOOLS else tool


def _texts(parts: Iterable[Table], name: str) -> Sequence[str]:
    return [part[name] for part in parts if isinstance(part.get(name), str)]


def _ending(body: Table, calls: Sequence[object]) -> Any:
    if body.get("status") == "incomplete":
        reason = mapping(body.get("incomplete_details")).get("reason")
        return _ENDINGS.get(reason, reason) if isinstance(reason, str) else None
    return "tool_calls" if calls else "stop"

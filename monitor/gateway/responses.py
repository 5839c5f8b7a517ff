"""Clean answers of OpenAI's Responses of log-probabilities that the client did not request."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Final

import msgspec

from driftline.formats.shapes import mapping, sequence
from monitor.gateway.taps import payload, split, with_data

OUTPUT_LOGPROBS: Final = "message.output_text.logprobs"
"""The value in a request's ``include`` that asks for them."""

_LOGPROBS: Final = b"logprobs"


def cleaned_response(document: bytes) -> bytes:
    """Empty a response's log-probabilities, and the echo of our request for them.

    >>> cleaned_response(b'{"top_logprobs":5,"output":[{"content":[{"logprobs":[1]}]}]}')
    b'{"top_logprobs":0,"output":[{"content":[{"logprobs":[]}]}]}'
    """
    if _LOGPROBS not in document:
        return document
    try:
        told = msgspec.json.decode(document)
    except (ValueError, RecursionError):
        return document
    for holder in _holders(told):
        if holder.get("logprobs"):
            holder["logprobs"] = []
        if holder.get("top_logprobs"):
            holder["top_logprobs"] = 0
    return msgspec.json.encode(told)


def cleaned_response_events(events: bytes) -> bytes:
    """Clean whole events of a stream."""
    if _LOGPROBS not in events:
        return events
    return b"".join(map(_cleaned_event, split(events)))


def _cleaned_event(event: bytes) -> bytes:
    data = payload(event)
    clean = cleaned_response(data)
    return event if clean == data else with_data(event, clean)


def _holders(told: Any) -> Iterator[dict[str, Any]]:
    """Yield all objects that may hold them: a response, an event and their contents."""
    if not isinstance(told, dict):
        return
    yield told
    for inner in (told.get("response"), told.get("part"), told.get("item")):
        yield from _holders(inner)
    for item in (*sequence(told.get("output")), *sequence(told.get("content"))):
        yield from _holders(mapping(item))

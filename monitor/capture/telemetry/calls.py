"""Read the span of a language model's call as a record, by the tables of all conventions.

The attributes are put back together to an OpenAI request and its answer, and these are mapped as
everywhere else: so a request gives the same signals by every way in.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from driftline.formats.answers import Fields, answer_fields, first, present, request_fields
from driftline.formats.moments import milliseconds, moment
from driftline.formats.responses import is_answer
from driftline.formats.shapes import mapping, sequence
from monitor.capture.telemetry.conventions import EVERY, Marks, Names
from monitor.capture.telemetry.otlp import Span

OWN: Final = "driftline."
"""Attributes ``driftline.FIELD`` are the record's fields; they count over every convention."""

SOURCE: Final = "otlp"

_FEEDBACK: Final = "feedback."
_TEXTS: Final = frozenset(
    {
        *("id", "adapter", "version", "arm", "source", "replica", "engine", "prompt", "system"),
        *("output", "encoder", "logprobs_mode", "finish_reason", "subject"),
    }
)
_TOKENS: Final = ("token_", "top_logprobs")
_OK: Final = 200
_ERROR: Final = 500
_CODE: Final = re.compile(r"(?i)\b(?:error code|status code|status|http)\W{1,3}([1-5]\d\d)\b")
_CODES: Final = {
    "BadRequestError": 400,
    "AuthenticationError": 401,
    "PermissionDeniedError": 403,
    "NotFoundError": 404,
    "ConflictError": 409,
    "UnprocessableEntityError": 422,
    "RateLimitError": 429,
    "APITimeoutError": 504,
    "timeout": 504,
}
"""Names of errors that say a status: the openai client's, and OpenTelemetry's own."""

_REDACTED: Final = frozenset({"__REDACTED__", "FILTERED"})
"""OpenInference and OpenLLMetry write these in place of texts that are not to be shown."""

_WHOLE: Final = ("messages", "prompt", "input")
_MOST_NUMBERS: Final = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Call:
    """A call's record, unchecked, without adapter and version unless the span states them.

    ``models`` are the names under which the model answered and was asked for, the answer's first.
    """

    fields: Fields
    models: Sequence[str]


def call_of(span: Span) -> Call | None:
    """Read a span; None if it is not a call of a language model."""
    found = _attributes(span)
    if not _marked(found, EVERY.calls):
        return None
    own = _own(found)
    request, answer = _request(span, found), _answer(span, found)
    fields: Fields = {
        "id": _id(found, answer) or span.id,
        "at": span.start,
        "source": SOURCE,
        **present(subject=_subject(found)),
        **request_fields(request),
        **present(latency_ms=milliseconds(span.start, span.end), ttft_ms=_first_token(span, found)),
        **_ended(span, found, request, answer),
    }
    if any(name.startswith(_TOKENS) for name in own):
        fields = {name: one for name, one in fields.items() if not name.startswith(_TOKENS)}
    models = [found.get(name) for name in (*EVERY.answered, *EVERY.requested)]
    models += [answer.get("model"), request.get("model")]
    return Call(
        fields=fields | own,
        models=list(dict.fromkeys(name for name in models if name and isinstance(name, str))),
    )


def _attributes(span: Span) -> Mapping[str, Any]:
    """Return the attributes; an event that tells of the call as a whole adds its own."""
    told = [one.attributes for one in span.events if one.name not in _MESSAGES]
    return {name: value for part in (*told, span.attributes) for name, value in part.items()}


_MESSAGES: Final = frozenset({*EVERY.request_events, *EVERY.answer_events})


def _marked(found: Mapping[str, Any], marks: Marks) -> bool:
    return any(
        name in found and (not values or str(found[name]).lower() in values)
        for name, values in marks.items()
    )


def _own(found: Mapping[str, Any]) -> Fields:
    own: Fields = {}
    feedback: Fields = {}
    for name, value in found.items():
        field = name.removeprefix(OWN)
        if not name.startswith(OWN) or value is None:
            continue
        if field.startswith(_FEEDBACK):
            feedback[field.removeprefix(_FEEDBACK)] = value
        else:
            own[field] = value if field in _TEXTS else _decoded(value, always=True)
    return own | ({"feedback": feedback} if feedback else {})


# --- the request ---------------------------------------------------------------------------


def _request(span: Span, found: Mapping[str, Any]) -> Mapping[str, Any]:
    settings = mapping(_decoded(first(found, *EVERY.settings)))
    form = str(first(found, *EVERY.format) or "")
    body = present(
        temperature=_number(settings.get("temperature")),
        top_p=_number(settings.get("top_p")),
        max_tokens=_number(first(settings, "max_completion_tokens", "max_tokens")),
        stop=settings.get("stop"),
        response_format=settings.get("response_format") or _form(form),
        tools=[_tool(one) for one in sequence(_decoded(first(found, *EVERY.tools)))] or None,
        user=settings.get("user"),
    )
    body |= present(
        temperature=_number(first(found, *EVERY.temperature)),
        top_p=_number(first(found, *EVERY.top_p)),
        max_tokens=_number(first(found, *EVERY.max_tokens)),
        stop=_decoded(first(found, *EVERY.stop)),
    )
    for name in EVERY.request:
        if _is_request(said := mapping(_decoded(found.get(name)))):
            return body | {**said}
    if not (messages := _asked(span, found)):
        return body | present(prompt=_only_text(found, EVERY.request))
    if _marked(found, EVERY.plain):
        return body | {"prompt": _text(messages[-1])}
    return body | {"messages": messages}


def _is_request(body: Mapping[str, Any]) -> bool:
    """True for a request as OpenAI's client writes it, not as a framework does."""
    messages = sequence(body.get("messages"))
    return any(one in body for one in _WHOLE) and all("role" in mapping(one) for one in messages)


def _form(name: str) -> Mapping[str, str] | None:
    """Return the form that an answer was asked for in OpenAI's words; None if it was not."""
    return {"type": "json_object" if name == "json" else name} if name else None


def _asked(span: Span, found: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    messages = _messages(span, found, EVERY.request, EVERY.numbered_request, EVERY.request_events)
    before = _message({"role": "system", "parts": _decoded(first(found, *EVERY.instructions))})
    return [*([before] if messages and before and before["content"] else []), *messages]


def _tool(given: object) -> Mapping[str, Any]:
    tool = mapping(given)
    return tool if "function" in tool or "custom" in tool else {"function": tool}


# --- the answer ----------------------------------------------------------------------------


def _answer(span: Span, found: Mapping[str, Any]) -> Mapping[str, Any]:
    """Put the answer together; a choice without ``message`` or ``text`` was not captured."""
    usage = _usage(found)
    for name in EVERY.answer:
        said = _decoded(found.get(name))
        if isinstance(mapping(said).get("choices"), list) or is_answer(mapping(said)):
            return {**said, "usage": mapping(said).get("usage") or usage}
    messages = _messages(span, found, EVERY.answer, EVERY.numbered_answer, EVERY.answer_events)
    text = None if messages else _only_text(found, EVERY.answer)
    endings = _decoded(first(found, *EVERY.endings), always=True)
    endings = endings if isinstance(endings, list) else [endings] if endings else []
    asked_for = _number(first(found, *EVERY.choices))
    count = max(1, len(messages), len(endings), min(int(asked_for or 1), _MOST_NUMBERS))
    plain = _marked(found, EVERY.plain)
    choices: list[Fields] = [{} for _ in range(count)]
    for choice, ending in zip(choices, endings, strict=False):
        choice["finish_reason"] = ending
    for choice, message in zip(choices, messages, strict=False):
        said = {"text": _text(message)} if plain else {"message": message}
        choice.update(said, **present(finish_reason=message.get("finish_reason")))
    choices[0] |= present(text=text)
    return {"usage": usage, "choices": choices}


def _usage(found: Mapping[str, Any]) -> Mapping[str, Any]:
    told = mapping(_decoded(first(found, *EVERY.usage)))
    asked, answered = first(found, *EVERY.prompt_tokens), first(found, *EVERY.output_tokens)
    return present(
        prompt_tokens=asked if asked is not None else first(told, "prompt_tokens", "input"),
        completion_tokens=(
            answered if answered is not None else first(told, "completion_tokens", "output")
        ),
    )


def _ended(
    span: Span, found: Mapping[str, Any], request: Mapping[str, Any], answer: Mapping[str, Any]
) -> Fields:
    """Return the answer's fields and status; of a failed call only its status."""
    if span.failed or _marked(found, EVERY.failed):
        return {"status": _status(span, found)}
    choice = mapping(next(iter(sequence(answer.get("choices"))), None))
    captured = is_answer(answer) or "message" in choice or "text" in choice
    return answer_fields(answer, request if captured else None) | {"status": _OK}


def _status(span: Span, found: Mapping[str, Any]) -> int:
    """Return the HTTP status that a failed call ended with; 500 if nothing says it."""
    code = _number(first(found, "http.response.status_code", "http.status_code"))
    if code is not None:
        return int(code)
    names = (found.get("error.type"), found.get("exception.type"))
    for said in map(str, filter(None, names)):
        if re.fullmatch(r"[1-5]\d\d", said):
            return int(said)
        if (name := said.rpartition(".")[2]) in _CODES:
            return _CODES[name]
    said = f"{found.get('exception.message') or ''} {span.message}"
    stated = _CODE.search(said[:2_000])
    return int(stated[1]) if stated else _ERROR


# --- messages ------------------------------------------------------------------------------


def _messages(
    span: Span, found: Mapping[str, Any], names: Names, numbered: Names, events: Mapping[str, str]
) -> Sequence[Mapping[str, Any]]:
    """Return the messages in OpenAI's form, from the first place that has any."""
    for prefix in numbered:
        if tree := _tree(found, prefix):
            return _all(map(_filled, tree))
    for name in names:
        said = _decoded(found.get(name))
        if messages := _all(said if isinstance(said, list) else [said]):
            return messages
    told = [one for one in span.events if one.name in events]
    return _all(
        {
            "role": events[one.name],
            **one.attributes,
            **mapping(_decoded(one.attributes.get("gen_ai.event.content"))),
        }
        for one in told
    )


def _only_text(found: Mapping[str, Any], names: Names) -> str | None:
    """Return a request or an answer that was written as mere text."""
    said = [_decoded(found.get(name)) for name in names]
    return next((one for one in said if isinstance(one, str) and one not in _REDACTED), None)


def _all(given: Iterable[object]) -> Sequence[Mapping[str, Any]]:
    return [message for one in given if (message := _message(one)) is not None]


def _filled(given: object) -> object:
    """Write the content that numbered messages leave out when it is empty."""
    raw = mapping(given)
    inner = mapping(raw.get("message")) or raw
    known = any(name in inner for name in ("content", "contents", "tool_calls", "refusal"))
    return raw if known or not inner else {**raw, "message": {**inner, "content": ""}}


def _message(given: object) -> Mapping[str, Any] | None:
    """Bring a message of any convention to OpenAI's form; None if its text is not known."""
    outer = mapping(given)
    raw = mapping(_decoded(outer.get("message"))) or outer
    content = raw.get("content")
    parts = [
        mapping(mapping(one).get("message_content")) or mapping(one)
        for one in (*sequence(raw.get("parts")), *sequence(raw.get("contents")))
    ]
    calls = [_called(one) for one in sequence(raw.get("tool_calls"))]
    calls += [_called(one) for one in parts if one.get("type") == "tool_call"]
    texts = [first(one, "text", "content") for one in parts if one.get("type", "text") == "text"]
    if content is None and ("parts" in raw or "contents" in raw) and (texts or not parts):
        content = [{"type": "text", "text": one} for one in texts] or ""
    content = _listed(content)
    redacted = isinstance(content, str) and content in _REDACTED
    if redacted or (content is None and not calls and not raw.get("refusal")):
        return None
    return present(
        tool_calls=calls or None,
        refusal=raw.get("refusal"),
        finish_reason=first(outer, "finish_reason") or raw.get("finish_reason"),
    ) | {"role": first(raw, "role") or first(outer, "role"), "content": content}


def _listed(content: object) -> object:
    """Read a list of parts that was written as JSON, as OpenLLMetry does."""
    listed = _decoded(content) if isinstance(content, str) and content[:2] == "[{" else None
    is_list = listed and all("type" in mapping(one) for one in sequence(listed))
    return listed if is_list else content


def _called(given: object) -> Mapping[str, Any]:
    call = mapping(mapping(given).get("tool_call")) or mapping(given)
    return {"function": mapping(call.get("function")) or call}


def _text(message: Mapping[str, Any]) -> Any:
    content = message.get("content")
    texts = [mapping(one).get("text") for one in sequence(content)]
    return "\n".join(map(str, texts)) if texts else content


def _tree(found: Mapping[str, Any], prefix: str) -> Sequence[Any]:
    """Put attributes such as ``PREFIX0.role`` together to a list of objects."""
    root: dict[str, Any] = {}
    for name, value in found.items():
        if not name.startswith(prefix):
            continue
        *path, leaf = name.removeprefix(prefix).split(".", _MOST_NUMBERS)
        inner = root
        for step in path:
            deeper = inner.setdefault(step, {})
            inner = deeper if isinstance(deeper, dict) else {}
        inner[leaf] = value
    return sequence(_in_order(root))


def _in_order(tree: Any) -> Any:
    """Turn objects whose names are numbers to lists, in their order."""
    if not isinstance(tree, dict):
        return tree
    items = {name: _in_order(one) for name, one in tree.items()}
    if items and all(name.isdecimal() and len(name) < _MOST_NUMBERS for name in items):
        return [items[name] for name in sorted(items, key=int)]
    return items


# --- the rest ------------------------------------------------------------------------------


def _id(found: Mapping[str, Any], answer: Mapping[str, Any]) -> str | None:
    name = first(found, *EVERY.id) or answer.get("id")
    return name if isinstance(name, str) and 0 < len(name) <= 128 else None  # noqa: PLR2004 (wire.Name)


def _subject(found: Mapping[str, Any]) -> str | None:
    who = first(found, *EVERY.user) or first(found, *EVERY.session)
    return str(who)[:512] if isinstance(who, str | int) and who != "" else None


def _first_token(span: Span, found: Mapping[str, Any]) -> float | None:
    after = _number(first(found, *EVERY.first_token_after))
    if after is not None:
        return round(1e3 * after, 3)
    told = moment(_decoded(first(found, *EVERY.first_token_at), always=True))
    at = [one.at for one in span.events if one.name in EVERY.first_token_events]
    return milliseconds(span.start, told or min(at, default=None))


def _number(value: object) -> float | None:
    """Return a number of 64 bits, an integer where it is whole; None for anything else."""
    if isinstance(value, bool) or not isinstance(value, int | float) or not abs(value) < 2**63:
        return None
    return int(value) if value == int(value) else value


def _decoded(value: object, *, always: bool = False) -> Any:
    """Read text that is JSON of an object or a list; anything else stays as it is."""
    if not isinstance(value, str) or not (always or value[:1] in {"{", "["}):
        return value
    try:
        return json.loads(value)
    except (ValueError, RecursionError):
        return value

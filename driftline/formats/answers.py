"""Map OpenAI-compatible requests and answers, from any logger, to fields of a record.

No type is trusted: a value of another type is left out, or passed on for the record's check to
refuse.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import takewhile
from typing import Any, Final

from driftline.formats import responses
from driftline.formats.shapes import mapping, sequence
from driftline.formats.structured import validity

MAX_TOP: Final = 20
REDACTED: Final = "redacted-by-litellm"
"""LiteLLM writes this in place of messages that are not to be logged."""

Fields = dict[str, Any]


def request_fields(request: object) -> Fields:
    """Map the prompt, the settings and the user of a request.

    The prompt is the text of the user's last message; ``system`` is the client's text before the
    conversation, empty if there is none.
    """
    body = _asked(request)
    return present(
        prompt=_prompt(body),
        system=system_of(body),
        temperature=body.get("temperature"),
        top_p=body.get("top_p"),
        max_tokens=first(body, "max_completion_tokens", "max_tokens"),
        stop=_stops(body.get("stop")),
        subject=body.get("user") or None,
    )


def _stops(said: object) -> Sequence[str] | None:
    """Return the texts at which an answer was to end; None if it was to end by itself."""
    found = [said] if isinstance(said, str) else sequence(said)
    return [one for one in found if isinstance(one, str) and one] or None


def answer_fields(answer: object, request: object = None) -> Fields:
    """Map the first choice of a chat or text completion or a response, and its usage.

    The ``request`` tells whether JSON or a tool call was asked for. With several choices, usage is
    left out, since it counts all of them.
    """
    body = mapping(answer)
    body = responses.chat_answer(body) if responses.is_answer(body) else body
    choices = sequence(body.get("choices"))
    choice = mapping(next(iter(choices), None))
    usage = mapping(body.get("usage") if len(choices) < 2 else None)  # noqa: PLR2004 (several)
    said = _output(choice)
    return present(
        output=said,
        valid=validity(_asked(request), choice, said),
        prompt_tokens=usage.get("prompt_tokens"),
        output_tokens=usage.get("completion_tokens"),
        finish_reason=_ending(choice),
        **_logprobs(choice, answered=usage.get("completion_tokens")),
    )


def _asked(request: object) -> Mapping[str, Any]:
    body = mapping(request)
    return responses.chat_request(body) if responses.is_request(body) else body


def present(**fields: object) -> Fields:
    """Drop fields that are None: a field that was not given was not measured."""
    return {name: value for name, value in fields.items() if value is not None}


def first(body: Mapping[str, Any], *names: str) -> Any:
    """Return the first of several fields that is present."""
    return next((body[name] for name in names if body.get(name) is not None), None)


def text_of(content: object) -> str | None:
    """Return a message's text: a string, or the text parts of a list."""
    if isinstance(content, str):
        return None if content == REDACTED else content
    parts = [mapping(part).get("text") for part in sequence(content)]
    found = [part for part in parts if isinstance(part, str)]
    return "\n".join(found) if found else None


def last_request(messages: object) -> str | None:
    """Return the text of the user's last message, or of the last one if no role is given."""
    if isinstance(messages, str):
        return text_of(messages)
    said = [mapping(message) for message in sequence(messages)]
    asked = [message for message in said if message.get("role") == "user"] or said
    return text_of(asked[-1].get("content")) if asked else None


def system_of(body: Mapping[str, Any]) -> str | None:
    """Return the instructions before the conversation; None if there is no conversation."""
    messages = body.get("messages")
    if not isinstance(messages, list):
        return None
    said = takewhile(_instructs, map(mapping, messages))
    contents = [message.get("content") for message in said]
    if REDACTED in contents:
        return None
    texts = map(text_of, (body.get("instructions"), *contents))
    return "\n".join(text for text in texts if text)


def _instructs(message: Mapping[str, Any]) -> bool:
    return message.get("role") in ("system", "developer")


def _prompt(body: Mapping[str, Any]) -> str | None:
    prompt = body.get("prompt")
    if isinstance(prompt, list):
        prompt = next((one for one in prompt if isinstance(one, str)), None)
    return text_of(prompt) if isinstance(prompt, str) else last_request(body.get("messages"))


def _output(choice: Mapping[str, Any]) -> str | None:
    """Return the text of an answer: blank if it is empty, None if it is a tool call."""
    if "text" in choice:
        return text_of(choice["text"])
    message = choice.get("message")
    if not isinstance(message, dict):
        return None
    said = message.get("content")
    if said is None:
        said = message.get("refusal")
    if said is None:
        return None if message.get("tool_calls") or message.get("function_call") else ""
    return text_of(said)


def _ending(choice: Mapping[str, Any]) -> Any:
    """Return the finish reason; an answer with text in `refusal` counts as a refusal."""
    refused = mapping(choice.get("message")).get("refusal")
    return "refusal" if refused else choice.get("finish_reason")


def _logprobs(choice: Mapping[str, Any], *, answered: object) -> Fields:
    found = mapping(choice.get("logprobs"))
    if isinstance(found.get("content"), list):
        return _of_chat(found["content"])
    if isinstance(found.get("token_logprobs"), list):
        return _of_completion(found, answered)
    return {}


def _of_chat(content: Sequence[Any]) -> Fields:
    tokens = [mapping(token) for token in content]
    top = [
        [mapping(one).get("logprob") for one in sequence(token.get("top_logprobs"))][:MAX_TOP]
        for token in tokens
    ]
    return {"token_logprobs": [token.get("logprob") for token in tokens]} | _top(top)


def _of_completion(found: Mapping[str, Any], answered: object) -> Fields:
    """Read the answer's tokens; with ``echo`` the prompt's tokens come first and are dropped."""
    chosen = found["token_logprobs"]
    top = [list(mapping(one).values())[:MAX_TOP] for one in sequence(found.get("top_logprobs"))]
    skipped = len(chosen) - answered if isinstance(answered, int) else 0
    begin = max(0, skipped)
    return {"token_logprobs": chosen[begin:]} | _top(top[begin:])


def _top(top: list[list[Any]]) -> Fields:
    """Leave out alternatives that were not requested."""
    return {"top_logprobs": top} if any(top) else {}

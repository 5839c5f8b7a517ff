"""Check that answers for machines, JSON or tool calls, have the requested form."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, Final, NoReturn

from driftline.formats.shapes import mapping, sequence

LONGEST: Final = 1_000_000
"""Longer answers, in characters, are not judged."""

_NO_JSON: Final = object()
_FORMS: Final = ("json_object", "json_schema")
_DEMANDS: Final = ("required", "any")
_LEFT_OPEN: Final = ("auto", "none")


def validity(
    request: Mapping[str, Any], choice: Mapping[str, Any], said: str | None
) -> bool | None:
    """True if an answer has the form its request asked for; None if it asked for none.

    Tool calls are valid if each names an offered tool and has a JSON object as arguments; text
    instead of a required call (``tool_choice``) is invalid. A ``response_format`` of JSON is met if
    the whole text parses: to an object, or with a schema to anything, since only the caller can
    check the schema. A refusal breaks no form. A choice of another shape is None, never an error.

    >>> asked = {"response_format": {"type": "json_object"}}
    >>> [validity(asked, {"finish_reason": "stop"}, said) for said in ('{"a": 1}', "Sure!")]
    [True, False]
    """
    message = mapping(choice.get("message"))
    if not choice or message.get("refusal") or choice.get("finish_reason") == "content_filter":
        return None
    if calls := _calls(message):
        offered = _offered(request)
        return all(_is_callable(call, offered) for call in calls)
    if _demands_call(request):
        return False
    form = mapping(request.get("response_format")).get("type")
    if said is None or len(said) > LONGEST or form not in _FORMS:
        return None
    found = _parsed(said)
    return isinstance(found, dict) if form == "json_object" else found is not _NO_JSON


def _calls(message: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    if message.get("function_call"):
        return [mapping(message["function_call"])]
    return [
        mapping(call.get("function") or call.get("custom"))
        for call in map(mapping, sequence(message.get("tool_calls")))
    ]


def _offered(request: Mapping[str, Any]) -> frozenset[str]:
    """Return the names of a request's tools; empty if the request is not at hand."""
    tools = [mapping(tool) for tool in sequence(request.get("tools"))]
    functions = [tool.get("function") or tool.get("custom") for tool in tools]
    named = [mapping(one).get("name") for one in (*functions, *sequence(request.get("functions")))]
    return frozenset(name for name in named if isinstance(name, str))


def _is_callable(call: Mapping[str, Any], offered: frozenset[str]) -> bool:
    name, arguments = call.get("name"), call.get("arguments")
    if not isinstance(name, str) or (offered and name not in offered):
        return False
    if "input" in call:
        return True  # a custom tool takes any text
    return isinstance(arguments, dict) or (
        isinstance(arguments, str) and isinstance(_parsed(arguments), dict)
    )


def _demands_call(request: Mapping[str, Any]) -> bool:
    choice = request.get("tool_choice") or request.get("function_call")
    if isinstance(choice, str):
        return choice in _DEMANDS
    named = mapping(choice)
    if named.get("type") == "allowed_tools":
        return (mapping(named.get("allowed_tools")) or named).get("mode") == "required"
    return bool(named) and named.get("type") not in _LEFT_OPEN


def _parsed(text: str) -> object:
    try:
        return json.loads(text, parse_constant=_refuse)
    except (ValueError, RecursionError):
        return _NO_JSON


def _refuse(constant: str) -> NoReturn:
    raise ValueError(f"{constant} is no JSON")

"""Recognise a log line's form, and map it to a record."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any, Final

from driftline.formats.answers import (
    Fields,
    answer_fields,
    first,
    last_request,
    present,
    request_fields,
    system_of,
    text_of,
)
from driftline.formats.moments import milliseconds, moment
from driftline.formats.responses import is_answer
from driftline.formats.shapes import mapping, sequence

_COMPLETIONS: Final = ("chat.completion", "text_completion")
_LONGEST_NAME: Final = 128
_FAILED: Final = 500
_OK: Final = 200


class Form(StrEnum):
    """The forms of a line."""

    DRIFTLINE = "driftline"
    OPENAI = "openai"
    BATCH = "openai-batch"
    LITELLM = "litellm"
    VLLM = "vllm"


class Unreadable(Exception):  # noqa: N818 (a fact about one line)
    """The line cannot be mapped to a record; the text says why and quotes nothing of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mapped:
    """A line's record, unchecked: ``fields`` lack adapter, version and time.

    ``adapter`` and ``version`` come from the model's name (``support@v7``); None if the line names
    no model. ``at`` is None if the line has no time.
    """

    fields: Fields
    adapter: str | None
    version: str | None
    at: datetime | None


def form_of(line: Mapping[str, Any]) -> Form:
    """Recognise the form of a line; raises Unreadable for a line of no known form."""
    if "startTime" in line or "standard_logging_object" in line:
        return Form.LITELLM
    if "custom_id" in line:
        return Form.BATCH
    if "request" in line and "response" in line:
        return Form.OPENAI
    if line.get("object") in _COMPLETIONS or isinstance(line.get("choices"), list):
        return Form.VLLM
    if "adapter" in line or line.get("role") == "baseline":
        return Form.DRIFTLINE
    raise Unreadable(
        "of no known form: a record, an OpenAI request with its response, a batch output,"
        " a LiteLLM payload or a completion"
    )


def read(line: Mapping[str, Any], form: Form | None = None) -> Mapped:
    """Map a line of the given form, or of the recognised one; raises Unreadable."""
    return FORMS[form or form_of(line)](line)


def _driftline(line: Mapping[str, Any]) -> Mapped:
    role = line.get("role")
    if role is not None and role != "baseline":
        raise Unreadable("role: a line of a log or of a baseline is needed")
    own = {"adapter", "version", "at", "role"}
    fields = {name: value for name, value in line.items() if name not in own}
    at = moment(line.get("at"))
    if at is None and line.get("at") is not None:
        raise Unreadable("at: is no time")
    return Mapped(
        fields=fields, adapter=_name(line.get("adapter")), version=_name(line.get("version")), at=at
    )


def _openai(line: Mapping[str, Any]) -> Mapped:
    """Map ``{"request": …, "response": …}``, as proxies and middlewares log them."""
    if "request" not in line and "response" not in line:
        raise Unreadable("no request with its response")
    answer, status = _unwrapped(line.get("response"))
    request = mapping(line.get("request"))
    began = moment(first(line, "at", "timestamp", "time", "created_at", "start_time"))
    began = began or moment(answer.get("created"))
    ended = moment(first(line, "end_time", "ended_at"))
    fields = present(
        id=_name(first(line, "id", "request_id")) or _name(answer.get("id")),
        latency_ms=first(line, "latency_ms", "duration_ms") or milliseconds(began, ended),
        ttft_ms=line.get("ttft_ms"),
        subject=first(line, "subject", "user") or None,
        **_ended(answer, first(line, "status", "status_code"), status, request=request),
    )
    model = first(request, "model") or answer.get("model")
    adapter, version = split_model(model)
    return Mapped(
        fields=request_fields(request) | fields, adapter=adapter, version=version, at=began
    )


def _batch(line: Mapping[str, Any]) -> Mapped:
    """Map one line of a batch's output or error file."""
    if "response" not in line and "error" not in line:
        raise Unreadable("a request of a batch; its output file has the answers")
    answer, status = _unwrapped(line.get("response"))
    adapter, version = split_model(answer.get("model"))
    return Mapped(
        fields=present(id=_name(line.get("custom_id")), **_ended(answer, status)),
        adapter=adapter,
        version=version,
        at=moment(answer.get("created")),
    )


def _litellm(line: Mapping[str, Any]) -> Mapped:
    """Map LiteLLM's standard logging payload, also inside its callback's arguments."""
    payload = mapping(line["standard_logging_object"]) if _wrapped(line) else line
    if "startTime" not in payload and "response" not in payload:
        raise Unreadable("no payload of LiteLLM: it has neither startTime nor response")
    start, end = moment(payload.get("startTime")), moment(payload.get("endTime"))
    spoke = moment(payload.get("completionStartTime"))
    settings = mapping(payload.get("model_parameters"))
    adapter, version = _litellm_names(payload)
    fields = request_fields(settings) | present(
        id=_name(first(payload, "id", "litellm_call_id")),
        prompt=last_request(payload.get("messages")),
        system=system_of(payload),
        latency_ms=milliseconds(start, end),
        ttft_ms=milliseconds(start, spoke) if spoke and end and spoke < end else None,
        subject=payload.get("end_user") or None,
        **_litellm_counts(payload),
    )
    return Mapped(
        fields=fields | _litellm_end(payload), adapter=adapter, version=version, at=start or end
    )


def _vllm(line: Mapping[str, Any]) -> Mapped:
    """Map a bare answer of the engine, one per line."""
    if not isinstance(line.get("choices"), list):
        raise Unreadable("no completion: it has no choices")
    adapter, version = split_model(line.get("model"))
    return Mapped(
        fields=present(id=_name(line.get("id")), **_ended(line)),
        adapter=adapter,
        version=version,
        at=moment(line.get("created")),
    )


FORMS: Final[Mapping[Form, Callable[[Mapping[str, Any]], Mapped]]] = {
    Form.DRIFTLINE: _driftline,
    Form.OPENAI: _openai,
    Form.BATCH: _batch,
    Form.LITELLM: _litellm,
    Form.VLLM: _vllm,
}


def split_model(model: object) -> tuple[str | None, str | None]:
    """Split a served name into adapter and version; without ``@`` it is the adapter alone.

    >>> split_model("support@v7")
    ('support', 'v7')
    """
    name = _name(model)
    if name is None:
        return None, None
    adapter, _, version = name.rpartition("@")
    return (adapter, version) if adapter and version else (name, None)


def _litellm_names(payload: Mapping[str, Any]) -> tuple[str | None, str | None]:
    """Return adapter and version: clients ask for the group, and its deployment is the version."""
    model = _name(payload.get("model"))
    deployed = None if model is None else model.rpartition("/")[2] or model
    group = _name(payload.get("model_group"))
    if group is None:
        return split_model(deployed)
    adapter, version = split_model(group)
    if version is not None or deployed in {None, group}:
        return adapter, version
    return adapter, split_model(deployed)[1] or deployed


def _litellm_counts(payload: Mapping[str, Any]) -> Fields:
    """Return the token counts; with several answers, none, since they count all."""
    if len(sequence(mapping(payload.get("response")).get("choices"))) > 1:
        return {}
    return {
        "prompt_tokens": payload.get("prompt_tokens"),
        "output_tokens": payload.get("completion_tokens"),
    }


def _litellm_end(payload: Mapping[str, Any]) -> Fields:
    answer = payload.get("response")
    if payload.get("status") == "failure":
        code = mapping(payload.get("error_information")).get("error_code")
        return {"status": _number(code) or _FAILED}
    if isinstance(answer, str):
        return present(output=text_of(answer), status=_OK)
    return _ended(mapping(answer), request=mapping(payload.get("model_parameters")))


def _ended(
    answer: Mapping[str, Any], *stated: object, request: Mapping[str, Any] | None = None
) -> Fields:
    """Return a request's result: its answer, or the status it failed with."""
    status = next((code for one in stated if (code := _number(one)) is not None), None)
    error = mapping(answer.get("error"))
    if not (isinstance(answer.get("choices"), list) or (is_answer(answer) and not error)):
        return {"status": status or _number(error.get("code")) or _FAILED}
    return answer_fields(answer, request) | {"status": _OK if status is None else status}


def _unwrapped(response: object) -> tuple[Mapping[str, Any], object]:
    """Return the body and the status of a logged HTTP response."""
    found = mapping(response)
    if "choices" not in found and isinstance(found.get("body"), dict):
        return found["body"], found.get("status_code")
    return found, found.get("status_code")


def _wrapped(line: Mapping[str, Any]) -> bool:
    return "startTime" not in line and "standard_logging_object" in line


def _name(value: object) -> str | None:
    return value[:_LONGEST_NAME] if isinstance(value, str) and value else None


def _number(value: object) -> int | None:
    if isinstance(value, str) and value.isascii() and value.isdigit():
        value = int(value[:9])
    return value if isinstance(value, int) and not isinstance(value, bool) else None

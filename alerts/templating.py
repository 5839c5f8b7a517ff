"""Write the body of a request by a Jinja template from the config, in a sandbox.

A template reads the ``driftline`` body (:func:`alerts.grouped.group_body_of`) and ``message_id``.
Texts in it come from strangers, the template from the operator: no text is ever a template.
"""

from __future__ import annotations

import json
import traceback
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
from jinja2 import StrictUndefined, TemplateError, TemplateSyntaxError
from jinja2.sandbox import ImmutableSandboxedEnvironment

from alerts.formats import WebhookBody
from alerts.grouped import group_body_of
from alerts.message import Alert
from alerts.samples import sample_messages

LARGEST_RENDERED: Final = 128 * 1024
"""Bytes: ``tojson`` of a whole message of 20 kB fits, even if each character becomes an escape."""
PARTS: Final = ("title", "impact", "likely_cause", "driftline", "you", "details")
"""Parts of ``brief``; a template finds all of them, empty if they have nothing to say."""
SHOWN: Final = 40
_NAME: Final = "<template>"
_FAILURES: Final = (
    TemplateError,
    ArithmeticError,
    AttributeError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)
"""The errors of a template's own expressions."""


class TemplateRefused(ValueError):  # noqa: N818 - named as the outcome it reports
    """A template cannot be used, or cannot write a message.

    ``where`` names the line, and quotes neither the template nor the message.
    """

    def __init__(self, problem: str, *, where: str) -> None:
        super().__init__(f"template, {where}: {problem}")
        self.problem = problem
        self.where = where


class BodyTemplate:
    """A compiled template; many threads may render it.

    Raises
    ------
    TemplateRefused
        It is no valid Jinja, or renders more than 128 KiB, or fails on a message.
    """

    def __init__(self, source: str, *, content_type: str) -> None:
        markup = "html" in content_type or "xml" in content_type
        environment = ImmutableSandboxedEnvironment(undefined=StrictUndefined, autoescape=markup)
        environment.policies["json.dumps_kwargs"] = {"sort_keys": True, "default": _unknown}
        try:
            self._template = environment.from_string(source)
        except TemplateSyntaxError as error:
            raise TemplateRefused(str(error.message), where=f"line {error.lineno}") from None

    def render(self, alerts: Sequence[Alert], message_id: str) -> bytes:
        """Write one message, of several incidents where there are several."""
        body = bytearray()
        for piece in self._pieces(_facts(alerts, message_id)):
            body += piece
            if len(body) > LARGEST_RENDERED:
                raise TemplateRefused(f"more than {LARGEST_RENDERED} bytes", where="its output")
        return bytes(body)

    def _pieces(self, facts: dict[str, Any]) -> Iterator[bytes]:
        try:
            for piece in self._template.generate(facts):
                yield piece.encode()
        except _FAILURES as error:
            raise TemplateRefused(str(error), where=f"line {_line(error)}") from None


def checked(source: str, *, content_type: str) -> BodyTemplate:
    """Compile a template and try it on a sample of every kind of message.

    Where ``content_type`` is JSON, so must be the output, whatever texts the message has.

    Raises
    ------
    TemplateRefused
        Says what is wrong, in which line, and of which message.
    """
    template = BodyTemplate(source, content_type=content_type)
    for alerts in sample_messages():
        lead = alerts[0]
        sample = f"kind {lead.kind}, status {lead.status}"
        try:
            body = template.render(alerts, "msg_sample")
        except TemplateRefused as error:
            said = f"{error.problem} (in a message of {sample})"
            raise TemplateRefused(said, where=error.where) from None
        if is_json(content_type):
            _check_json(body.decode(), sample)
    return template


def is_json(content_type: str) -> bool:
    """True for ``application/json`` and for types that end in ``+json``."""
    media = content_type.partition(";")[0].strip().lower()
    return media == "application/json" or media.endswith("+json")


def _check_json(text: str, sample: str) -> None:
    try:
        json.loads(text)
    except json.JSONDecodeError as error:
        near = text[max(0, error.pos - SHOWN) : error.pos + SHOWN]
        raise TemplateRefused(
            f"a message of {sample} does not become JSON near {near!r};"
            " write each text as {{ summary | tojson }}, without quotes",
            where=f"its output, line {error.lineno}",
        ) from None


def _facts(alerts: Sequence[Alert], message_id: str) -> dict[str, Any]:
    facts: dict[str, Any] = msgspec.json.decode(group_body_of(alerts, WebhookBody.DRIFTLINE))
    brief = dict.fromkeys(PARTS, "") | facts["brief"]
    return facts | {"brief": brief, "message_id": message_id}


def _line(error: Exception) -> int:
    """Return the template's line that an error came from; 1 if it cannot be told."""
    frames = traceback.extract_tb(error.__traceback__)
    return next((one.lineno or 1 for one in reversed(frames) if one.filename == _NAME), 1)


def _unknown(value: object) -> object:
    """Let ``tojson`` name the field that a message does not have."""
    raise TypeError(f"{value} cannot be written as JSON")  # a StrictUndefined raises by itself

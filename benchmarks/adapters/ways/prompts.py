"""The client's application writes other prompts; models and engine are as ever."""

from __future__ import annotations

from dataclasses import replace
from typing import Final

from benchmarks.adapters.ways.german import german
from benchmarks.adapters.ways.way import Ask, ChangesAsk, Expected, Moment, OfClients, Way

FAMILY: Final = "prompts"
SYSTEM: Final = (
    "You are a careful assistant. Never give advice on law or money. Be polite, be brief,"
    " and end each answer with a question."
)
NOTICE: Final = (
    "\n\n--\nSent from my phone. CONFIDENTIALITY NOTICE: this message and any attachment are"
    " intended only for the person named above and may contain privileged information."
)


def system_added(ask: Ask, _: Moment) -> Ask:
    """The application begins to send a system prompt."""
    return replace(ask, messages=({"role": "system", "content": SYSTEM}, *ask.messages))


def system_dropped(ask: Ask, _: Moment) -> Ask:
    """The template's own system prompt is lost: the application sends an empty one."""
    return replace(ask, messages=({"role": "system", "content": ""}, *ask.messages))


def other_template(ask: Ask, _: Moment) -> Ask:
    """The application writes another chat template into the user's message."""
    return _saying(ask, f"[INST] {ask.question} [/INST]\n### Response:")


def other_language(ask: Ask, moment: Moment) -> Ask:
    """Users write German."""
    return _saying(ask, german(moment.task.name, moment.chance))


def truncated_context(ask: Ask, _: Moment) -> Ask:
    """Only the last third of each question arrives."""
    words = ask.question.split()
    return _saying(ask, " ".join(words[-max(1, len(words) // 3) :]))


def boilerplate(ask: Ask, _: Moment) -> Ask:
    """A mail gateway adds its notice to each question."""
    return _saying(ask, ask.question + NOTICE)


def _saying(ask: Ask, text: str) -> Ask:
    return replace(ask, messages=(*ask.messages[:-1], {"role": "user", "content": text}))


def _way(name: str, says: str, change: ChangesAsk) -> Way:
    return Way(
        name=name,
        family=FAMILY,
        says=says,
        fault=OfClients(change=change),
        expected=Expected(seen=True, blame=("input",)),
    )


WAYS: Final = (
    _way("system-prompt-added", "the application adds a system prompt", system_added),
    _way("system-prompt-dropped", "the application drops the system prompt", system_dropped),
    _way("other-template", "the application writes another chat template", other_template),
    _way("other-language", "users write German", other_language),
    _way("truncated-context", "only the last third of a question arrives", truncated_context),
    _way("boilerplate", "a notice is added to each question", boilerplate),
)

"""``/incidents/{incident}/answers``: what an adapter's models say to its own smoke prompts."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from fastapi import APIRouter
from pydantic import Field

from monitor.api import lookup
from monitor.api.access import Operator
from monitor.api.lookup import IncidentNumber
from monitor.api.parts import Parts
from monitor.api.problems import Problem
from monitor.api.shapes import Answer
from monitor.incident.smoke import Exchange, NotAskable, Role

router: Final = APIRouter(prefix="/incidents", tags=["incidents"])


class ModelAnswer(Answer):
    """What one model said to one prompt; `text` null: nothing, and why."""

    role: Role
    name: str = Field(description="The version, or the base model.")
    model: str
    text: str | None
    why_not: str | None


class PromptAnswers(Answer):
    """A prompt and its answers, those of the same models in the same order."""

    id: str
    prompt: str
    answers: Sequence[ModelAnswer]


class IncidentAnswers(Answer):
    """The answers of now; nothing of them is kept."""

    prompts: Sequence[PromptAnswers]


@router.post("/{incident}/answers")
def ask(_key: Operator, parts: Parts, incident: IncidentNumber) -> IncidentAnswers:
    """Put the adapter's smoke prompts to this version, the one before it and their base.

    At most ten prompts of `smoke_prompts`, greedily, 200 tokens each, a minute in all.
    """
    story = parts.database.run(lambda tx: lookup.story(tx, incident, parts, now=parts.clock()))
    try:
        exchanges = parts.smoke.ask(story)
    except NotAskable as why:
        raise Problem(409, str(why), kind="not-askable") from why
    return IncidentAnswers(prompts=[_body(one) for one in exchanges])


def _body(exchange: Exchange) -> PromptAnswers:
    return PromptAnswers(
        id=exchange.prompt.id,
        prompt=exchange.prompt.text,
        answers=[
            ModelAnswer(
                role=asked.role,
                name=asked.name,
                model=asked.model,
                text=answer.text,
                why_not=answer.why_not,
            )
            for asked, answer in exchange.answers
        ],
    )

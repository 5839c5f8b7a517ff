"""``/incidents/{incident}/answers``: answers of an adapter's models to its own smoke prompts."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter

from monitor.api import lookup
from monitor.api.access import Operator
from monitor.api.lookup import IncidentNumber
from monitor.api.parts import Parts
from monitor.api.problems import Problem
from monitor.incident.smoke import NotAskable
from monitor.views.incident import IncidentAnswers
from monitor.views.reading.incident import answers

router: Final = APIRouter(prefix="/incidents", tags=["incidents"])


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
    return IncidentAnswers(prompts=[answers(one) for one in exchanges])

"""Incidents as people see them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime

from alerts.brief import brief
from alerts.closing import Closing
from alerts.message import Alert
from alerts.silences import Silence
from alerts.types import Status
from monitor.domain import ChangeKind, Mark
from monitor.evaluate.neighbours import RequestBeside
from monitor.incident.reading import IncidentStory
from monitor.incident.signals import Chart, Signal
from monitor.incident.smoke import ComparedAnswers
from monitor.reference.accept import Anew
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.incidents.incidents import IncidentRow
from monitor.views.incident import (
    AnewBody,
    BriefBody,
    IncidentBody,
    IncidentDetail,
    IncidentExamples,
    MemberBody,
    ModelAnswer,
    MomentBody,
    NearChangeBody,
    PromptAnswers,
    SignalBody,
    UnseenBody,
)
from monitor.views.reading import action, message, route
from monitor.views.reading.request import request
from monitor.views.reading.score import number
from monitor.views.score import WindowBody


def summary(row: IncidentRow, silence: Silence | None = None) -> IncidentBody:
    """Write an incident as lists show it."""
    return IncidentBody.of(
        row,
        incident=row.id,
        closing=row.closing and Closing(row.closing),
        silenced_by=silence.id if silence else None,
    )


def detail(story: IncidentStory, chart: Chart, *, now: datetime) -> IncidentDetail:
    """Write an incident with everything that bears on it."""
    scores = {score.detector: score for score in story.scores}
    return IncidentDetail.of(
        summary(story.row, story.silenced),
        blame_now=story.blame,
        verdict_now=story.judged and story.judged.verdict.kind,
        brief=_brief(story),
        waits_since=story.waits_since,
        silence=story.silenced and message.silence(story.silenced, now),
        unseen=story.unseen and UnseenBody.of(story.unseen),
        members=[MemberBody.of(one) for one in story.members],
        onset=story.onset and WindowBody.of(story.onset),
        changes=[NearChangeBody.of(one, kind=ChangeKind(one.kind)) for one in story.changes],
        signals=[_signal(one, scores.get(one.name)) for one in chart.signals],
        route=story.route and route.detail(story.route),
        done=story.done and story.done.text,
        actions=[action.action(one) for one in story.actions],
        timeline=[MomentBody.of(one) for one in story.timeline],
        deliveries=[message.delivery(one) for one in story.deliveries],
    )


def examples(found: Sequence[RequestBeside]) -> IncidentExamples:
    """Write the requests that show what an incident is about."""
    return IncidentExamples(items=[request(one) for one in found])


def anew(found: Anew) -> AnewBody:
    """Write what a version is compared with after its incident was accepted."""
    return AnewBody.of(
        found,
        adapter=found.version.adapter,
        version=found.version.name,
        generation=found.reference.generation if found.reference else None,
    )


def answers(exchange: ComparedAnswers) -> PromptAnswers:
    """Write what the models said to one prompt."""
    return PromptAnswers(
        id=exchange.prompt.id,
        prompt=exchange.prompt.text,
        answers=[
            ModelAnswer.of(asked, text=answer.text, why_not=answer.why_not)
            for asked, answer in exchange.answers
        ],
    )


def _brief(story: IncidentStory) -> BriefBody:
    """Write its last message while it was open, and once it is over what its end says."""
    said = brief(story.told)
    if story.row.closed_at is not None:
        end = brief(_ended(story.told, story.row, at=story.row.closed_at))
        impact = f"{end.impact} While it lasted: {said.impact}"
        steps = () if story.row.marked else end.steps
        cause = "" if story.row.marked is Mark.FALSE_PAGE else said.cause
        said = replace(said, impact=impact, cause=cause, done=end.done, steps=steps)
    return BriefBody(
        title=said.title,
        impact=said.impact,
        likely_cause=said.cause,
        driftline=said.done,
        you=said.steps,
        details=said.details,
    )


def _ended(told: Alert, row: IncidentRow, *, at: datetime) -> Alert:
    why = Closing(row.closing) if row.closing else None
    return replace(told, status=Status.RECOVERED, closing=why, at=at, recovered_at=at)


def _signal(signal: Signal, score: ScoreRow | None) -> SignalBody:
    effect, low, high, at = signal.effect[-1], signal.low[-1], signal.high[-1], signal.at[-1]
    if score is not None and math.isfinite(score.effect_low + score.effect + score.effect_high):
        effect, low, high = score.effect, score.effect_low, score.effect_high
        at = score.window.end
    return SignalBody.of(
        signal,
        detector=signal.name,
        effect=effect,
        interval=(low, high),
        evidence_page=number(score.evidence_page if score else None),
        evidence_notice=number(score.evidence_notice if score else None),
        minimum_detectable=number(score.minimum_detectable if score else None),
        n=score.n_window if score else None,
        at=at,
        effect_now=signal.effect[-1],
    )

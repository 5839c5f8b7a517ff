"""Incidents as the API shows them."""

from __future__ import annotations

import math
from collections.abc import Sequence
from datetime import datetime

from pydantic import Field

from alerts.incident import Closing
from alerts.silences import Silence
from monitor.api import answers
from monitor.api.actions import ActionBody, action_body
from monitor.api.deliveries import DeliveryBody, delivery_body
from monitor.api.shapes import Answer, RouteBody, WindowBody
from monitor.domain import Blame, ChangeKind, Mark, Severity
from monitor.incident import Chart, Story
from monitor.incident.signals import Signal
from monitor.incident.timeline import Kind as MomentKind
from monitor.store.evaluations import ScoreRow
from monitor.store.incidents import IncidentRow


class IncidentBody(Answer):
    """What on-call is told about.

    Of one version, or (`base_model` given, `adapter` and `version` null) of all adapters on
    a base model that moved together.
    """

    incident: int
    adapter: str | None
    version: str | None
    base_model: str | None = Field(
        description="Of a fleet incident; empty where its versions name no base model."
    )
    part_of: int | None = Field(
        description="The fleet incident that this one was found to belong to."
    )
    kind: str = Field(description="`drift`, `no_data`, `blind`, `error`, `routing` or `canary`.")
    number: int
    phase: str
    severity: Severity
    blame: Blame
    summary: str
    opened_at: datetime
    closed_at: datetime | None
    acknowledged_by: str | None
    acknowledged_until: datetime | None
    closing: Closing | None = Field(
        description="Why it ended without having recovered; null: it recovered, or is open."
    )
    marked: Mark | None = Field(description="What a person said of it; null: not judged.")
    marked_by: str | None
    marked_at: datetime | None
    marked_because: str | None
    silenced_by: int | None = Field(
        description="The silence that keeps its messages back now; null: none does."
    )


class NearChangeBody(Answer):
    """A change that was declared about the time an incident began."""

    kind: ChangeKind
    title: str
    begun_at: datetime
    ended_at: datetime | None
    author: str
    text: str = Field(description="All of it in plain words, and how it lies to the onset.")


class MemberBody(Answer):
    """A version that a fleet incident is about; ``left_at`` null: it still is."""

    adapter: str
    version: str
    joined_at: datetime
    left_at: datetime | None


class SignalBody(Answer):
    """The newest effect of a detector while the incident was open."""

    detector: str
    words: str
    effect: float
    interval: tuple[float, float] = Field(description="95 %.")
    margin: float = Field(description="The smallest effect that may move traffic.")
    evidence_page: float | None = Field(description="log10 over its alarm line; null: none.")
    evidence_notice: float | None
    minimum_detectable: float | None = Field(description="The smallest effect it would see.")
    n: int | None = Field(description="Requests of its newest window.")
    crossed: bool = Field(description="The verdict rests on it.")
    at: datetime


class MomentBody(Answer):
    """One thing that happened."""

    at: datetime
    kind: MomentKind
    text: str
    bad: bool = Field(description="Something did not go as it should have.")


class IncidentDetail(IncidentBody):
    """An incident with everything that bears on it; the messages newest first."""

    blame_now: Blame = Field(
        description="As far as is known now; `blame` is what was told, and may have known less."
    )
    waits_since: datetime | None = Field(
        description="Since when a message about it waits to be told; null: none does."
    )

    members: Sequence[MemberBody] = Field(description="Of a fleet incident, the first first.")

    onset: WindowBody | None = Field(description="When the change began; null: not estimated.")
    changes: Sequence[NearChangeBody]
    signals: Sequence[SignalBody] = Field(description="Those that crossed first; at most 8.")
    route: RouteBody | None = Field(description="Who answers now; null of a fleet incident.")
    actions: Sequence[ActionBody] = Field(description="Decided while it was open, newest first.")
    timeline: Sequence[MomentBody] = Field(description="What happened, the first first.")
    deliveries: Sequence[DeliveryBody]


class AnewBody(Answer):
    """What a version is compared with from now on."""

    adapter: str
    version: str
    generation: int | None = Field(
        description="Of the reference that is being built; null: no live signal had moved."
    )
    records: int = Field(description="Since the onset; the generation is made of them.")
    perplexity: bool = Field(description="Whether the next probe registers it anew.")
    left: str | None = Field(
        description="Why its live signals are compared as before; null: they are not."
    )


class AcceptedIncident(IncidentDetail):
    """An accepted incident, and what this request began."""

    anew: Sequence[AnewBody] = Field(description="Empty: it was accepted before.")


def summary(row: IncidentRow, silence: Silence | None = None) -> IncidentBody:
    """Write an incident as lists show it."""
    return IncidentBody(**_fields(row, silence))


def detail(story: Story, chart: Chart) -> IncidentDetail:
    """Write an incident with everything that bears on it."""
    scores = {score.detector: score for score in story.scores}
    return IncidentDetail(
        **_fields(story.row, story.silenced),
        blame_now=story.blame,
        waits_since=story.waits_since,
        members=[
            MemberBody(**{name: getattr(one, name) for name in MemberBody.model_fields})
            for one in story.members
        ],
        onset=story.onset and answers.window(story.onset),
        changes=[
            NearChangeBody(**{name: getattr(one, name) for name in NearChangeBody.model_fields})
            for one in story.changes
        ],
        signals=[_signal(one, scores.get(one.name)) for one in chart.signals],
        route=story.route and answers.route(story.route.route),
        actions=[action_body(one) for one in story.actions],
        timeline=[
            MomentBody(at=one.at, kind=one.kind, text=one.text, bad=one.bad)
            for one in story.timeline
        ],
        deliveries=[delivery_body(one) for one in story.deliveries],
    )


def _signal(signal: Signal, score: ScoreRow | None) -> SignalBody:
    return SignalBody(
        detector=signal.name,
        words=signal.words,
        effect=signal.effect[-1],
        interval=(signal.low[-1], signal.high[-1]),
        margin=signal.margin,
        evidence_page=_finite(score.evidence_page if score else None),
        evidence_notice=_finite(score.evidence_notice if score else None),
        minimum_detectable=_finite(score.minimum_detectable if score else None),
        n=score.n_window if score else None,
        crossed=signal.crossed,
        at=signal.at[-1],
    )


def _finite(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None


def _fields(row: IncidentRow, silence: Silence | None) -> dict[str, object]:
    derived = {"incident": row.id, "silenced_by": silence.id if silence else None}
    stored = IncidentBody.model_fields.keys() - derived.keys()
    return {**derived, **{name: getattr(row, name) for name in stored}}

"""What on-call is told about."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from alerts.closing import Closing
from alerts.types import Blame, VerdictKind
from monitor.domain import ChangeKind, Mark, VerdictSeverity
from monitor.views.action import ActionBody
from monitor.views.message import DeliveryBody, SilenceBody
from monitor.views.request import RequestView
from monitor.views.route import RouteDetail
from monitor.views.score import WindowBody
from monitor.views.shape import View
from monitor.views.vocabulary import MomentWord, RoleWord


class ModelAnswer(View):
    """What one model said to one prompt; `text` null: nothing, and why."""

    role: RoleWord
    name: str
    """The version, or the base model."""
    model: str
    text: str | None
    why_not: str | None


class PromptAnswers(View):
    """A prompt and its answers, those of the same models in the same order."""

    id: str
    prompt: str
    answers: Sequence[ModelAnswer]


class IncidentAnswers(View):
    """The answers of now; nothing of them is kept."""

    prompts: Sequence[PromptAnswers]


class IncidentBody(View):
    """What on-call is told about.

    Of one version, or (`base_model` given, `adapter` and `version` null) of all adapters on
    a base model that moved together.
    """

    incident: int
    adapter: str | None
    version: str | None
    base_model: str | None
    """Of a fleet incident; empty where its versions name no base model."""
    part_of: int | None
    """The fleet incident that this one was found to belong to."""
    kind: str
    """`drift`, `no_data`, `blind`, `error`, `routing` or `canary`."""
    number: int
    phase: str
    severity: VerdictSeverity
    blame: Blame
    summary: str
    opened_at: datetime
    closed_at: datetime | None
    acknowledged_by: str | None
    acknowledged_until: datetime | None
    closing: Closing | None
    """Why it ended without having recovered; null: it recovered, or is open."""
    marked: Mark | None
    """What a person said of it; null: not judged."""
    marked_by: str | None
    marked_at: datetime | None
    marked_because: str | None
    silenced_by: int | None
    """The silence that keeps its messages back now; null: none does."""

    @property
    def subject(self) -> str:
        """Whom it is about, in words."""
        if self.adapter is not None:
            return f"{self.adapter}@{self.version}"
        return f"all adapters on {self.base_model or 'one base model'}"

    @property
    def news(self) -> str:
        """The summary without the name of the adapter and version."""
        whom, _, what = self.summary.partition(": ")
        return what if whom == self.subject else self.summary


class NearChangeBody(View):
    """A change that was declared about the time an incident began."""

    kind: ChangeKind
    title: str
    begun_at: datetime
    ended_at: datetime | None
    author: str
    text: str
    """All of it in plain words, and how it lies to the onset."""


class MemberBody(View):
    """A version that a fleet incident is about; ``left_at`` null: it still is."""

    adapter: str
    version: str
    joined_at: datetime
    left_at: datetime | None


class SignalBody(View):
    """A detector when the incident crossed its line, beside its newest effect.

    Of one that had not scored yet, and of a fleet incident, all is the newest.
    """

    detector: str
    words: str
    effect: float
    interval: tuple[float, float]
    """95 %."""
    margin: float
    """The smallest effect that may move traffic."""
    evidence_page: float | None
    """log10 over its alarm line; null: none."""
    evidence_notice: float | None
    minimum_detectable: float | None
    """The smallest effect it would see."""
    n: int | None
    """Requests of that window."""
    crossed: bool
    """The verdict rests on it, or did when the incident crossed its line."""
    at: datetime
    effect_now: float
    """The newest while the incident was open."""


class UnseenBody(View):
    """How few requests were compared when people were told."""

    compared: int
    requests: int
    mend: str
    """The one command that makes them comparable."""


class MomentBody(View):
    """One thing that happened."""

    at: datetime
    kind: MomentWord
    text: str
    bad: bool
    """Something did not go as it should have."""


class BriefBody(View):
    """An incident in the words of its messages; an empty part has nothing to say."""

    title: str
    impact: str
    """What happened to users, as a share beside the normal one."""
    likely_cause: str
    driftline: str
    """What was done with traffic, or why nothing was."""
    you: Sequence[str]
    """The next steps, in order."""
    details: str
    """The numbers behind it."""


class IncidentDetail(IncidentBody):
    """An incident with everything that bears on it; the messages newest first."""

    blame_now: Blame
    """As far as is known now; `blame` is what was told, and may have known less."""
    verdict_now: VerdictKind | None
    """Of its version; null: it was never judged, or of a fleet incident."""
    brief: BriefBody
    """What people were told last while it was open, or would be told now."""
    waits_since: datetime | None
    """Since when a message about it waits to be told; null: none does."""
    silence: SilenceBody | None
    """That keeps its messages back now; null: none does."""
    unseen: UnseenBody | None
    """Of a version that is not fully compared; null: of another, or nobody was told yet."""
    members: Sequence[MemberBody]
    """Of a fleet incident, the first first."""
    onset: WindowBody | None
    """When the change began; null: not estimated."""
    changes: Sequence[NearChangeBody]
    signals: Sequence[SignalBody]
    """Those that crossed first; at most 8."""
    route: RouteDetail | None
    """Who answers now; null of a fleet incident."""
    done: str | None
    """The last thing done with its traffic; null: none was."""
    actions: Sequence[ActionBody]
    """Decided while it was open, newest first."""
    timeline: Sequence[MomentBody]
    """What happened, the first first."""
    deliveries: Sequence[DeliveryBody]


class AnewBody(View):
    """What a version is compared with from now on."""

    adapter: str
    version: str
    generation: int | None
    """Of the reference that is being built; null: no live signal had moved."""
    records: int
    """Since the onset; the generation is made of them."""
    perplexity: bool
    """Whether the next probe registers it anew."""
    left: str | None
    """Why its live signals are compared as before; null: they are not."""


class AcceptedIncident(IncidentDetail):
    """An accepted incident, and what this request began."""

    anew: Sequence[AnewBody]
    """Empty: it was accepted before."""


class IncidentExamples(View):
    """At most five requests from before the incident opened, the clearest first."""

    items: Sequence[RequestView]

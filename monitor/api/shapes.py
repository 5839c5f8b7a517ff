"""What the API answers, field by field: the contract that ``/openapi.json`` publishes.

JSON has neither NaN nor infinity: ``null`` stands for "not defined", as in the evidence of
a detector without a page process, or a smallest detectable effect where it is blind.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from monitor.domain import (
    ArmKind,
    Blame,
    ChangeKind,
    EvaluationKind,
    Mode,
    ReferenceState,
    Severity,
    VerdictKind,
    WeightsState,
)
from monitor.policy.coverage import Cause

Item = TypeVar("Item")


class Answer(BaseModel):
    """Built only by our own code, so a field it does not know is a mistake of ours."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class WindowBody(Answer):
    """Half-open ``[start, end)``."""

    start: datetime
    end: datetime


class GapBody(Answer):
    """Requests that a detector did not compare, for one reason."""

    cause: Cause
    value: str = Field(description="What it is about: `temperature 0.7`; empty: nothing to name.")
    requests: int
    since: datetime | None = Field(
        description="End of the window that first had them; null: not known, as of past windows."
    )
    text: str = Field(description="The cause in plain words, to follow the number.")


class CoverageBody(Answer):
    """How much a detector compared; `requests` is `compared` and all `gaps` together."""

    detector: str
    requests: int = Field(description="All that happened; sampling takes none away.")
    compared: int
    ratio: float | None = Field(description="`compared` of `requests`; null: there were none.")
    of_expected: float | None = Field(
        description="`compared` of what it would have compared had it missed nothing: without"
        " requests that failed, that came while nothing was evaluated, and the like. Below"
        " `policy.blind_below` it is blind. null: it could not have compared one."
    )
    since: datetime | None = Field(
        description="Since when it misses requests that it could compare; null: it misses none."
    )
    gaps: Sequence[GapBody] = Field(description="Those that make blind first, then by size.")
    text: str = Field(description="All of it in plain words.")


class SamplingBody(Answer):
    """What sampling set aside in the last 24 hours: no loss, as what it kept stands for it."""

    requests: int
    sampled_out: int
    text: str | None = Field(description="In plain words; null: nothing was set aside.")


class ScoreBody(Answer):
    """One detector's score of one window."""

    adapter: str
    version: str
    detector: str
    window: WindowBody
    value: float | None = Field(description="Effect size; 0 is the same, larger is worse.")
    evidence: float | None = Field(
        description="log10 of the page process over its alarm line: 0 and above is an alarm."
    )
    effect: float | None
    interval: tuple[float | None, float | None] = Field(description="95 % interval of `effect`.")
    n_reference: int
    n_window: int
    minimum_detectable: float | None = Field(
        description="Smallest effect that would be seen within a day at today's traffic."
    )
    verdict: VerdictKind | Literal["unmeasured"] = Field(
        description="`unmeasured`: of perplexity, when a suspicion came that no probe has looked"
        " at yet; its numbers are older, and `reason` says why."
    )
    blame: Blame
    reason: str
    details: Mapping[str, Any] = Field(description="More numbers, `evidence_notice` among them.")
    coverage: CoverageBody | None = Field(
        description="Of the window's requests; null: of a probe, or of an earlier release."
    )


class ArmBody(Answer):
    """One target of a route."""

    arm: ArmKind
    version: str
    model: str
    weight: float


class RouteBody(Answer):
    """Who answers for an adapter, at a generation."""

    adapter: str
    generation: int
    arms: Sequence[ArmBody]
    reason: str
    since: datetime
    valid_until: datetime | None
    on_expiry: ArmKind


class RouteChange(RouteBody):
    """A generation of a route, and who wrote it."""

    by: str = Field(description="A key's name, or what of Driftline did it.")


class BehindBody(Answer):
    """Since when a router does not go by the route in force, and why."""

    since: datetime
    why: str


class RouteDetail(RouteChange):
    """The route in force, and until when nobody but people changes it.

    Its ETag is epoch and generation: `"1764298000-7"`.
    """

    epoch: int = Field(
        description="Of the table; a newer one counts, whatever the generation."
        " Seconds since 1970 when it was opened."
    )
    hold_until: datetime | None
    behind: BehindBody | None = Field(
        description="The router could not be told it; null: it was, or follows by itself."
    )


class EpochBody(Answer):
    """The epoch of the route table, and who opened it."""

    epoch: int
    since: datetime
    reason: str
    by: str


class MilestoneBody(Answer):
    """The next thing that a version's reference waits for."""

    records: int = Field(description="What it can learn from.")
    needed: int
    days: float = Field(description="The span of these records.")
    needed_days: float = Field(description="0: no span is asked for.")
    reached_at: datetime | None = Field(
        description="At the last day's traffic; null: not by itself, or no records come."
    )
    sees: float | None = Field(
        description="Shift of the mean NLL, in sd, that it will show within a day."
    )
    text: str = Field(description="All of it in plain words.")


class SeenBody(Answer):
    """Hours and weekdays, UTC, that a reference has seen; others are taken to differ."""

    hours: Sequence[bool] = Field(description="24, from midnight on.")
    weekdays: Sequence[bool] = Field(description="7, from Monday on.")
    text: str = Field(description="All of it in plain words.")


class ReferenceSummary(Answer):
    """How far the reference of a version is."""

    state: ReferenceState | None = Field(description="null: there is none yet.")
    generation: int | None
    provisional: bool = Field(description="True until approved: soft evidence moves no traffic.")
    progress: float | None
    n_training: int
    n_baseline: int
    learning: MilestoneBody | None = Field(
        None, description="What comes next until it is approved; only where one adapter is shown."
    )


class ReferenceBody(Answer):
    """One generation of a version's reference."""

    adapter: str
    version: str
    generation: int
    state: ReferenceState
    provisional: bool
    approved_by: str | None
    cause: str
    n_training: int
    n_baseline: int
    left_out: int = Field(
        description="Baseline lines of an upload that stood among its training lines too."
    )
    span_days: float
    encoder: str | None
    strata: Sequence[str]
    progress: float
    error: str | None
    created_at: datetime
    ready_at: datetime | None


class AdapterSummary(Answer):
    """A row of the fleet."""

    adapter: str
    version: str | None = Field(description="The version in charge; null: none is registered.")
    verdict: VerdictKind
    severity: Severity
    drift_score: float = Field(
        description="0 to 100, sorted as verdicts are: critical from 80, drifting from 60."
    )
    blame: Blame
    reason: str
    since: datetime | None
    owner: str | None
    tier: str
    labels: Mapping[str, str]
    runbook: str | None
    mode: Mode | None
    reference: ReferenceSummary
    route: RouteBody | None
    evaluated_at: datetime | None
    records_last_hour: int
    least_covered: CoverageBody | None = Field(
        description="The detector that compares the least of what it could, over the newest"
        " windows; null: no requests came yet, or none can compare any."
    )


class WeightsSummary(Answer):
    """What the files of a version say of its weights, in one line and a few numbers."""

    state: WeightsState
    reason: str
    at: datetime
    sha256: str | None = Field(
        description="The adapter's identity: of its weights and its config, as they were read."
    )
    summary: Mapping[str, Any] = Field(
        description="Lowest, median and highest over modules, of each number."
    )


class WeightsBody(WeightsSummary):
    """The whole inspection, module by module."""

    adapter: str
    version: str
    report: Mapping[str, Any]


class VersionBody(Answer):
    """One immutable set of adapter weights."""

    adapter: str
    version: str
    model: str
    parent: str | None
    uri: str | None
    sha256: str | None
    base_model: str | None
    metadata: Mapping[str, Any]
    registered_at: datetime
    weights: WeightsSummary | None = Field(
        None, description="null: not looked at, as where `uri` names no folder."
    )


class ChangeBody(Answer):
    """What somebody declared to have changed."""

    change: int
    kind: ChangeKind
    title: str
    adapters: Sequence[str] | None = Field(description="null: the whole fleet.")
    begun_at: datetime
    ended_at: datetime | None = Field(description="null: it is under way.")
    author: str
    details: Mapping[str, str | float]
    created_at: datetime


class ProbeBody(Answer):
    """How the perplexity probe of a version fares."""

    answered_at: datetime | None = Field(
        description="When one last ended with an answer; null: none ever did."
    )
    stopped: str | None = Field(
        description="Why the newest try had no answer; null: it had one, or none was made."
    )


class AdapterDetail(AdapterSummary):
    """An adapter with the latest score of each detector."""

    change_under_way: ChangeBody | None = Field(
        description="The engine or base change that probing waits for."
    )
    probe: ProbeBody | None = Field(
        description="Of the version in charge; null: its perplexity is not probed."
    )
    coverage: Sequence[CoverageBody] = Field(
        description="Of the newest windows, those that `blind` is judged by; least covered first."
    )
    coverage_last_day: Sequence[CoverageBody] = Field(description="Of the last 24 hours.")
    mend: str | None = Field(
        description="The one command that makes missed requests comparable; null: not blind."
    )
    sampling: SamplingBody
    versions: Sequence[VersionBody]
    scores: Sequence[ScoreBody]


class EvaluationBody(Answer):
    """One run of a version's detectors over one window."""

    evaluation: int
    adapter: str
    version: str
    kind: EvaluationKind
    state: str
    window: WindowBody
    verdict: VerdictKind | None
    reason: str | None
    n_records: int
    n_late: int
    started_at: datetime
    finished_at: datetime
    coverage: Sequence[CoverageBody] = Field(
        description="Of the window's requests, least covered first; empty: it had none."
    )
    scores: Sequence[ScoreBody]


class AskedEvaluation(Answer):
    """An evaluation that is not done yet; its location answers when it is."""

    adapter: str
    version: str
    requested_at: datetime
    location: str


class Page(Answer, Generic[Item]):
    """One page of a list; `next` goes into `cursor` for the page after it."""

    items: Sequence[Item]
    next: str | None = None

"""Adapters: a row of the fleet, and one in detail."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from alerts.types import Blame, VerdictKind
from monitor.domain import Mode, VerdictSeverity
from monitor.views.change import ChangeBody
from monitor.views.coverage import CoverageBody, SamplingBody
from monitor.views.reference import ReferenceSummary
from monitor.views.route import RouteBody
from monitor.views.score import ScoreBody
from monitor.views.shape import View
from monitor.views.version import VersionBody
from monitor.views.vocabulary import AppliedWord


class AdapterSummary(View):
    """A row of the fleet."""

    adapter: str
    version: str | None
    """The version in charge; null: none is registered."""
    verdict: VerdictKind
    severity: VerdictSeverity
    drift_score: float
    """0 to 100, sorted as verdicts are: critical from 80, drifting from 60."""
    blame: Blame
    reason: str
    since: datetime | None
    owner: str | None
    tier: str
    labels: Mapping[str, str]
    runbook: str | None
    mode: Mode | None
    applied: AppliedWord | None
    """Whether its own weights answer under its name, by the newest probe that could tell; null: not
    compared yet."""
    reference: ReferenceSummary
    route: RouteBody | None
    evaluated_at: datetime | None
    records_last_hour: int
    least_covered: CoverageBody | None
    """The detector that compares the least of what it could, over the newest windows; null: no
    requests came yet, or none can compare any."""


class ProbeBody(View):
    """How the perplexity probe of a version fares."""

    answered_at: datetime | None
    """When one last ended with an answer; null: none ever did."""
    stopped: str | None
    """Why the newest try had no answer; null: it had one, or none was made."""


class AdapterDetail(AdapterSummary):
    """An adapter with the latest score of each detector."""

    change_under_way: ChangeBody | None
    """The engine or base change that probing waits for."""
    probe: ProbeBody | None
    """Of the version in charge; null: its perplexity is not probed."""
    coverage: Sequence[CoverageBody]
    """Of the newest windows, those that `blind` is judged by; least covered first."""
    coverage_last_day: Sequence[CoverageBody]
    """Of the last 24 hours."""
    mend: str | None
    """The one command that makes missed requests comparable; null: not blind."""
    sampling: SamplingBody
    versions: Sequence[VersionBody]
    scores: Sequence[ScoreBody]

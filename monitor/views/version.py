"""One immutable set of adapter weights."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from alerts.types import VerdictKind
from monitor.domain import VerdictSeverity, WeightsState
from monitor.views.reference import ReferenceSummary
from monitor.views.shape import View


class WeightsSummary(View):
    """What the files of a version say of its weights, in one line and a few numbers."""

    state: WeightsState
    reason: str
    at: datetime
    sha256: str | None
    """The adapter's identity: of its weights and its config, as they were read."""
    summary: Mapping[str, Any]
    """Lowest, median and highest over modules, of each number."""


class WeightsBody(WeightsSummary):
    """The whole inspection, module by module."""

    adapter: str
    version: str
    report: Mapping[str, Any]


class VersionBody(View):
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
    weights: WeightsSummary | None = None
    """null: not looked at, as where `uri` names no folder."""


class VersionStanding(VersionBody):
    """A version beside the others of its adapter."""

    in_charge: bool
    share: float
    """Of the adapter's traffic now, in [0, 1]."""
    verdict: VerdictKind
    severity: VerdictSeverity
    since: datetime | None
    """null: it was never judged."""
    reference: ReferenceSummary
    numbers: Mapping[str, str]
    """Newest number of each signal as people read it, by the signal's words."""

"""Scores, evaluations, and what is new."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from alerts.types import Blame, VerdictKind
from monitor.domain import EvaluationKind
from monitor.views.coverage import CoverageBody
from monitor.views.shape import View
from monitor.views.vocabulary import ScoreVerdict


class WindowBody(View):
    """Half-open ``[start, end)``."""

    start: datetime
    end: datetime


class ScoreBody(View):
    """One detector's score of one window."""

    adapter: str
    version: str
    detector: str
    title: str
    """What it measures, in plain words."""
    window: WindowBody
    value: float | None
    """Effect size; 0 is the same, larger is worse."""
    evidence: float | None
    """log10 of the page process over its alarm line: 0 and above is an alarm."""
    effect: float | None
    interval: tuple[float | None, float | None]
    """95 % interval of `effect`."""
    n_reference: int
    n_window: int
    minimum_detectable: float | None
    """Smallest effect that would be seen within a day at today's traffic."""
    verdict: ScoreVerdict
    """`unmeasured`: of perplexity, when a suspicion came that no probe has looked at yet; its
    numbers are older, and `reason` says why."""
    blame: Blame
    reason: str
    details: Mapping[str, Any]
    """More numbers, `evidence_notice` among them."""
    coverage: CoverageBody | None
    """Of the window's requests; null: of a probe, or of an earlier release."""


class EvaluationBody(View):
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
    coverage: Sequence[CoverageBody]
    """Of the window's requests, least covered first; empty: it had none."""
    scores: Sequence[ScoreBody]


class AskedEvaluation(View):
    """An evaluation that is not done yet; its location answers when it is."""

    adapter: str
    version: str
    requested_at: datetime
    location: str


class GrowthBody(View):
    """How many times as large the share is as in the interval of the same length before."""

    ratio: float | None
    """null: there was none before."""
    interval: tuple[float, float | None]
    """95 % interval of `ratio`; null: no upper limit."""


class NeighbourBody(View):
    """A training example near a group's centre."""

    row: int
    """Place in the training index, from 1; an upload's own order."""
    similarity: float
    """Cosine to the centre."""
    text: str | None
    """The beginning of its redacted text; null where `capture.store_text` kept none."""


class GroupBody(View):
    """Requests that are near each other and far from training."""

    count: int
    subjects: int
    """Different ones; a request without counts for itself."""
    share: float
    """Of all requests compared, in [0, 1]."""
    growth: GrowthBody | None
    """null: nothing was compared before."""
    first_seen: datetime
    last_seen: datetime
    cohesion: float
    """Mean cosine of its requests to their centre."""
    similarity: float
    """Mean cosine to their nearest training examples."""
    words: Sequence[str]
    """Most typical first; only such as five subjects used."""
    neighbours: Sequence[NeighbourBody]
    records: Sequence[str]
    """Ids of those nearest to the centre."""
    prompts: Sequence[str]
    """Of these, redacted, where text is stored."""
    outputs: Sequence[str]
    """The answers to these prompts; empty where one is not stored."""


class NewBody(View):
    """What is new, the groups of most subjects first."""

    adapter: str
    version: str
    window: WindowBody
    compared: int
    """Requests with a similarity to training."""
    unlike: int
    """Of these, less similar than `below`."""
    looked_at: int
    """Of these, an even sample that was grouped."""
    below: float
    """5 % of the baseline's requests were less similar."""
    groups: Sequence[GroupBody]

"""What a version is compared with, and how far that is."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.domain import ReferenceState
from monitor.views.score import WindowBody
from monitor.views.shape import View


class MilestoneBody(View):
    """The next thing that a version's reference waits for."""

    records: int
    """What it can learn from."""
    needed: int
    days: float
    """The span of these records."""
    needed_days: float
    """0: no span is asked for."""
    reached_at: datetime | None
    """At the last day's traffic; null: not by itself, or no records come."""
    sees: float | None
    """Shift of the mean NLL, in sd, that it will show within a day."""
    text: str
    """All of it in plain words."""


class SeenBody(View):
    """Hours and weekdays, UTC, that a reference has seen; others are taken to differ."""

    hours: Sequence[bool]
    """24, from midnight on."""
    weekdays: Sequence[bool]
    """7, from Monday on."""
    text: str
    """All of it in plain words."""


class ReferenceSummary(View):
    """How far the reference of a version is."""

    state: ReferenceState | None
    """null: there is none yet."""
    generation: int | None
    provisional: bool
    """True until approved: a change of distribution moves no traffic."""
    progress: float | None
    n_training: int
    n_baseline: int
    learning: MilestoneBody | None = None
    """What comes next until it is approved; only where one adapter is shown."""


class ReferenceBody(View):
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
    left_out: int
    """Baseline lines of an upload that stood among its training lines too."""
    span_days: float
    encoder: str | None
    strata: Sequence[str]
    progress: float
    error: str | None
    created_at: datetime
    ready_at: datetime | None


class ReferencesBody(View):
    """The reference in force, and every generation, newest first."""

    adapter: str
    version: str
    current: ReferenceBody | None
    seen: SeenBody | None
    """Hours and weekdays that the current one has seen; null: not known."""
    learning: MilestoneBody | None
    """What comes next until it is approved; null: it is, or one is being built."""
    items: Sequence[ReferenceBody]


class OtherSettingsBody(View):
    """Settings that a version's requests have and its reference in force lacks."""

    settings: str
    """Such as `temperature 0.7`."""
    records: int
    share: float
    """Of the last day's requests."""
    needed: int
    """Records from which on they are learned by themselves."""


class LearnedBody(View):
    """What was learned now, and what still waits for records."""

    learned: Sequence[str]
    waiting: Sequence[OtherSettingsBody]


class RefrozenBody(View):
    """What became of one adapter."""

    adapter: str
    version: str | None
    generation: int | None
    """Being built; null: it was left alone."""
    records: int
    """Of the version in the window."""
    error: str | None
    """Why it was left alone."""


class RefreezeBody(View):
    """A row for each chosen adapter, by name."""

    window: WindowBody
    items: Sequence[RefrozenBody]

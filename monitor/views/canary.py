"""Versions on trial, and what a trial takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.domain import Mode
from monitor.traffic.trial.states import Pause, Phase, TrialMove
from monitor.views.shape import View
from monitor.views.vocabulary import WayWord


class GuardBody(View):
    """A guardrail at one look: how much worse the canary is, beside what it may be.

    ``lo`` above ``bar`` rolls back, ``hi`` below ``margin`` lets on. Of a ``hard`` one
    ``value`` is the evidence (log10) and ``trial`` and ``control`` are failures.
    """

    name: str
    title: str
    """What it measures, in plain words."""
    kind: str | None
    outcome: str
    value: float | None
    lo: float | None
    hi: float | None
    margin: float
    bar: float
    trial: int
    control: int


class LookBody(View):
    """One thing that happened to a canary."""

    at: datetime
    event: str
    phase: Phase
    pause: Pause | None
    step: int
    weight: float
    reason: str
    actor: str
    outcome: str | None
    trial_requests: int | None
    control_requests: int | None
    guards: Sequence[GuardBody] | None


class CanaryBody(View):
    """A version on trial: where it stands, and why."""

    canary: int
    adapter: str
    version: str
    control: str
    phase: Phase
    pause: Pause | None
    proposal: TrialMove | None
    """What it would do if it might."""
    step: int
    weight: float
    steps: Sequence[StepBody]
    ready: bool
    """Everything is inside its margins, over enough requests."""
    latched: bool
    """Rolled back: only a person lets the version try again."""
    reason: str
    unverified: str | None
    """Why the router is not known to do it."""
    since: datetime | None
    step_since: datetime | None
    extended: int
    mode: Mode | None
    unchecked: Sequence[str]
    guards: Sequence[str]
    created_by: str
    created_at: datetime
    ended_at: datetime | None


class CanaryBegun(CanaryBody):
    """The same, with what it can come to; null: it is decided."""

    prospect: ForeseenBody | None


class CanaryDetail(CanaryBegun):
    """The same with its history, the first first."""

    registered_since: Sequence[str]
    """Versions of the adapter; while it is under way."""
    looks: Sequence[LookBody]


class SideBody(View):
    """One of the two answers; ``record`` is what feedback about it names."""

    record: str
    version: str
    answer: str | None


class PairBody(View):
    """A prompt that both versions answered.

    Texts are redacted; null where `capture.store_text` keeps none, or not yet.
    """

    at: datetime
    """What feedback about either answer has to name."""
    prompt: str | None
    answered: SideBody
    copied: SideBody


class ChoiceBody(View):
    """One share of traffic, and what a verdict takes there."""

    weight: float
    requests_to_see: int
    """Of the canary, until the drop is seen (90 %)."""
    days_to_see: float
    requests_to_promote: int
    """Of the canary, until no fall beyond the margin is proven (90 %)."""
    days_to_promote: float
    days: float
    """Until there is a verdict, whichever it is."""
    verdict_at: datetime
    """If the canary began now; at most in 100 years."""
    detectable_in_a_day: float
    """Smallest fall that one day would show (90 %); above 1: none."""


class CanaryPlanBody(View):
    """What a canary of an adapter must be; `chosen` is its weight, null: none is in time."""

    adapter: str
    requests_per_day: float
    measured: bool
    """Whether they were counted, in the last 24 hours."""
    rate: float
    drop: float
    margin: float
    critical: bool
    guardrails: int
    """Equal ones that would each have the share of the false alarms that was used."""
    within_days: float
    chosen: float | None
    choices: Sequence[ChoiceBody]
    ways: Sequence[WayBody]
    """The steps of the config, the chosen weight alone and a shadow, beside each other; none where
    the adapter has no route."""


class StepBody(View):
    """A step of a plan."""

    weight: float
    hours: float
    requests: int


class StepProspectBody(View):
    """What a step comes to, for a version that is no worse; null: not in sight."""

    number: int
    weight: float
    requests_at: datetime | None
    """It has its requests then."""
    inside_at: datetime | None
    """Every guardrail is inside its margin then, in 9 of 10 canaries."""
    ends_at: datetime | None
    """Both, and its least time is over."""
    asked_at: datetime
    """A person is asked then, if it has not ended."""
    decided: bool
    """It ends by itself before, in 9 of 10 canaries."""
    chance: float
    """That it does, at least."""
    slowest: str | None
    """The guardrail that takes longest."""


class ProspectBody(View):
    """What the steps come to that are not over; a warning, never a refusal."""

    requests_per_day: float
    copies_per_day: float
    known: bool
    """Whether enough was recorded to say more than of requests."""
    promotable: bool
    """Every step is decided by itself, in 9 of 10 canaries."""
    chance: float
    verdict_at: datetime | None
    """Null: a person is asked instead."""
    latest_at: datetime
    """A person is asked by then, whatever is found."""
    steps: Sequence[StepProspectBody]


class ForeseenBody(ProspectBody):
    """The same of one canary, and what is to be said of it."""

    warning: str | None
    """Why it is not decided by itself."""
    advice: str | None
    """Other ways that would be, and when; commands between backticks."""


class WayBody(View):
    """A way to try a version from now on."""

    way: WayWord
    steps: Sequence[StepBody]
    copies: int
    """That a shadow answers until its verdict."""
    prospect: ProspectBody

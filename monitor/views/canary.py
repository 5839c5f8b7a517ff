"""Versions on trial, and what a trial takes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.domain import Mode
from monitor.traffic.trial.states import Pause, Phase, TrialMove
from monitor.views.shape import View
from monitor.views.vocabulary import WayWord


class GuardBody(View):
    """A guardrail at one look: how much worse the canary is, and how much worse it may be.

    Of a ``hard`` one, ``value`` is the evidence (log10), ``margin`` its alarm line, and ``trial``
    and ``control`` count failures.
    """

    name: str
    title: str
    """What it measures, in plain words."""
    kind: str | None
    """`rate`: the difference of shares; `rank`: Cliff's delta; `hard`. null: not measured yet."""
    outcome: str
    """`passed`, `failed`, `unsure`, or `absent`: nothing to compare."""
    value: float | None
    lo: float | None
    """`lo` and `hi` are the ends of an interval that is valid at every look; null: too little was
    seen."""
    hi: float | None
    margin: float
    """The canary may go on where `hi` is below."""
    bar: float
    """The canary is rolled back where `lo` is above."""
    trial: int
    """Requests of the canary that measured it in this step."""
    control: int
    """The same of the version beside it."""


class LookBody(View):
    """One thing that happened to a canary."""

    at: datetime
    event: str
    """`checked` (pre-checks), `looked`, `read_back` (the router), or a person's order."""
    phase: Phase
    """After it."""
    pause: Pause | None
    step: int
    """From 0."""
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
    """The version in charge when it began, with which it is compared."""
    phase: Phase
    pause: Pause | None
    proposal: TrialMove | None
    """What it would do if its mode permitted it."""
    step: int
    """From 0."""
    weight: float
    """Its share of the traffic now, in [0, 1]."""
    steps: Sequence[StepBody]
    ready: bool
    """Everything is inside its margins, over enough requests."""
    latched: bool
    """Rolled back: only a person lets the version try again."""
    reason: str
    unverified: str | None
    """Why the router is not known to follow the route; null: it follows."""
    since: datetime | None
    """When the phase, or the reason of a pause, began."""
    step_since: datetime | None
    extended: int
    """How often the step was given its time again."""
    mode: Mode | None
    """null: the adapter's."""
    unchecked: Sequence[str]
    """Pre-checks that were left out."""
    guards: Sequence[str]
    created_by: str
    created_at: datetime
    ended_at: datetime | None


class CanaryBegun(CanaryBody):
    """A canary with its forecast."""

    prospect: ForeseenBody | None
    """null: it is decided."""


class CanaryDetail(CanaryBegun):
    """A canary with its forecast and its history."""

    registered_since: Sequence[str]
    """Versions of the adapter registered after it began, while it is under way."""
    looks: Sequence[LookBody]
    """The newest 2,000, oldest first."""


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
    """Share of requests that succeed now."""
    drop: float
    """Fall of that share that must be seen."""
    margin: float
    """Fall up to which the canary may be promoted."""
    critical: bool
    """Whether any proven fall rolls back."""
    guardrails: int
    """How many equal guardrails would each have the share of the false alarms that was used."""
    within_days: float
    chosen: float | None
    choices: Sequence[ChoiceBody]
    ways: Sequence[WayBody]
    """The steps of the config, the chosen weight alone and a shadow, beside each other; none where
    the adapter has no route."""


class StepBody(View):
    """A step of a plan."""

    weight: float
    """Of the traffic; 0: it answers copies alone."""
    hours: float
    """At least."""
    requests: int
    """Of either version, at least; pairs where it answers copies."""


class StepProspectBody(View):
    """The forecast of a step, for a version that is no worse; null: not within a year."""

    number: int
    weight: float
    requests_at: datetime | None
    """When it has its requests."""
    inside_at: datetime | None
    """When every guardrail is inside its margin, in 9 of 10 canaries."""
    ends_at: datetime | None
    """When both hold and its least time is over."""
    asked_at: datetime
    """When a person is asked, unless it has ended."""
    decided: bool
    """Whether it ends by itself before that, in 9 of 10 canaries."""
    chance: float
    """Least probability that it does."""
    slowest: str | None
    """The guardrail that takes longest."""


class ProspectBody(View):
    """The forecast of the steps that are not over; a warning, never a refusal."""

    requests_per_day: float
    copies_per_day: float
    known: bool
    """Whether enough was recorded to say when guardrails are inside their margins."""
    promotable: bool
    """Whether every step is decided by itself, in 9 of 10 canaries."""
    chance: float
    """That of the step with the least."""
    verdict_at: datetime | None
    """null: a person is asked instead, or not within a year."""
    latest_at: datetime
    """When a person is asked, whatever is found."""
    steps: Sequence[StepProspectBody]


class ForeseenBody(ProspectBody):
    """The forecast of one canary, in words."""

    warning: str | None
    """Why it is not decided by itself; null: it is, in 9 of 10 canaries."""
    advice: str | None
    """Other ways that would be, and when; commands between backticks."""


class WayBody(View):
    """A way to try a version from now on."""

    way: WayWord
    steps: Sequence[StepBody]
    copies: int
    """Copies that a shadow answers until its verdict."""
    prospect: ProspectBody

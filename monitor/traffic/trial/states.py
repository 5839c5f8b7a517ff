"""The words of a canary: where it stands, what happens to it and what follows. No rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, Final, assert_never

import msgspec
from msgspec import Meta

Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its offset; reading one without is refused."""


class Phase(StrEnum):
    """The phases of a canary."""

    DRAFT = "draft"
    PRECHECKS = "prechecks"
    RUNNING = "running"
    PAUSED = "paused"
    PROMOTING = "promoting"
    SUCCEEDED = "succeeded"
    ROLLING_BACK = "rolling_back"
    ROLLED_BACK = "rolled_back"
    SUPERSEDED = "superseded"


ENDED: Final = frozenset({Phase.SUCCEEDED, Phase.ROLLED_BACK, Phase.SUPERSEDED})
"""Nobody looks at these any more."""
UNDER_WAY: Final = frozenset({Phase.PROMOTING, Phase.ROLLING_BACK})
"""Only the router's word is waited for; there is nothing to look at."""
UNBEGUN: Final = frozenset({Phase.DRAFT, Phase.PRECHECKS})
"""The version has had no share yet."""


class Pause(StrEnum):
    """The reasons for which a canary is paused."""

    INCONCLUSIVE = "inconclusive"
    MANUAL = "manual"
    BLIND = "blind"
    BUDGET = "budget"
    STABLE = "stable"
    PERMISSION = "permission"
    PRECHECKS = "prechecks"


class TrialMove(StrEnum):
    """The moves of the route that a look can decide."""

    ADVANCE = "advance"
    PROMOTE = "promote"
    ROLLBACK = "rollback"


class OnBlind(StrEnum):
    """The ways to end a canary that cannot be measured."""

    ROLLBACK = "rollback"
    HOLD = "hold"


class OrderKind(StrEnum):
    """The orders a person may give a canary."""

    PAUSE = "pause"
    RESUME = "resume"
    PROMOTE = "promote"
    ABORT = "abort"
    SUPERSEDE = "supersede"


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryStep:
    """A share of the traffic and what it takes to go on from it.

    weight
        In (0, 1); 0 is a shadow: it answers copies of requests and nobody sees the answers.
    lasts
        At least so long, and at most ``1 + extensions`` times that.
    requests
        At least so many of either arm in this step; pairs of a shadow.
    """

    weight: float
    lasts: timedelta
    requests: int

    @property
    def shadow(self) -> bool:
        """Whether the version only answers copies."""
        return self.weight == 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan:
    """The rules of one canary, fixed when it is made.

    extensions
        How often an undecided step is given its time again before a person is asked.
    blind_looks
        Looks in a row without a measurement that are borne; one more pauses.
    blind_max
        After so long without a measurement the stable arm gets everything.
    """

    steps: tuple[CanaryStep, ...]
    extensions: int = 3
    blind_looks: int = 4
    blind_max: timedelta = timedelta(minutes=60)
    on_blind: OnBlind = OnBlind.ROLLBACK

    @property
    def processes(self) -> int:
        """In how many ways its arms are compared, each with its part of the false rollbacks.

        Pairs are a process of their own.
        """
        return len({step.shadow for step in self.steps})


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryState:
    """Everything the machine remembers.

    step, weight, placed
        Index of the step and the share that the route was given; ``placed``: the version is
        in the route because of this canary.
    since, begun_at
        When the phase, or the reason of a pause, began, and when its first step did; None
        before that.
    step_since, clock_since, stopped_at
        When the step began; the same, moved on by the time that it stood still; since when
        it stands still, if it does.
    extended
        How often the step was given its time again.
    proposal
        What it would do if it might.
    ready
        Whether the last look had every guardrail inside its margin, over enough requests.
    blind
        Looks in a row that measured nothing; ``seen_at`` is the last that did.
    unread_since
        Since when the route that it wrote was not read back from the router; None: it was.
    unverified
        Why that has lasted longer than ``read_back``, as people are told; None: it has not.
    latched
        It was rolled back: only a person lets the version try again.
    asked
        It ended, or ends, because a person said so.
    """

    phase: Phase = Phase.DRAFT
    step: int = 0
    weight: float = 0.0
    placed: bool = False
    since: Moment | None = None
    begun_at: Moment | None = None
    step_since: Moment | None = None
    clock_since: Moment | None = None
    stopped_at: Moment | None = None
    extended: int = 0
    pause: Pause | None = None
    proposal: TrialMove | None = None
    ready: bool = False
    blind: int = 0
    seen_at: Moment | None = None
    unread_since: Moment | None = None
    unverified: str | None = None
    latched: bool = False
    asked: bool = False
    reason: str = "waits for its pre-checks"

    @property
    def ended(self) -> bool:
        """True if the canary never changes again by itself."""
        return self.phase in ENDED

    @property
    def unconfirmed(self) -> str | None:
        """Say why the router is not known to do what the route says; None: it is."""
        if self.unverified is None and self.unread_since is not None:
            return "the router was not read back yet"
        return self.unverified


class LookOutcome(StrEnum):
    """The outcome of all guardrails together."""

    FAILED = "failed"
    PASSED = "passed"
    UNSURE = "unsure"


class InRoute(StrEnum):
    """The version's place in the route, compared with what the canary wrote.

    ``expired`` is the canary's own term, ``over`` is a term that a person wrote.
    """

    OURS = "ours"
    EXPIRED = "expired"
    OVER = "over"
    CHANGED = "changed"
    IN_CHARGE = "in_charge"
    GONE = "gone"


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """A measurement in brief; requests are those of this step."""

    outcome: LookOutcome
    trial_requests: int
    control_requests: int
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Permission:
    """Whether the canary may move traffic by itself now.

    ``raising`` None: the weight may rise; otherwise the reason against it. ``lowering`` is
    the same for a return to weight 0. ``spent``: only the budget of rollbacks forbids it.
    """

    raising: str | None = None
    lowering: str | None = None
    spent: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class PrechecksLooked:
    """The pre-checks were looked at. ``passed`` None: something is not known yet."""

    passed: bool | None
    reason: str
    given_up: bool = False
    """It was waited for long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """Somebody looked. ``found`` None: nothing could be measured, ``trouble`` says why."""

    found: Found | None
    in_route: InRoute = InRoute.OURS
    in_route_reason: str = ""
    stable_firing: str | None = None
    permission: Permission = Permission()
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """The router was asked what it does; ``problem`` None: what the route says."""

    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """A person asks. ``force`` promotes what is not proven to be inside its margins."""

    order: OrderKind
    by: str
    why: str = ""
    force: bool = False


Event = PrechecksLooked | Looked | ReadBack | Ordered


def event_word(event: Event) -> str:
    """Name an event as looks are stored."""
    match event:
        case PrechecksLooked():
            return "checked"
        case Looked():
            return "looked"
        case ReadBack():
            return "read_back"
        case Ordered():
            return event.order.value
        case _:
            assert_never(event)


@dataclass(frozen=True, slots=True, kw_only=True)
class SetWeight:
    """Give the version this share; 0 takes it out of the route."""

    weight: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Mirror:
    """Let the version answer copies."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Promote:
    """Put the version in charge."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TakeBack:
    """Put the version in charge again that a promotion has replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """The route may stand for another ``blind_max``."""


Effect = SetWeight | Mirror | Promote | TakeBack | Renew
Effects = tuple[Effect, ...]


class NotPossible(Exception):  # noqa: N818 (named as what it is)
    """The order of a person is impossible in the canary's present state; the message says why."""


# met here once: alerts/message.py says why
msgspec.json.Decoder(CanaryState)
msgspec.json.Decoder(Plan)


def to_json(value: CanaryState | Plan) -> dict[str, object]:
    """Write a state or a plan as JSON-ready values."""
    return dict(msgspec.to_builtins(value))


def state_from_json(body: Mapping[str, object]) -> CanaryState:
    """Read what :func:`to_json` wrote; raises ValueError for a word it does not know."""
    try:
        return msgspec.convert(dict(body), CanaryState)
    except msgspec.ValidationError as error:
        raise ValueError(f"not the state of a canary: {error}") from error


def plan_from_json(body: Mapping[str, object]) -> Plan:
    """Read what :func:`to_json` wrote; raises ValueError where it is no plan."""
    try:
        return msgspec.convert(dict(body), Plan)
    except msgspec.ValidationError as error:
        raise ValueError(f"not the plan of a canary: {error}") from error

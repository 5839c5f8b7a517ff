"""The vocabulary of a canary: its state, its events and their effects. No rules."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Annotated, ClassVar, Final, TypeVar

import msgspec
from msgspec import Meta

_Kind = TypeVar("_Kind")
Moment = Annotated[datetime, Meta(tz=True)]
"""A time with its offset; a time without one is refused."""


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
"""Phases that receive no more looks."""
UNDER_WAY: Final = frozenset({Phase.PROMOTING, Phase.ROLLING_BACK})
"""Phases that wait only for the router, with no looks."""
UNBEGUN: Final = frozenset({Phase.DRAFT, Phase.PRECHECKS})
"""Phases before the version has a share."""
BEGUN: Final = frozenset(Phase) - UNBEGUN


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
    """A share of the traffic, and the conditions for the next step.

    weight
        In (0, 1); 0 is a shadow: it answers copies of requests and nobody sees the answers.
    lasts
        Least time of the step; the longest is ``1 + extensions`` times that.
    requests
        Least requests of either arm in this step; pairs for a shadow.
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
        How often an undecided step gets its time again before a person is asked.
    blind_looks
        Looks in a row without a measurement that are tolerated; one more pauses.
    blind_max
        After this time without a measurement the stable arm gets all traffic.
    """

    steps: tuple[CanaryStep, ...]
    extensions: int = 3
    blind_looks: int = 4
    blind_max: timedelta = timedelta(minutes=60)
    on_blind: OnBlind = OnBlind.ROLLBACK

    @property
    def processes(self) -> int:
        """The number of ways to compare the arms, each with its part of the false rollbacks.

        Pairs are a way of their own.
        """
        return len({step.shadow for step in self.steps})


@dataclass(frozen=True, slots=True, kw_only=True)
class CanaryState:
    """The stored state of the machine.

    step, weight, placed
        Index of the step and the share that the route was given; ``placed``: the version is
        in the route because of this canary.
    since, begun_at
        When the phase, or the reason of a pause, began, and when the first step did; None
        before that.
    step_since, clock_since, stopped_at
        When the step began; the same, later by the time spent in pauses; when the present
        pause began, if there is one.
    extended
        How often the step was given its time again.
    proposal
        The move that the canary would make if it were permitted.
    ready
        Whether the last look had every guardrail inside its margin, over enough requests.
    blind
        Looks in a row that measured nothing; ``seen_at`` is the last that did.
    eased_at
        When its last pause ended by itself; None once a person resumed it or its share rose.
    unread_since
        Since when the route that it wrote was not read back from the router; None: it was.
    unverified
        Why that has lasted longer than ``read_back``, as people are told; None: it has not.
    latched
        It was rolled back: only a person lets the version try again.
    asked
        It ended, or ends, because a person ordered it.
    worse
        It was rolled back because its answers were worse.
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
    eased_at: Moment | None = None
    unread_since: Moment | None = None
    unverified: str | None = None
    latched: bool = False
    asked: bool = False
    worse: bool = False
    reason: str = "waits for its pre-checks"

    @property
    def ended(self) -> bool:
        """True if the canary never changes again by itself."""
        return self.phase in ENDED

    @property
    def unconfirmed(self) -> str | None:
        """Say why it is unconfirmed that the router follows the route; None: it does."""
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
    """A measurement in brief; the numbers of requests are those of this step."""

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
    """The prechecks were run. ``passed`` None: a result is still unknown."""

    word: ClassVar[str] = "checked"
    passed: bool | None
    reason: str
    given_up: bool = False
    """The unknown result was awaited for long enough."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Looked:
    """A look was made. ``found`` None: nothing could be measured; ``trouble`` says why."""

    word: ClassVar[str] = "looked"
    found: Found | None
    in_route: InRoute = InRoute.OURS
    in_route_reason: str = ""
    stable_firing: str | None = None
    permission: Permission = Permission()
    trouble: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ReadBack:
    """The router was read back; ``problem`` None: it follows the route."""

    word: ClassVar[str] = "read_back"
    problem: str | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Ordered:
    """A person gave an order. ``force`` promotes a canary not proven to be inside its margins."""

    order: OrderKind
    by: str
    why: str = ""
    force: bool = False

    @property
    def word(self) -> str:
        return self.order.value


Event = PrechecksLooked | Looked | ReadBack | Ordered
"""Its ``word`` is the one under which its look is stored."""


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
    """Put the version in charge again that a promotion replaced."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Renew:
    """Extend the route's term by another ``blind_max``."""


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
    return _read(body, CanaryState, "state")


def plan_from_json(body: Mapping[str, object]) -> Plan:
    """Read what :func:`to_json` wrote; raises ValueError for any other body."""
    return _read(body, Plan, "plan")


def _read(body: Mapping[str, object], kind: type[_Kind], what: str) -> _Kind:
    try:
        return msgspec.convert(dict(body), kind)
    except msgspec.ValidationError as error:
        raise ValueError(f"not the {what} of a canary: {error}") from error

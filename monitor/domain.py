"""The terms of the service as frozen data, used by every other module.

Nothing here computes, reads a clock or does I/O. Times are aware UTC ``datetime``; durations are
``timedelta``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from typing import Final, NamedTuple, NewType

from alerts.types import Blame, Sureness, VerdictKind

AdapterId = NewType("AdapterId", int)
VersionId = NewType("VersionId", int)
ReferenceId = NewType("ReferenceId", int)
EvaluationId = NewType("EvaluationId", int)
TransitionId = NewType("TransitionId", int)
IncidentId = NewType("IncidentId", int)
ActionId = NewType("ActionId", int)
ChangeId = NewType("ChangeId", int)


FIRST_VERSION: Final = "v1"
"""Version of a served name without one: what is served now is its first."""
UNMEASURED: Final = "unmeasured"
"""The verdict of a fixed-text score after a suspicion, until it is probed."""


class VerdictSeverity(StrEnum):
    """The urgency of a verdict: a ticket waits for the morning, a page does not."""

    NONE = "none"
    TICKET = "ticket"
    PAGE = "page"


class Mark(StrEnum):
    """A person's judgement of an incident."""

    FALSE_PAGE = "false_page"
    ACCEPTED = "accepted"


class Mode(StrEnum):
    """How far Driftline may act by itself."""

    OBSERVE = "observe"
    APPROVE = "approve"
    AUTO = "auto"


class ArmKind(StrEnum):
    """The part of a version in a route."""

    STABLE = "stable"
    CANARY = "canary"
    FALLBACK = "fallback"
    SHADOW = "shadow"


SHADOWED: Final = ":shadow"
"""The suffix of a shadow's record id; before it comes the original's id."""


class EvaluationKind(StrEnum):
    """A kind of evaluation; each has its own interval."""

    HARD = "hard"
    LIVE = "live"
    PERPLEXITY = "perplexity"


class ChangeKind(StrEnum):
    """The kind of a declared change."""

    ENGINE = "engine"
    BASE = "base"
    ADAPTER = "adapter"
    PROMPT = "prompt"
    TRAFFIC = "traffic"
    OTHER = "other"


class ReferenceState(StrEnum):
    """The state of a reference."""

    BUILDING = "building"
    READY = "ready"
    FAILED = "failed"


class WeightsState(StrEnum):
    """The health of an adapter's weight files, found without asking the model."""

    HEALTHY = "healthy"
    SUSPECT = "suspect"
    BROKEN = "broken"
    UNREADABLE = "unreadable"


class Scope(StrEnum):
    """The rights of a key. Scopes do not contain each other, except that admin includes all.

    ``ask`` is for clients of adapters, at a gateway that asks for keys; the service does nothing
    for it.
    """

    INGEST = "ingest"
    READ = "read"
    OPERATE = "operate"
    ADMIN = "admin"
    ASK = "ask"


@dataclass(frozen=True, slots=True, kw_only=True)
class Adapter:
    """A LoRA adapter as clients ask for it."""

    id: AdapterId
    name: str
    owner: str | None = None
    tier: str = "standard"
    labels: Mapping[str, str] = field(default_factory=dict)
    runbook: str | None = None
    mode: Mode | None = None
    """None means the service's mode."""
    created_at: datetime

    @property
    def facts(self) -> Mapping[str, str]:
        """The facts that matchers read."""
        return facts_of(self.name, owner=self.owner, tier=self.tier, labels=self.labels)


def facts_of(
    name: str, *, owner: str | None, tier: str, labels: Mapping[str, str]
) -> dict[str, str]:
    """Return an adapter's facts for matching: its labels, and the fixed ones, which win."""
    return {**labels, "adapter": name, "owner": owner or "", "tier": tier}


@dataclass(frozen=True, slots=True, kw_only=True)
class Version:
    """One immutable set of adapter weights, served under its own model name."""

    id: VersionId
    adapter_id: AdapterId
    adapter: str
    name: str
    model: str
    parent: str | None = None
    uri: str | None = None
    sha256: str | None = None
    base_model: str | None = None
    metadata: Mapping[str, object] = field(default_factory=dict)
    registered_at: datetime

    @property
    def label(self) -> str:
        """``support@v7``, as messages and logs write it."""
        return f"{self.adapter}@{self.name}"


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """Half-open ``[start, end)`` in aware UTC."""

    start: datetime
    end: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Reference:
    """The frozen picture of an approved version."""

    id: ReferenceId
    version_id: VersionId
    generation: int
    state: ReferenceState
    approved_by: str | None = None
    """Who or what approved it: ``coverage`` or a key's name; None means provisional."""
    replaced: bool = False
    """True if it is in force only until a newer one that is being built is ready."""
    cause: str
    n_training: int = 0
    n_baseline: int = 0
    left_out: int = 0
    """Baseline lines of the upload that also occurred among the training lines."""
    span_days: float = 0.0
    encoder: str | None = None
    strata: Sequence[str] = ()
    progress: float = 0.0
    error: str | None = None
    created_at: datetime
    ready_at: datetime | None = None

    @property
    def provisional(self) -> bool:
        """True if not approved: then a change of distribution against it moves no traffic."""
        return self.approved_by is None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """One target of a route; weights are shares in ``[0, 1]`` that sum to 1."""

    arm: ArmKind
    version: str
    model: str
    weight: float


class Edition(NamedTuple):
    """A state of the route table; newer ones are greater.

    Generations restart when a table is restored, but then its epoch is newer.
    """

    epoch: int
    generation: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Route:
    """The route of an adapter. Generations only grow within an epoch."""

    adapter: str
    generation: int
    epoch: int = 0
    """The epoch of its table, in seconds since 1970; 0 if unknown."""
    arms: tuple[Arm, ...]
    reason: str
    since: datetime
    valid_until: datetime | None = None
    on_expiry: ArmKind = ArmKind.STABLE

    @property
    def edition(self) -> Edition:
        """The edition by which routers tell older from newer."""
        return Edition(self.epoch, self.generation)


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """The stored judgement of one adapter version, with its reason in numbers."""

    kind: VerdictKind
    severity: VerdictSeverity = VerdictSeverity.NONE
    blame: Blame = Blame.UNKNOWN
    sure: Sureness = Sureness.NOT_CONFIRMED
    probe_due: datetime | None = None
    """When the probe that can locate the change is due; None if none is awaited."""
    reason: str
    detectors: tuple[str, ...] = ()
    """The detectors that crossed and keep the verdict raised."""
    since: datetime
    onset: Interval | None = None
    """Earliest and latest start of the change that the evidence allows."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Transition:
    """A stored change of verdict."""

    version: Version
    before: VerdictKind
    after: Verdict
    at: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """How many records an interval holds, and when the newest of them was made."""

    count: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Recent:
    """Records of the last 24 h: when the newest was made, and how many can be compared.

    ``compared`` may be any number that is enough where there are more.
    """

    compared: int
    last_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Arrival:
    """One number of feedback that no window has read yet."""

    id: int
    record_id: str
    at: float
    name: str
    value: float
    context_id: int
    subject: bytes | None
    entered: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Unread:
    """Feedback that waits for a version, and the ids of what waits for records that never come."""

    arrivals: Sequence[Arrival] = ()
    lost: Sequence[int] = ()

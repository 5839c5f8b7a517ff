"""Who answers for an adapter, and what may change it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.domain import ArmKind
from monitor.views.shape import View
from monitor.views.vocabulary import BreakerWord


class ArmBody(View):
    """One target of a route."""

    arm: ArmKind
    version: str
    model: str
    weight: float


class RouteBody(View):
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

    by: str
    """A key's name, or what of Driftline did it."""


class BehindBody(View):
    """Since when a router does not go by the route in force, and why."""

    since: datetime
    why: str


class RouteDetail(RouteChange):
    """The route in force, and until when nobody but people changes it.

    Its ETag is epoch and generation: `"1764298000-7"`.
    """

    epoch: int
    """Of the table; a newer one counts, whatever the generation. Seconds since 1970 when it was
    opened."""
    hold_until: datetime | None
    behind: BehindBody | None
    """The router could not be told it; null: it was, or follows by itself."""


class EpochBody(View):
    """The epoch of the route table, and who opened it."""

    epoch: int
    since: datetime
    reason: str
    by: str


class KillSwitchBody(View):
    """Whether automatic actions are stopped, by the flag here or by file or environment."""

    on: bool
    reason: str
    actor: str | None
    at: datetime | None
    effective: bool
    effective_reason: str


class BreakerBody(View):
    """The state of an adapter's breaker, with its reason in numbers."""

    adapter: str
    state: BreakerWord
    version: str
    """The version in charge, by the route's stable arm."""
    answering: str
    """The version that has most of the traffic now."""
    since: datetime | None
    fallbacks: int
    """In a row; each doubles the hold before the next trial."""
    reason: str

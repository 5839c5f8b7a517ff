"""The pages that were promised, sent, and marked as a false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.domain import Mark
from monitor.views.coverage import CoverageBody
from monitor.views.shape import View


class AccountBody(View):
    """Counts of pages beside what was promised."""

    promised: float
    """False pages accepted in the period."""
    sent: int
    """New pages; repeats and copies are none."""
    marked_false: int
    accepted: int
    """Accepted as normal."""
    not_judged: int
    """Nobody has said whether they were false."""
    undelivered: int
    """Of `sent`: no receiver has taken them."""


class TierAccountBody(AccountBody):
    """The same of one tier."""

    tier: str


class PageBody(View):
    """One page; `adapter` null: of a fleet incident."""

    incident: int
    adapter: str | None
    version: str | None
    tier: str | None
    at: datetime
    summary: str
    delivered: bool
    marked: Mark | None


class WatchedBody(View):
    """What was compared of a version's requests; `least` null: no detector could compare any."""

    adapter: str
    version: str
    least: CoverageBody | None
    """The detector that compared the least."""
    blind_hours: float
    """How long its verdict was `blind`."""


class ReceiptBody(View):
    """The account of a month, or of the last 30 days."""

    month: str | None
    """null: the last 30 days."""
    start: datetime
    end: datetime
    """Now, where the month is not over."""
    total: AccountBody
    tiers: Sequence[TierAccountBody]
    """By the tier when the page was sent."""
    fleet: AccountBody
    """Pages of fleet incidents; no tier promises them."""
    pages: Sequence[PageBody]
    """The newest 1000, newest first."""
    coverage: Sequence[WatchedBody]
    """By version, the longest blind first; whole days in UTC."""
    notes: Sequence[str]
    """What these numbers cannot know."""

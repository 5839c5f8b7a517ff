"""The receipt of pages: what was promised, what was sent, and what on-call said of it.

The promise is about false pages. Which pages were false nobody knows but people, so the
receipt keeps three counts apart: marked as a false alarm, marked as the new normal, not judged.
"""

from __future__ import annotations

from calendar import monthrange
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.domain import Mark
from monitor.policy.budget import BudgetSettings, pages_of_adapter
from monitor.policy.coverage import Coverage
from monitor.policy.coverage_words import coverage_words, lasting, least
from monitor.store import coverage_days, pages, watching
from monitor.store.pages import SentPage

PERIOD: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class Account:
    """Promised and sent of a tier, of fleet incidents, or of all; counts are of pages.

    promised
        False pages accepted in the period; nothing is set aside for fleet incidents.
    """

    promised: float
    sent: int
    false: int
    accepted: int
    undelivered: int

    @property
    def not_judged(self) -> int:
        """Of these nobody has said anything: they may have been false or not."""
        return self.sent - self.false - self.accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """What a version's requests of the period were compared by.

    least
        The detector that compared the least of what it could; None: none could any.
    blind_for
        How long its verdict was ``blind``.
    """

    adapter: str
    version: str
    least: Coverage | None
    blind_for: timedelta

    @property
    def share(self) -> float | None:
        """Compared of the expected, in [0, 1]; None: not even one was expected."""
        return None if self.least is None else self.least.of_expected

    @property
    def whole(self) -> bool:
        """Whether nothing is to be told of it."""
        return not self.blind_for and (self.share is None or self.share >= 1.0)

    @property
    def text(self) -> str:
        """All of it in plain words."""
        blind = f"blind for {lasting(self.blind_for)}" if self.blind_for else ""
        compared = coverage_words(self.least) if self.least else ""
        return "; ".join(filter(None, (blind, compared)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One period's account; ``notes`` say in plain words what its numbers cannot know.

    start, end
        Half-open; of a month that is not over, ``end`` is now. Before the first version was
        registered nothing was promised.
    by_tier
        By the tier that an adapter had when its page was sent.
    fleet
        Pages of fleet incidents, which have no tier.
    """

    month: str | None
    start: datetime
    end: datetime
    total: Account
    by_tier: Mapping[str, Account]
    fleet: Account
    pages: Sequence[SentPage]
    notes: Sequence[str]


def read_receipt(
    tx: Connection, settings: BudgetSettings, *, month: str | None, now: datetime
) -> Receipt:
    """Account for a calendar month in UTC (``2026-11``), or for the last 30 days.

    Raises
    ------
    ValueError
        The month is none, or has not begun.
    """
    start, end = _period(month, now)
    since = pages.watched_since(tx)
    watched = timedelta() if since is None else max(timedelta(), end - max(start, since))
    share = watched / PERIOD
    found = pages.sent(tx, start=start, end=end)
    adapters = watching.adapters_by_tier(tx)
    tiers = sorted({*adapters, *(page.tier for page in found if page.tier is not None)})
    by_tier = {
        tier: _account(
            [page for page in found if page.tier == tier],
            promised=share
            * adapters.get(tier, 0)
            * pages_of_adapter(settings, tier, adapters=adapters),
        )
        for tier in tiers
    }
    total = _account(found, promised=share * settings.false_pages_per_30_days)
    return Receipt(
        month=month,
        start=start,
        end=end,
        total=total,
        by_tier=by_tier,
        fleet=_account([page for page in found if page.tier is None], promised=0.0),
        pages=found,
        notes=_notes(total, start=start, since=since),
    )


def read_watched(tx: Connection, *, start: datetime, end: datetime) -> list[Watched]:
    """Say what was compared of each version's requests, the longest blind first.

    By whole days in UTC. Cost: .3 s of CPU for 300 versions with requests on all of 30 days.
    """
    last = (end - timedelta(microseconds=1)).astimezone(UTC).date()
    lasted = coverage_days.blind_time(tx, start=start, end=end)
    found = [
        Watched(
            adapter=one.adapter,
            version=one.version,
            least=least(one.coverage),
            blind_for=lasted.get(one.version_id, timedelta()),
        )
        for one in coverage_days.totals(tx, first=start.astimezone(UTC).date(), last=last)
    ]
    return sorted(found, key=_least_watched)


def _least_watched(one: Watched) -> tuple[timedelta, float, str, str]:
    share = 1.0 if one.share is None else one.share
    return -one.blind_for, share, one.adapter, one.version


def _period(month: str | None, now: datetime) -> tuple[datetime, datetime]:
    if month is None:
        return now - PERIOD, now
    try:
        start = datetime.strptime(month, "%Y-%m").replace(tzinfo=UTC)
    except ValueError as error:
        raise ValueError(f"{month} is no month; write 2026-11") from error
    if start > now:
        raise ValueError(f"{month} has not begun")
    _, days = monthrange(start.year, start.month)
    return start, min(now, start + timedelta(days=days))


def _account(found: Sequence[SentPage], *, promised: float) -> Account:
    return Account(
        promised=promised,
        sent=len(found),
        false=sum(page.marked is Mark.FALSE_PAGE for page in found),
        accepted=sum(page.marked is Mark.ACCEPTED for page in found),
        undelivered=sum(not page.delivered for page in found),
    )


def _notes(total: Account, *, start: datetime, since: datetime | None) -> list[str]:
    notes = ["promised by the budget, tiers and watched adapters of now; earlier ones are not kept"]
    if since is not None and since > start:
        notes.append(f"counted from the first version on, registered {since:%Y-%m-%d %H:%M} UTC")
    if total.not_judged:
        notes.append(f"{total.not_judged} not judged: neither true nor false until on-call says so")
    if total.undelivered:
        notes.append(f"{total.undelivered} of the sent ones have not reached anybody")
    return notes

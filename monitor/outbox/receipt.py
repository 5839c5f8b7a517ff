"""The receipt of pages: how many were promised, sent, and how on-call judged them.

The promise is about false pages. Only people know which pages were false, so the receipt keeps
three counts apart: marked as a false alarm, marked as the new normal, not judged.
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
from monitor.store.evaluation import coverage_days
from monitor.store.incidents import pages
from monitor.store.incidents.pages import SentPage
from monitor.store.registry import watching

PERIOD: Final = timedelta(days=30)


@dataclass(frozen=True, slots=True, kw_only=True)
class ReceiptLine:
    """The pages promised and sent for a tier, for fleet incidents, or in total.

    promised
        False pages accepted in the period; fleet incidents have no budget of their own.
    """

    promised: float
    sent: int
    false: int
    accepted: int
    undelivered: int

    @property
    def not_judged(self) -> int:
        """Pages that nobody judged: they may have been false or not."""
        return self.sent - self.false - self.accepted


@dataclass(frozen=True, slots=True, kw_only=True)
class Watched:
    """The share of a version's requests in the period that was compared.

    least
        The detector that compared the smallest share of its requests; None if no detector could
        compare any.
    blind_for
        How long its verdict was ``blind``.
    """

    adapter: str
    version: str
    least: Coverage | None
    blind_for: timedelta

    @property
    def share(self) -> float | None:
        """The compared share of the expected requests, in [0, 1]; None if none was expected."""
        return None if self.least is None else self.least.of_expected

    @property
    def whole(self) -> bool:
        """True if the version was compared completely, so that there is nothing to report."""
        return not self.blind_for and (self.share is None or self.share >= 1.0)

    @property
    def text(self) -> str:
        """Blind time and coverage in plain words."""
        blind = f"blind for {lasting(self.blind_for)}" if self.blind_for else ""
        compared = coverage_words(self.least) if self.least else ""
        return "; ".join(filter(None, (blind, compared)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Receipt:
    """One period's receipt; ``notes`` state in plain words what its numbers cannot know.

    start, end
        Half-open; for the current month, ``end`` is now. Nothing was promised before the first
        version was registered.
    by_tier
        By the tier that each adapter had when its page was sent.
    fleet
        Pages of fleet incidents, which have no tier.
    """

    month: str | None
    start: datetime
    end: datetime
    total: ReceiptLine
    by_tier: Mapping[str, ReceiptLine]
    fleet: ReceiptLine
    pages: Sequence[SentPage]
    notes: Sequence[str]


def read_receipt(
    tx: Connection, settings: BudgetSettings, *, month: str | None, now: datetime
) -> Receipt:
    """Build the receipt of a calendar month in UTC (``2026-11``), or of the last 30 days.

    Raises
    ------
    ValueError
        The text is not a month, or the month has not begun.
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
    """Return how much of each version's requests was compared, the longest blind first.

    In whole days, UTC. Cost: .3 s of CPU for 300 versions with requests on all of 30 days.
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


def _account(found: Sequence[SentPage], *, promised: float) -> ReceiptLine:
    return ReceiptLine(
        promised=promised,
        sent=len(found),
        false=sum(page.marked is Mark.FALSE_PAGE for page in found),
        accepted=sum(page.marked is Mark.ACCEPTED for page in found),
        undelivered=sum(not page.delivered for page in found),
    )


def _notes(total: ReceiptLine, *, start: datetime, since: datetime | None) -> list[str]:
    notes = ["based on today's budget and adapters"]
    if since is not None and since > start:
        notes.append(f"counted from the first version on, registered {since:%Y-%m-%d %H:%M} UTC")
    if total.not_judged:
        notes.append(f"{total.not_judged} not judged: neither true nor false until on-call says so")
    if total.undelivered:
        notes.append(f"{total.undelivered} of the sent ones have not reached anybody")
    return notes

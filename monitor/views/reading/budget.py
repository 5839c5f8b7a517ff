"""The accepted false pages, as people see them: their division, their use, what they allow."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from detectors.expected_delay import Delay
from detectors.faults import Unit
from detectors.smallest_seen import POWER
from detectors.types import Process
from detectors.words import name_words
from monitor.evaluate.faults import size_words
from monitor.evaluate.outlook import Outlook, OutlookLine
from monitor.evaluate.plan import Planned, Sizes
from monitor.outbox.receipt import ReceiptLine, Watched, read_receipt, read_watched
from monitor.policy.budget import BudgetSettings, pages_of_adapter, weight
from monitor.policy.rounds import Round
from monitor.store import teams
from monitor.store.registry import versions, watching
from monitor.views.budget import (
    BudgetBody,
    DayEffectBody,
    DelayBody,
    DelaysBody,
    FaultPlanBody,
    PlannedBody,
    RoundBody,
    ShareBody,
    SizeBody,
    SizesBody,
    TierBody,
)
from monitor.views.reading import coverage
from monitor.views.reading.score import number
from monitor.views.receipt import AccountBody, PageBody, ReceiptBody, TierAccountBody, WatchedBody

HOUR: Final = timedelta(hours=1)
MOST_PAGES: Final = 1000


def read(
    tx: Connection, outlook: Outlook, *, now: datetime, adapter: str | None = None
) -> BudgetBody:
    """Read who has what of the budget, the blind detectors first."""
    settings = outlook.settings.budget
    rounds = outlook.rounds(tx, now=now)
    if teams.bound():  # the engines of its own versions alone
        own = {one.id for one in versions.fetch_all(tx)}
        rounds = tuple(one for one in rounds if not own.isdisjoint(one.versions))
    return BudgetBody.of(
        settings,
        tiers=_tiers(settings, watching.adapters_by_tier(tx)),
        items=[_share(line) for line in outlook.read(tx, now=now, adapter=adapter)],
        rounds=[_round(one) for one in rounds],
    )


def plan(adapter: str, found: Sequence[Planned]) -> FaultPlanBody:
    """Write the smallest faults that an adapter's baselines would show."""
    return FaultPlanBody(adapter=adapter, power=POWER, items=[_planned(one) for one in found])


def receipt(
    tx: Connection, settings: BudgetSettings, *, month: str | None, now: datetime
) -> ReceiptBody:
    """Read the account of a month, or of the last 30 days; ValueError where there is no month."""
    found = read_receipt(tx, settings, month=month, now=now)
    return ReceiptBody.of(
        found,
        total=_account(found.total),
        tiers=[TierAccountBody.of(_account(one), tier=name) for name, one in found.by_tier.items()],
        fleet=_account(found.fleet),
        pages=[PageBody.of(page, incident=page.incident_id) for page in found.pages[:MOST_PAGES]],
        coverage=[_watched(one) for one in read_watched(tx, start=found.start, end=found.end)],
    )


def _tiers(settings: BudgetSettings, adapters: Mapping[str, int]) -> list[TierBody]:
    return [
        TierBody(
            tier=tier,
            adapters=count,
            weight=None if settings.own_pages(tier) is not None else weight(settings, tier),
            pages_of_adapter=pages_of_adapter(settings, tier, adapters=adapters),
        )
        for tier, count in sorted(adapters.items())
    ]


def _share(line: OutlookLine) -> ShareBody:
    drifts = dict.fromkeys(drift for drift, _ in line.delays)
    return ShareBody.of(
        line,
        title=name_words(line.detector),
        pages_per_30_days=line.share.page,
        notices_per_30_days=line.share.notice,
        requests_per_day=line.per_day,
        minimum_detectable=number(line.minimum_detectable),
        delays={
            drift: DelaysBody(
                notice=_delay(line.delays[drift, Process.NOTICE]),
                page=_delay(line.delays[drift, Process.PAGE]) if line.share.page > 0.0 else None,
            )
            for drift in drifts
        },
        day_effect=line.days and DayEffectBody.of(line.days),
    )


def _round(found: Round) -> RoundBody:
    return RoundBody.of(
        found,
        versions=len(found.versions),
        wanted_hours=found.wanted / HOUR,
        period_hours=found.period / HOUR,
        text=str(found),
    )


def _delay(delay: Delay) -> DelayBody:
    return DelayBody(hours=number(delay.hours), requests=number(delay.units))


def _planned(one: Planned) -> PlannedBody:
    return PlannedBody.of(
        one,
        fault=one.words,
        requests_per_day=one.per_day,
        ticket=_sizes(one.ticket, one.unit),
        page=_sizes(one.page, one.unit),
    )


def _sizes(sizes: Sizes, unit: Unit) -> SizesBody:
    hour, day, week = (
        None if size is None else SizeBody(size=size, text=size_words(size, unit)) for size in sizes
    )
    return SizesBody(hour=hour, day=day, week=week)


def _account(account: ReceiptLine) -> AccountBody:
    return AccountBody.of(account, marked_false=account.false)


def _watched(one: Watched) -> WatchedBody:
    least = None if one.least is None else coverage.body(one.least, since={})
    return WatchedBody.of(one, least=least, blind_hours=one.blind_for / HOUR)

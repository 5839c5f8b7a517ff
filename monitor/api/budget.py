"""``/budget``: who has what of the accepted false pages, and what each detector would see."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from detectors.day_effect import Origin
from detectors.expected_delay import Delay, Drift
from detectors.types import Process
from monitor.api import answers, lookup
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.parts import Parts
from monitor.api.shapes import Answer
from monitor.evaluate.outlook import Line
from monitor.policy.budget import BudgetSettings, pages_of_adapter, weight
from monitor.policy.rounds import Round
from monitor.store import watching

HOUR: Final = timedelta(hours=1)
router: Final = APIRouter(prefix="/budget", tags=["budget"])


class DelayBody(Answer):
    """From the beginning of a drift to the evidence that crosses its line; null: not in 30 days."""

    hours: float | None
    requests: float | None


class DelaysBody(Answer):
    """How soon one drift is told, as a ticket and as a page; null: it has no such process."""

    notice: DelayBody | None
    page: DelayBody | None


class DayEffectBody(Answer):
    """By how much days are taken to differ."""

    sd: float = Field(description="In sd of a request's value.")
    origin: Origin = Field(description="Whose days: assumed, the fleet's, or its own few.")


class ShareBody(Answer):
    """One detector of one version: its part of the budget and what it would see."""

    adapter: str
    version: str
    tier: str
    detector: str = Field(description="`all detectors`: the version has no reference.")
    pages_per_30_days: float
    notices_per_30_days: float
    requests_per_day: float = Field(
        description="Those of the last day that it compares; the delays are those of them."
    )
    minimum_detectable: float | None = Field(
        description="Smallest effect seen within a day, in the detector's unit; null: none."
    )
    delays: Mapping[Drift, DelaysBody] = Field(
        description="A drift of the detector's first signal alone; those that it can have."
    )
    blind: str | None = Field(description="Why it sees nothing; null: it sees.")
    only_tickets: str | None = Field(description="Why it cannot page now; null: it can.")
    uncompared: str | None = Field(
        description="Which share of the requests it does not compare, and why: of them it"
        " promises nothing. null: none to speak of, or `blind` says it."
    )
    day_effect: DayEffectBody | None = Field(
        description="What the reference is too short to know; null: it has seen days and hours."
    )


class TierBody(Answer):
    """What the adapters of one tier get of the fleet's pages."""

    tier: str
    adapters: int
    weight: float | None = Field(description="null: it has pages of its own.")
    pages_of_adapter: float = Field(description="Accepted false pages of each in 30 days.")


class RoundBody(Answer):
    """One routine probe of each version of an engine, within the probes' share of its time."""

    engine: str
    versions: int
    seconds: float = Field(description="Of the engine's time, all versions together.")
    wanted_hours: float = Field(description="`schedule.perplexity_interval`.")
    period_hours: float = Field(description="How often each version is probed.")
    text: str


class BudgetBody(Answer):
    """How the accepted false pages and notices are divided, the blind detectors first."""

    false_pages_per_30_days: float
    notices_per_30_days: float = Field(description="Of each adapter without a number of its own.")
    tiers: Sequence[TierBody]
    items: Sequence[ShareBody]
    rounds: Sequence[RoundBody] = Field(description="Of each engine that was probed this week.")


@router.get("")
def get_budget(
    _key: Reader, parts: Parts, adapter: Annotated[Name | None, Query()] = None
) -> BudgetBody:
    """Show who has what of the budget, how soon what is seen, and who is blind."""

    def read(tx: Connection) -> BudgetBody:
        if adapter is not None:
            lookup.adapter(tx, adapter)
        lines = parts.outlook.read(tx, now=parts.clock(), adapter=adapter)
        settings = parts.outlook.settings.budget
        return BudgetBody(
            false_pages_per_30_days=settings.false_pages_per_30_days,
            notices_per_30_days=settings.notices_per_30_days,
            tiers=_tiers(settings, watching.adapters_by_tier(tx)),
            items=[_share(line) for line in lines],
            rounds=[_round(one) for one in parts.outlook.rounds(tx, now=parts.clock())],
        )

    return parts.database.run(read)


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


def _share(line: Line) -> ShareBody:
    drifts = dict.fromkeys(drift for drift, _ in line.delays)
    return ShareBody(
        adapter=line.adapter,
        version=line.version,
        tier=line.tier,
        detector=line.detector,
        pages_per_30_days=line.share.page,
        notices_per_30_days=line.share.notice,
        requests_per_day=line.per_day,
        minimum_detectable=answers.number(line.minimum_detectable),
        delays={
            drift: DelaysBody(
                notice=_delay(line.delays[drift, Process.NOTICE]),
                page=_delay(line.delays[drift, Process.PAGE]) if line.share.page > 0.0 else None,
            )
            for drift in drifts
        },
        blind=line.blind,
        only_tickets=line.only_tickets,
        uncompared=line.uncompared,
        day_effect=line.days and DayEffectBody(sd=line.days.sd, origin=line.days.origin),
    )


def _round(found: Round) -> RoundBody:
    return RoundBody(
        engine=found.engine,
        versions=len(found.versions),
        seconds=found.seconds,
        wanted_hours=found.wanted / HOUR,
        period_hours=found.period / HOUR,
        text=str(found),
    )


def _delay(delay: Delay) -> DelayBody:
    return DelayBody(hours=answers.number(delay.hours), requests=answers.number(delay.units))

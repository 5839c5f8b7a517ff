"""``/receipt``: the pages that were promised, sent, and marked as a false alarm."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from monitor.api import coverage
from monitor.api.access import Reader
from monitor.api.parts import Parts
from monitor.api.problems import Problem
from monitor.api.shapes import Answer, CoverageBody
from monitor.domain import Mark
from monitor.outbox.receipt import Account, Receipt, Watched, read_receipt, read_watched
from monitor.policy.budget import BudgetSettings
from monitor.store.pages import SentPage

router: Final = APIRouter(prefix="/receipt", tags=["budget"])

MOST_PAGES: Final = 1000


class AccountBody(Answer):
    """Counts of pages beside what was promised."""

    promised: float = Field(description="False pages accepted in the period.")
    sent: int = Field(description="New pages; repeats and copies are none.")
    marked_false: int
    accepted: int = Field(description="Marked as the new normal.")
    not_judged: int = Field(description="Nobody has said whether they were false.")
    undelivered: int = Field(description="Of `sent`: no receiver has taken them.")


class TierAccountBody(AccountBody):
    """The same of one tier."""

    tier: str


class PageBody(Answer):
    """One page; `adapter` null: of a fleet incident."""

    incident: int
    adapter: str | None
    version: str | None
    tier: str | None
    at: datetime
    summary: str
    delivered: bool
    marked: Mark | None


class WatchedBody(Answer):
    """What was compared of a version's requests; `least` null: no detector could compare any."""

    adapter: str
    version: str
    least: CoverageBody | None = Field(description="The detector that compared the least.")
    blind_hours: float = Field(description="How long its verdict was `blind`.")


class ReceiptBody(Answer):
    """The account of a month, or of the last 30 days."""

    month: str | None = Field(description="null: the last 30 days.")
    start: datetime
    end: datetime = Field(description="Now, where the month is not over.")
    total: AccountBody
    tiers: Sequence[TierAccountBody] = Field(description="By the tier when the page was sent.")
    fleet: AccountBody = Field(description="Pages of fleet incidents; no tier promises them.")
    pages: Sequence[PageBody] = Field(description=f"The newest {MOST_PAGES}, newest first.")
    coverage: Sequence[WatchedBody] = Field(
        description="By version, the longest blind first; whole days in UTC."
    )
    notes: Sequence[str] = Field(description="What these numbers cannot know.")


@router.get("")
def get_receipt(
    _key: Reader,
    parts: Parts,
    month: Annotated[
        str | None,
        Query(pattern=r"^\d{4}-\d{2}$", description="A calendar month in UTC; absent: 30 days."),
    ] = None,
) -> ReceiptBody:
    """Account for the pages of a month, or of the last 30 days."""
    settings, now = parts.outlook.settings.budget, parts.clock()
    try:
        return parts.database.run(lambda tx: _read(tx, settings, month=month, now=now))
    except ValueError as error:
        raise Problem(
            422,
            f"month: {error}",
            kind="invalid-request",
            errors=[{"detail": str(error), "parameter": "month"}],
        ) from error


def _read(
    tx: Connection, settings: BudgetSettings, *, month: str | None, now: datetime
) -> ReceiptBody:
    found = read_receipt(tx, settings, month=month, now=now)
    return _body(found, read_watched(tx, start=found.start, end=found.end))


def _body(found: Receipt, watched: Sequence[Watched]) -> ReceiptBody:
    return ReceiptBody(
        month=found.month,
        start=found.start,
        end=found.end,
        total=AccountBody(**_counts(found.total)),
        tiers=[TierAccountBody(tier=name, **_counts(one)) for name, one in found.by_tier.items()],
        fleet=AccountBody(**_counts(found.fleet)),
        pages=[_page(page) for page in found.pages[:MOST_PAGES]],
        coverage=[_watched(one) for one in watched],
        notes=found.notes,
    )


def _watched(one: Watched) -> WatchedBody:
    return WatchedBody(
        adapter=one.adapter,
        version=one.version,
        least=None if one.least is None else coverage.body(one.least, since={}),
        blind_hours=one.blind_for / timedelta(hours=1),
    )


def _counts(account: Account) -> dict[str, float | int]:
    return {
        "promised": account.promised,
        "sent": account.sent,
        "marked_false": account.false,
        "accepted": account.accepted,
        "not_judged": account.not_judged,
        "undelivered": account.undelivered,
    }


def _page(page: SentPage) -> PageBody:
    names = [name for name in PageBody.model_fields if name != "incident"]
    return PageBody(incident=page.incident_id, **{name: getattr(page, name) for name in names})

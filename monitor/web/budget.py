"""The contents of the budget page: a row for each version, its checks below it."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from monitor.evaluate.outlook import Outlook
from monitor.outbox.receipt import read_receipt, read_watched
from monitor.store import teams
from monitor.views.budget import DRIFTS
from monitor.views.reading import budget
from monitor.views.versions_seen import by_version

VERSIONS_A_PAGE: Final = 20
MOST_PAGES: Final = 20
MOST_UNCOMPARED: Final = 20


def read_budget(
    tx: Connection, outlook: Outlook, *, now: datetime, page: int = 1
) -> dict[str, Any]:
    """Read the versions' parts of the budget, those with most blind checks first.

    ``page`` counts from 1; a number beyond the last page means the last.
    """
    found = budget.read(tx, outlook, now=now)
    versions = by_version(found.items)
    last = max(1, -(-len(versions) // VERSIONS_A_PAGE))
    page = min(page, last)
    first = (page - 1) * VERSIONS_A_PAGE
    return {
        "versions": versions[first : first + VERSIONS_A_PAGE],
        "first": first,
        "of": len(versions),
        "page": page,
        "last": last,
        "drifts": list(DRIFTS.items())[::-1],
        "budget": found,
        **({"receipts": []} if teams.bound() else _receipts(tx, outlook, now=now)),
    }


def _receipts(tx: Connection, outlook: Outlook, *, now: datetime) -> dict[str, Any]:
    """Read the account of the whole fleet, which is promised to all of it together."""
    receipts = [
        read_receipt(tx, outlook.settings.budget, month=month, now=now)
        for month in (None, f"{now:%Y-%m}")
    ]
    watched = read_watched(tx, start=receipts[0].start, end=receipts[0].end)
    return {
        "receipts": receipts,
        "most_pages": MOST_PAGES,
        "uncompared": [one for one in watched if not one.whole],
        "most_uncompared": MOST_UNCOMPARED,
    }

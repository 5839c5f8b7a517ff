"""The contents of the budget page."""

from __future__ import annotations

from datetime import datetime
from typing import Any, Final

from sqlalchemy import Connection

from monitor.evaluate.outlook import Outlook
from monitor.outbox.receipt import read_receipt, read_watched
from monitor.policy.budget import pages_of_adapter
from monitor.store.registry import watching

LINES_A_PAGE: Final = 50
MOST_PAGES: Final = 20
MOST_UNCOMPARED: Final = 20


def read_budget(
    tx: Connection, outlook: Outlook, *, now: datetime, page: int = 1
) -> dict[str, Any]:
    """Read the budget's lines, the blind first, with each tier's part and the receipts.

    ``page`` counts from 1; a number beyond the last page means the last.
    """
    lines = outlook.read(tx, now=now)
    adapters = watching.adapters_by_tier(tx)
    settings = outlook.settings.budget
    tiers = [
        {
            "name": tier,
            "adapters": count,
            "pages": pages_of_adapter(settings, tier, adapters=adapters),
        }
        for tier, count in sorted(adapters.items())
    ]
    last = max(1, -(-len(lines) // LINES_A_PAGE))
    page = min(page, last)
    first = (page - 1) * LINES_A_PAGE
    receipts = [
        read_receipt(tx, settings, month=month, now=now) for month in (None, f"{now:%Y-%m}")
    ]
    watched = read_watched(tx, start=receipts[0].start, end=receipts[0].end)
    return {
        "lines": lines[first : first + LINES_A_PAGE],
        "first": first,
        "of": len(lines),
        "page": page,
        "last": last,
        "tiers": tiers,
        "settings": settings,
        "rounds": outlook.rounds(tx, now=now),
        "receipts": receipts,
        "most_pages": MOST_PAGES,
        "uncompared": [one for one in watched if not one.whole],
        "most_uncompared": MOST_UNCOMPARED,
    }

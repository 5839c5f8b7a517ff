"""``/receipt``: the pages promised, sent, and marked as false alarms."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query

from monitor.api.access import Reader
from monitor.api.parts import Parts
from monitor.api.problems import Problem
from monitor.views.reading import budget
from monitor.views.receipt import ReceiptBody

router: Final = APIRouter(prefix="/receipt", tags=["budget"])


@router.get("")
def get_receipt(
    _key: Reader,
    parts: Parts,
    month: Annotated[
        str | None,
        Query(pattern=r"^\d{4}-\d{2}$", description="A calendar month in UTC; absent: 30 days."),
    ] = None,
) -> ReceiptBody:
    """Show how many pages were promised, sent and false in a month, or in the last 30 days."""
    settings, now = parts.outlook.settings.budget, parts.clock()
    try:
        return parts.database.run(lambda tx: budget.receipt(tx, settings, month=month, now=now))
    except ValueError as error:
        raise Problem(
            422,
            f"month: {error}",
            kind="invalid-request",
            errors=[{"detail": str(error), "parameter": "month"}],
        ) from error

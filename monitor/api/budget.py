"""``/budget``: each detector's share of the accepted false pages, and its expected delay."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.parts import Parts
from monitor.views.budget import (
    BudgetBody,
)
from monitor.views.reading import budget

router: Final = APIRouter(prefix="/budget", tags=["budget"])


@router.get("")
def get_budget(
    _key: Reader, parts: Parts, adapter: Annotated[Name | None, Query()] = None
) -> BudgetBody:
    """Show who has what of the budget, how soon what is seen, and who is blind."""

    def read(tx: Connection) -> BudgetBody:
        if adapter is not None:
            lookup.adapter(tx, adapter)
        return budget.read(tx, parts.outlook, now=parts.clock(), adapter=adapter)

    return parts.database.run(read)

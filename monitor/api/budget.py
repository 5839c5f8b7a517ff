"""The accepted false pages: who has what of them, what they let an adapter see, what was sent."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import FleetReader, Reader
from monitor.api.bodies import Name
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.views.budget import BudgetBody, FaultPlanBody
from monitor.views.reading import budget
from monitor.views.receipt import ReceiptBody

router: Final = APIRouter(prefix="/v1", tags=["budget"])


@router.get("/budget")
def get_budget(
    _key: Reader, parts: Parts, adapter: Annotated[Name | None, Query()] = None
) -> BudgetBody:
    """Show who has what of the budget, how soon what is seen, and who is blind."""

    def read(tx: Connection) -> BudgetBody:
        if adapter is not None:
            lookup.adapter(tx, adapter)
        return budget.read(tx, parts.outlook, now=parts.clock(), adapter=adapter)

    return parts.database.run(read)


@router.get("/adapters/{adapter}/plan")
def get_plan(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    version: Annotated[Name | None, Query(description="One of its watched versions.")] = None,
) -> FaultPlanBody:
    """Show for each kind of fault the smallest one seen within an hour, a day and a week.

    From the version's own baseline, its traffic of the last day and its share of the accepted
    false pages, by the same evidence that opens tickets and pages. A fault of one signal alone.
    """

    def read(tx: Connection) -> FaultPlanBody:
        lookup.adapter(tx, adapter)
        if version is not None:
            lookup.version(tx, adapter, version)
        found = parts.plans.read(tx, adapter, now=parts.clock(), version=version)
        return budget.plan(adapter, found)

    return parts.database.run(read)


@router.get("/receipt")
def get_receipt(
    _key: FleetReader,
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

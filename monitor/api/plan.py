"""``/adapters/{a}/plan``: the smallest faults that an adapter's own baseline would show."""

from __future__ import annotations

from typing import Annotated, Final

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.views.budget import FaultPlanBody
from monitor.views.reading import budget

router: Final = APIRouter(prefix="/adapters", tags=["budget"])


@router.get("/{adapter}/plan")
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

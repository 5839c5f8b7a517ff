"""``/adapters/{a}/plan``: the smallest faults that an adapter's own baseline would show in time."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from detectors.smallest_seen import POWER
from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.bodies import Name
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.shapes import Answer
from monitor.evaluate.faults import Unit, size_words
from monitor.evaluate.plan import Planned, Sizes

router: Final = APIRouter(prefix="/adapters", tags=["budget"])


class SizeBody(Answer):
    """How small a fault may be."""

    size: float = Field(description="In the fault's unit.")
    text: str


class SizesBody(Answer):
    """The smallest fault that is told within each time; null: none is."""

    hour: SizeBody | None
    day: SizeBody | None
    week: SizeBody | None


class PlannedBody(Answer):
    """One kind of fault, as one version would see it."""

    version: str
    detector: str = Field(description="`all detectors`: the version has no reference.")
    fault: str
    unit: Unit
    requests_per_day: float | None = Field(
        description="Those of the last day that are compared; null: a probe, which needs none."
    )
    ticket: SizesBody
    page: SizesBody
    note: str | None = Field(
        description="Why it sees nothing or opens no page, or for which requests it promises"
        " nothing; of a probe, how often it is made."
    )


class PlanBody(Answer):
    """What the baselines of an adapter's watched versions would show."""

    adapter: str
    power: float = Field(
        description="Share of faults of the told size that are told in time, at least."
    )
    items: Sequence[PlannedBody]


@router.get("/{adapter}/plan")
def get_plan(
    _key: Reader,
    parts: Parts,
    adapter: AdapterName,
    version: Annotated[Name | None, Query(description="One of its watched versions.")] = None,
) -> PlanBody:
    """Give for each kind of fault the smallest one seen within an hour, a day and a week.

    From the version's own baseline, its traffic of the last day and its share of the accepted
    false pages, by the same evidence that opens tickets and pages. A fault of one signal alone.
    """

    def read(tx: Connection) -> PlanBody:
        lookup.adapter(tx, adapter)
        if version is not None:
            lookup.version(tx, adapter, version)
        found = parts.plans.read(tx, adapter, now=parts.clock(), version=version)
        return PlanBody(adapter=adapter, power=POWER, items=[_planned(one) for one in found])

    return parts.database.run(read)


def _planned(one: Planned) -> PlannedBody:
    return PlannedBody(
        version=one.version,
        detector=one.detector,
        fault=one.words,
        unit=one.unit,
        requests_per_day=one.per_day,
        ticket=_sizes(one.ticket, one.unit),
        page=_sizes(one.page, one.unit),
        note=one.note,
    )


def _sizes(sizes: Sizes, unit: Unit) -> SizesBody:
    hour, day, week = (
        None if size is None else SizeBody(size=size, text=size_words(size, unit)) for size in sizes
    )
    return SizesBody(hour=hour, day=day, week=week)

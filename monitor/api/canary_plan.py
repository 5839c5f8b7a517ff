"""``/adapters/{a}/canary-plan``: the plan of a canary that will be decided."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import Annotated, Final

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field
from sqlalchemy import Connection

from detectors.trial_plan import Wanted, choices, choose
from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.store.records import capture_counts
from monitor.traffic.trial.foresight import foresee_ways, step_of
from monitor.traffic.trial.guards import as_equals
from monitor.views.canary import CanaryPlanBody
from monitor.views.reading.canary import choice, way

router: Final = APIRouter(prefix="/adapters", tags=["canaries"])

_DAY: Final = timedelta(days=1)


class PlanQuery(BaseModel):
    """What the canary is to find out."""

    model_config = ConfigDict(extra="forbid")

    drop: float = Field(0.1, description="Fall of the success rate that must be seen.")
    rate: float = Field(0.85, description="Share of requests that succeed now.")
    margin: float = Field(0.05, description="Fall up to which a canary may be promoted.")
    critical: bool = Field(False, description="Any proven fall rolls back.")
    guardrails: int | None = Field(
        None,
        description="Metrics that are watched, each with the same share of the false alarms;"
        " absent: as a canary of the adapter divides them.",
    )
    within_days: float = Field(3.0, gt=0.0, le=3650.0)
    requests_per_day: float | None = Field(
        None, description="Of the adapter; absent: those of the last 24 hours."
    )

    def wanted(self, *, counted: int, watched: int) -> Wanted:
        """Combine the query with the counted traffic; ValueError where it makes no sense."""
        given = self.requests_per_day
        return Wanted(
            rate=self.rate,
            drop=self.drop,
            margin=self.margin,
            critical=self.critical,
            guardrails=watched if self.guardrails is None else self.guardrails,
            requests_per_day=float(counted) if given is None else given,
        )


@router.get("/{adapter}/canary-plan")
def get_canary_plan(
    _key: Reader, parts: Parts, adapter: AdapterName, query: Annotated[PlanQuery, Query()]
) -> CanaryPlanBody:
    """Choose the smallest weight that brings a verdict in time at this adapter's traffic.

    `ways` sets the steps of the config, the chosen weight and a shadow beside each other, by what
    the version in charge recorded in the last 24 hours.
    """
    now = parts.clock()
    counted = parts.database.run(lambda tx: _requests(tx, adapter, since=now - _DAY))
    try:
        guards = parts.orders.guards(adapter)
        wanted = query.wanted(counted=counted, watched=as_equals(guards))
    except ValueError as error:
        raise Problem(422, str(error), kind="invalid-request") from error
    found = choices(wanted)
    chosen = choose(found, within_days=query.within_days)
    ways = parts.database.run(
        lambda tx: foresee_ways(
            tx,
            adapter,
            guards,
            settings=parts.orders.settings,
            now=now,
            requests_per_day=query.requests_per_day,
            one=None if chosen is None else step_of(chosen),
        )
    )
    return CanaryPlanBody(
        **query.model_dump(exclude={"requests_per_day", "guardrails"}),
        adapter=adapter,
        guardrails=wanted.guardrails,
        requests_per_day=wanted.requests_per_day,
        measured=query.requests_per_day is None,
        chosen=None if chosen is None else chosen.weight,
        choices=[choice(one, wanted, now=now) for one in found],
        ways=[way(one) for one in ways],
    )


def _requests(tx: Connection, adapter: str, *, since: datetime) -> int:
    known = lookup.adapter(tx, adapter)
    return capture_counts.requests(tx, adapter_id=known.id, since=since)

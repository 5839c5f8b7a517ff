"""``/adapters/{a}/breaker``: where an adapter's fallback breaker stands, and what it waits for."""

from __future__ import annotations

from datetime import datetime
from typing import Final

from fastapi import APIRouter
from pydantic import Field
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.api.shapes import Answer
from monitor.traffic.fallback.machine import BreakerState
from monitor.traffic.fallback.standing import Standing

router: Final = APIRouter(prefix="/adapters", tags=["routing"])


class BreakerBody(Answer):
    """The state of an adapter's breaker, with its reason in numbers."""

    adapter: str
    state: BreakerState
    version: str = Field(description="The version in charge, by the route's stable arm.")
    answering: str = Field(description="The version that has most of the traffic now.")
    since: datetime | None
    fallbacks: int = Field(description="In a row; each doubles the hold before the next trial.")
    reason: str


@router.get("/{adapter}/breaker")
def get_breaker(_key: Reader, parts: Parts, adapter: AdapterName) -> BreakerBody:
    """Say where an adapter's breaker stands and what it waits for."""

    def read(tx: Connection) -> Standing | None:
        lookup.adapter(tx, adapter)
        return parts.approver.standing(tx, adapter, now=parts.clock())

    found = parts.database.run(read)
    if found is None:
        raise Problem(404, f"Adapter {adapter} has no route.", kind="unknown-route")
    return BreakerBody(
        adapter=adapter,
        state=found.state,
        version=found.version,
        answering=found.answering,
        since=found.since,
        fallbacks=found.fallbacks,
        reason=found.reason,
    )

"""``/adapters/{a}/breaker``: the state of an adapter's fallback breaker, and its next step."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from sqlalchemy import Connection

from monitor.api import lookup
from monitor.api.access import Reader
from monitor.api.parts import Parts
from monitor.api.paths import AdapterName
from monitor.api.problems import Problem
from monitor.traffic.fallback.standing import BreakerStanding
from monitor.views.route import BreakerBody

router: Final = APIRouter(prefix="/adapters", tags=["routing"])


@router.get("/{adapter}/breaker")
def get_breaker(_key: Reader, parts: Parts, adapter: AdapterName) -> BreakerBody:
    """Say where an adapter's breaker stands and what it waits for."""

    def read(tx: Connection) -> BreakerStanding | None:
        lookup.adapter(tx, adapter)
        return parts.approver.standing(tx, adapter, now=parts.clock())

    found = parts.database.run(read)
    if found is None:
        raise Problem(404, f"Adapter {adapter} has no route.", kind="unknown-route")
    return BreakerBody.of(found, adapter=adapter)

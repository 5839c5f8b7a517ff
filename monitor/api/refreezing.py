"""``/references/refreeze``: new references for many adapters in one request."""

from __future__ import annotations

from datetime import timedelta
from typing import Final

from fastapi import APIRouter

from monitor.api.access import Operator
from monitor.api.bodies import RefreezeRequest
from monitor.api.parts import Parts
from monitor.domain import Interval
from monitor.reference.refreeze import refreeze
from monitor.views.reference import RefreezeBody, RefrozenBody
from monitor.views.score import WindowBody

router: Final = APIRouter(prefix="/references", tags=["reference"])


@router.post("/refreeze", status_code=202)
def post_refreeze(key: Operator, parts: Parts, body: RefreezeRequest) -> RefreezeBody:
    """Freeze the last days of many adapters; what fails for one loses no other's."""
    now = parts.clock()
    window = Interval(start=now - timedelta(days=body.days), end=now)
    rows = refreeze(parts.database, match=body.match, window=window, cause=body.cause, by=key.name)
    return RefreezeBody(window=WindowBody.of(window), items=[RefrozenBody.of(row) for row in rows])

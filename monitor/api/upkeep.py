"""``/retention``: the time by which old data is deleted, and data that is held back."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from sqlalchemy import Connection

from monitor.api.access import Admin, FleetReader
from monitor.api.parts import Parts
from monitor.store import audit, clock
from monitor.views.service import RetentionBody

router: Final = APIRouter(prefix="/v1/retention", tags=["health"])


@router.get("")
def get_retention(_key: FleetReader, parts: Parts) -> RetentionBody:
    """Show up to when old data is deleted, and what holds deletions up."""
    known = parts.database.run(clock.read)
    held = parts.database.run(clock.held)
    return RetentionBody(
        looked_at=known.seen if known else None,
        reached=known.reached if known else None,
        withheld=held.reason,
        would_drop=held.would_drop,
    )


@router.post("/confirm")
def post_confirm(key: Admin, parts: Parts) -> RetentionBody:
    """Confirm the database's clock; deletions then catch up with it by a day an hour."""

    def work(tx: Connection) -> None:
        ahead = clock.confirm(tx)
        details = {"ahead_seconds": ahead.total_seconds()}
        audit.append(tx, actor=key.name, act="retention.confirm", subject="clock", details=details)

    parts.database.run(work)
    return get_retention(key, parts)

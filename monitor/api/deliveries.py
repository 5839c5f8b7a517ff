"""``/deliveries``: every message, whether it arrived, and sending a dead one again."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from pydantic import Field
from sqlalchemy import Connection

from monitor.api import paging
from monitor.api.access import Operator, Reader
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.api.problems import Problem
from monitor.api.shapes import Answer, Page
from monitor.store import audit, deliveries
from monitor.store.deliveries import DeliveryRow
from monitor.store.outbox import DeliveryState

router: Final = APIRouter(prefix="/deliveries", tags=["incidents"])


class DeliveryBody(Answer):
    """One message for one channel. Its text stays with the receiver: only words are shown."""

    delivery: UUID
    message: UUID = Field(
        description="The id that its receiver sees; one for what is told together."
    )
    channel: str
    incident: int | None
    state: DeliveryState
    status: str | None
    severity: str | None
    summary: str | None
    attempts: int
    last_error: str | None
    created_at: datetime
    next_at: datetime
    delivered_at: datetime | None


def delivery_body(row: DeliveryRow) -> DeliveryBody:
    """Write a message without its body, which may carry prompt text where people opted in."""
    return DeliveryBody(
        delivery=row.id,
        message=row.message,
        channel=row.channel,
        incident=row.incident_id,
        state=row.state,
        status=_word(row, "status"),
        severity=_word(row, "severity"),
        summary=_word(row, "summary"),
        attempts=row.attempts,
        last_error=row.last_error,
        created_at=row.created_at,
        next_at=row.next_at,
        delivered_at=row.delivered_at,
    )


def _word(row: DeliveryRow, name: str) -> str | None:
    found = row.alert.get(name)
    return found if isinstance(found, str) else None


@router.get("")
def get_deliveries(
    _key: Reader,
    parts: Parts,
    state: Annotated[DeliveryState | None, Query()] = None,
    cursor: Cursor = None,
    limit: Limit = DEFAULT_LIMIT,
) -> Page[DeliveryBody]:
    """List messages, newest first."""
    before = paging.before_id(cursor)
    rows = parts.database.run(
        lambda tx: deliveries.newest(tx, state=state, before_seq=before, limit=limit + 1)
    )
    return Page(
        items=[delivery_body(row) for row in rows[:limit]],
        next=paging.encode(rows[limit - 1].seq) if len(rows) > limit else None,
    )


@router.post("/{delivery}/replay", status_code=202)
def replay(key: Operator, parts: Parts, delivery: UUID) -> DeliveryBody:
    """Queue a dead message again, with its id, all its attempts, and what was sent with it."""

    def work(tx: Connection) -> DeliveryBody:
        replayed = deliveries.replay(tx, delivery)
        row = deliveries.fetch(tx, delivery)
        if row is None:
            raise Problem(404, f"There is no delivery {delivery}.", kind="unknown-delivery")
        if not replayed:
            raise Problem(
                409,
                f"Delivery {delivery} is {row.state}; only dead ones are replayed.",
                kind="delivery-not-dead",
            )
        audit.append(tx, actor=key.name, act="delivery.replay", subject=str(delivery))
        return delivery_body(row)

    return parts.database.run(work)

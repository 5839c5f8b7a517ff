"""``/deliveries``: every message with its attempts, and sending a dead one again."""

from __future__ import annotations

from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Query
from sqlalchemy import Connection

from monitor.api import paging
from monitor.api.access import Operator, Reader
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import Parts
from monitor.api.problems import Problem
from monitor.store import audit
from monitor.store.incidents import deliveries
from monitor.store.incidents.outbox import DeliveryState
from monitor.views.message import DeliveryBody
from monitor.views.reading.message import delivery as delivery_view
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/deliveries", tags=["incidents"])


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
    return paging.page(rows, limit, delivery_view, place=lambda row: (row.seq,))


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
        return delivery_view(row)

    return parts.database.run(work)

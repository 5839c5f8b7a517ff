"""``/channels`` and ``/deliveries``: channels, testing one, messages, and sending one again."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import Annotated, Final
from uuid import UUID

from fastapi import APIRouter, Path, Query
from sqlalchemy import Connection
from starlette.concurrency import run_in_threadpool

from alerts.message import Alert
from alerts.types import Severity
from monitor.api import paging
from monitor.api.access import Admin, FleetOperator, FleetReader, Reader
from monitor.api.paging import DEFAULT_LIMIT, Cursor, Limit
from monitor.api.parts import ApiParts, Parts
from monitor.api.problems import Problem
from monitor.outbox import trial
from monitor.outbox.channels import ChannelFacts
from monitor.store import audit
from monitor.store.incidents import deliveries, receivers
from monitor.store.incidents.deliveries import DeliveryRow
from monitor.store.incidents.outbox import DeliveryState
from monitor.store.incidents.receivers import ChannelHealth
from monitor.views.message import ChannelBody, DeliveryBody, TrialBody
from monitor.views.reading.message import channel as channel_view
from monitor.views.reading.message import delivery as delivery_view
from monitor.views.shape import Page

router: Final = APIRouter(prefix="/v1", tags=["incidents"])

POLL_SECONDS: Final = 0.1

Told = Annotated[Severity, Query(description="`ticket` wakes nobody, `page` may.")]


@router.get("/channels")
def get_channels(_key: FleetReader, parts: Parts) -> Page[ChannelBody]:
    """List the configured channels."""
    health = parts.database.run(receivers.health)
    return Page(
        items=[
            channel_view(one, health.get(one.name, ChannelHealth())) for one in parts.known_channels
        ]
    )


@router.post("/channels/{channel}/test")
async def post_test(
    key: Admin,
    parts: Parts,
    channel: Annotated[str, Path(max_length=128, description="Its name in the config.")],
    *,
    severity: Told = Severity.TICKET,
    wait: Annotated[float, Query(gt=0.0, le=30.0, description="Seconds for each message.")] = 30.0,
) -> TrialBody:
    """Send a message that says it is a test, and its end, through outbox and worker.

    Each is tried once, within ``wait``. Whether the channel's ``match`` would have accepted
    it does not matter.
    """
    known = _known(parts, channel)
    at = await run_in_threadpool(parts.clock)
    alerts = trial.trial_alerts(known.name, by=key.name, severity=severity, at=at)
    rows: list[DeliveryRow] = []
    for alert in alerts:
        message = await run_in_threadpool(_queue, parts, known.name, alert, key.name)
        rows.append(await _answered(parts, message, within=wait))
        if rows[-1].state is not DeliveryState.DELIVERED:
            break
    last = rows[-1]
    return TrialBody(
        channel=known.name,
        taken=last.state is DeliveryState.DELIVERED,
        answer=last.last_error or "taken",
        deliveries=[delivery_view(row) for row in rows],
    )


def _known(parts: ApiParts, name: str) -> ChannelFacts:
    for one in parts.known_channels:
        if one.name == name:
            return one
    raise Problem(404, f"No channel is named {name!r}.", kind="unknown-channel")


def _queue(parts: ApiParts, channel: str, alert: Alert, actor: str) -> UUID:
    def work(tx: Connection) -> UUID:
        audit.append(tx, actor=actor, act="channel.test", subject=channel)
        return trial.queue(tx, channel, alert)

    return parts.database.run(work)


async def _answered(parts: ApiParts, message: UUID, *, within: float) -> DeliveryRow:
    """Wait for the outcome of the first attempt; async, so that it occupies no thread."""
    clock = asyncio.get_running_loop().time
    deadline = clock() + within
    while True:
        look = trial.answered if clock() < deadline else trial.given_up
        row = await run_in_threadpool(_look, parts, message, look)
        if row is not None:
            return row
        await asyncio.sleep(POLL_SECONDS)


def _look(
    parts: ApiParts, message: UUID, look: Callable[[Connection, UUID], DeliveryRow | None]
) -> DeliveryRow | None:
    return parts.database.run(lambda tx: look(tx, message))


@router.get("/deliveries")
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


@router.post("/deliveries/{delivery}/replay", status_code=202)
def replay(key: FleetOperator, parts: Parts, delivery: UUID) -> DeliveryBody:
    """Queue a dead message again, with its id, all its attempts, and what was sent with it.

    That may be of several teams.
    """

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

"""``/livez`` and ``/readyz``: cheap, and open to everyone.

``/livez`` says that this process answers. ``/readyz`` says that it does its work: the
database answers, the schema is the one this code knows, the loops turn, and due messages
are being sent. Its answer is kept for a second, so a flood of probes costs one check a
second, and it waits at most two seconds for the database.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import sqlalchemy as sa
from anyio import CapacityLimiter, to_thread
from fastapi import APIRouter, FastAPI, Request
from fastapi.responses import Response

from monitor.api.answering import answered
from monitor.store import backlog, schema
from monitor.store.database import Database
from monitor.store.room import DISK_FULL
from monitor.views.service import Readiness

router: Final = APIRouter(tags=["health"])

KEPT_SECONDS: Final = 1.0
DATABASE_SECONDS: Final = 2.0
MISSED_TURNS: Final = 3
SHORTEST_SILENCE: Final = timedelta(seconds=5)

OPEN: Final[dict[str, Any]] = {"security": []}


@dataclass(frozen=True, slots=True, kw_only=True)
class Beat:
    """A loop that must keep turning; ``last`` gives monotonic seconds of its last turn."""

    last: Callable[[], float]
    every: timedelta


@dataclass(frozen=True, slots=True, kw_only=True)
class Vitals:
    """What this process needs to do its work.

    ``beats`` names its loops (none where no scheduler runs); ``delivery_lag`` is how long a due
    message of ``channels`` (None: of any) may stay untouched, where it is this process that
    ``delivers``.
    """

    database: Database
    version: str
    beats: Mapping[str, Beat] = field(default_factory=dict)
    channels: frozenset[str] | None = None
    delivers: bool = True
    delivery_lag: timedelta = timedelta(minutes=5)


@dataclass(slots=True)
class Probe:
    """The last readiness answer, and the one thread that computes the next."""

    limiter: CapacityLimiter
    lock: asyncio.Lock
    checked: float = -KEPT_SECONDS
    at_head: bool = False
    reasons: tuple[str, ...] = ()


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    """Create the probe of one application, inside its event loop."""
    # Its own limiter: sixty slow requests in the thread pool must not make us look dead.
    app.state.probe = Probe(limiter=CapacityLimiter(2), lock=asyncio.Lock())
    yield


def create_health_app(vitals: Vitals) -> FastAPI:
    """Build the application of a process that answers about its health and nothing else."""
    app = FastAPI(
        docs_url=None,
        redoc_url=None,
        openapi_url=None,
        redirect_slashes=False,
        lifespan=lifespan,
        telemetry={"auto_configure": False, "logs": False, "metrics": False, "tracing": False},
        routes=router.routes,
    )
    app.state.vitals = vitals
    return app


@router.get("/livez", openapi_extra=OPEN)
async def live() -> dict[str, str]:
    """Answer that this process is alive."""
    return {"status": "alive"}


@router.get(
    "/readyz",
    openapi_extra=OPEN,
    response_model=Readiness,
    responses={503: {"model": Readiness, "description": "Not ready, with the reasons."}},
)
async def ready(request: Request) -> Response:
    """Answer whether this process does its work, with the reasons where it does not."""
    probe: Probe = request.app.state.probe
    vitals: Vitals = request.app.state.vitals
    async with probe.lock:
        if time.monotonic() - probe.checked >= KEPT_SECONDS:
            probe.reasons = await _reasons(vitals, probe)
            probe.checked = time.monotonic()
    body = Readiness(ready=not probe.reasons, version=vitals.version, reasons=probe.reasons)
    return answered(body, status=503 if probe.reasons else 200)


async def _reasons(vitals: Vitals, probe: Probe) -> tuple[str, ...]:
    silent = tuple(filter(None, (_silent(name, beat) for name, beat in vitals.beats.items())))
    try:
        async with asyncio.timeout(DATABASE_SECONDS):
            stored = await to_thread.run_sync(
                _stored, vitals, probe, abandon_on_cancel=True, limiter=probe.limiter
            )
    except TimeoutError:
        stored = (f"the database did not answer within {DATABASE_SECONDS:g} s",)
    return silent + stored


def _silent(name: str, beat: Beat) -> str | None:
    silence = timedelta(seconds=time.monotonic() - beat.last())
    if silence <= max(MISSED_TURNS * beat.every, SHORTEST_SILENCE):
        return None
    return f"the {name} has not turned for {silence.total_seconds():.0f} s"


def _stored(vitals: Vitals, probe: Probe) -> tuple[str, ...]:
    if vitals.database.room.full():
        return (DISK_FULL,)
    try:
        with vitals.database.begin() as tx:
            # checked until true: a newer daemon may migrate further while this one still runs
            probe.at_head = probe.at_head or schema.at_head(tx)
            if not probe.at_head:
                return ("the database's schema is not at this version's head; run the migrations",)
            if not vitals.delivers:
                return ()
            late = backlog.untouched_seconds(tx, channels=vitals.channels)
    except sa.exc.SQLAlchemyError as error:
        return (f"the database does not answer ({type(error).__name__})",)
    if late > vitals.delivery_lag.total_seconds():
        return (f"a message has been due for {late:.0f} s and nobody sends it",)
    return ()

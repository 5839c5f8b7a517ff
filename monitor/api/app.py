"""The application: routes, middleware and error handlers in one place."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator
from typing import Final

from fastapi import APIRouter, FastAPI
from fastapi.responses import PlainTextResponse, Response
from fastapi.routing import APIRoute
from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Gauge
from starlette.routing import BaseRoute

from monitor.api import (
    actions,
    adapters,
    admissions,
    audit,
    budget,
    canaries,
    changes,
    channels,
    evaluations,
    health,
    incidents,
    keys,
    metrics,
    problems,
    records,
    references,
    refusals,
    reports,
    requests,
    retraining,
    routes,
    scores,
    selftests,
    silences,
    upkeep,
)
from monitor.api.access import KeyGate, Reader
from monitor.api.deadline import Deadline
from monitor.api.exchange import ExchangeMiddleware
from monitor.api.limits import LimitBody
from monitor.api.parts import ApiParts, Dashboard
from monitor.api.paths import KeepSlashes
from monitor.exposition import exposition, new_registry
from monitor.store.registry import adapters as stored_adapters

ENDPOINTS: Final = (
    records.router,
    adapters.router,
    admissions.router,
    references.router,
    references.of_fleet,
    scores.router,
    scores.of_fleet,
    requests.router,
    evaluations.router,
    selftests.router,
    reports.router,
    incidents.router,
    silences.router,
    changes.router,
    audit.router,
    routes.router,
    keys.router,
    actions.router,
    channels.router,
    budget.router,
    retraining.router,
    retraining.of_adapters,
    canaries.router,
    upkeep.router,
    health.router,
)


def create_app(parts: ApiParts, *, pages: Dashboard | None = None) -> FastAPI:
    """Build the application.

    Parameters
    ----------
    parts
        Its parts; the caller starts and stops them.
    pages
        The dashboard, which is at the root, and is not in the API's description.
    """
    registry = new_registry()
    names = [one.name for one in parts.known_channels]
    registry.register(metrics.StoredMetrics(parts.database, now=parts.clock, channels=names))
    Gauge(  # without labels: senders chose the names, which the log has
        "driftline_records_held",
        "Records that wait in this process for their version to be registered, or their team's",
        registry=registry,
    ).set_function(parts.intake.held)
    app = FastAPI(
        title="Driftline",
        version=parts.version,
        summary="Drift monitoring for LoRA adapters in production.",
        docs_url=None,  # these pages load scripts from a CDN; nothing here phones home
        redoc_url=None,
        redirect_slashes=False,  # a redirect would repeat the caller's own `Host`
        # its spans have paths and queries, its log the errors' texts; see monitor.tracing
        telemetry={"auto_configure": False, "logs": False, "metrics": False, "tracing": False},
        lifespan=health.lifespan,
        # themselves: a router that is included is built anew for each application
        routes=[
            *_summarised(*ENDPOINTS, _metrics_router(registry, parts)),
            *(pages.routes if pages else ()),
        ],
    )
    app.state.parts = parts
    app.state.vitals = parts
    app.state.gate = KeyGate(parts.database, told=parts.clock, settings=parts.access)
    if pages is not None:
        app.state.problem_page = pages.problem
    problems.install(app)
    records.install(app)
    refusals.install(app)
    # the last added is outermost
    app.add_middleware(KeepSlashes)
    app.add_middleware(LimitBody, limits=parts.limits)
    app.add_middleware(Deadline, limit=parts.deadline, longest_wait=parts.longest_wait)
    app.add_middleware(ExchangeMiddleware, registry=registry)
    return app


def _summarised(*routers: APIRouter) -> Iterator[BaseRoute]:
    """Give each endpoint its first clause as summary, in place of the function's name."""
    for route in (route for router in routers for route in router.routes):
        if isinstance(route, APIRoute):
            route.summary = first_clause(route.description)
        yield route


def first_clause(description: str) -> str:
    """Return what an endpoint does in brief, for the list of all of them.

    >>> first_clause("Hold messages back; what matches opens and ends as ever.")
    'Hold messages back'
    """
    return re.split(r"[.;:](?=\s|$)", description, maxsplit=1)[0].replace("`", "")


def _metrics_router(registry: CollectorRegistry, parts: ApiParts) -> APIRouter:
    router = APIRouter(tags=["health"])

    def scrape(own: Collection[str] | None = None) -> Response:
        return Response(exposition(registry, adapters=own), media_type=CONTENT_TYPE_LATEST)

    if parts.public_metrics:

        @router.get("/metrics", response_class=PlainTextResponse, openapi_extra=health.OPEN)
        def get_public_metrics() -> Response:
            """Show the metrics in Prometheus's text format; open to everyone by configuration."""
            return scrape()

    else:

        @router.get("/metrics", response_class=PlainTextResponse)
        def get_metrics(key: Reader) -> Response:
            """Show the metrics in Prometheus's text format; a team's key sees its adapters'."""
            if not key.match:
                return scrape()
            own = {one.name for one in parts.database.run(stored_adapters.fetch_all)}
            return scrape(own)

    return router

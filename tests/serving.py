"""The whole HTTP application on a real socket, over a real database."""

import threading
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import httpx2
import uvicorn
from fastapi import FastAPI
from fastapi.routing import APIRoute
from sqlalchemy import Connection

from alerts.outgoing import OutgoingClient, OutgoingPolicy
from detectors.feedback import Directions
from monitor.api.app import create_app
from monitor.capture.intake import Intake, Settings
from monitor.capture.queue import QueueBounds
from monitor.config.sections import Config
from monitor.config.showing import shown
from monitor.connections import Door
from monitor.domain import Mode, Route, Scope
from monitor.evaluate.outlook import Outlook
from monitor.evaluate.plan import Plans
from monitor.evaluate.retraining import Retrainings, RetrainSettings
from monitor.patience import ConnectionSettings
from monitor.probes.engines import Engines
from monitor.store.database import Database
from monitor.store.people import keys
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.fallback.changes import FallbackChanges
from monitor.traffic.killswitch import KillSwitch
from monitor.traffic.proof import Proof
from monitor.traffic.readback import Confirming
from monitor.traffic.routers.none import TableOnly
from monitor.traffic.settings import RoutingSettings
from monitor.traffic.trial.hands import Hands
from monitor.traffic.trial.orders import Orders
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.watch import RouteWatch
from monitor.web import WebParts, create_pages
from tests.loopback import LOOPBACK, PLAIN

SECRET = b"s" * 32


@dataclass(frozen=True, kw_only=True)
class Serving:
    """A running application and a key for each scope."""

    url: str
    app: FastAPI
    database: Database
    keys: Mapping[Scope, str]

    def client(self, *scopes: Scope, key: str | None = None) -> httpx2.Client:
        """A client with the key of the first scope; without any, none."""
        text = self.keys[scopes[0]] if scopes else key
        headers = {"authorization": f"Bearer {text}"} if text else {}
        return httpx2.Client(
            base_url=self.url, headers=headers, trust_env=False, verify=PLAIN, timeout=30
        )

    def described(self, *methods: str) -> Iterator[tuple[str, str]]:
        """Every path of these methods that the API publishes."""
        with self.client() as client:
            paths = client.get("/openapi.json").json()["paths"]
        for path, operations in paths.items():
            for method in operations:
                if method.upper() in methods:
                    yield method.upper(), path

    def pages(self, method: str) -> Iterator[str]:
        """Every path of the dashboard that takes this method."""
        for one in self.app.routes:
            if (
                isinstance(one, APIRoute)
                and method in (one.methods or ())
                and one.endpoint.__module__.startswith("monitor.web")
            ):
                yield one.path


@contextmanager
def serving(
    database: Database, folder: Path, *, port: int = 0, **overrides: Any
) -> Iterator[Serving]:
    """Serve the application until the body ends; ``overrides`` replace fields of WebParts."""
    intake = Intake(
        database,
        subject_key=b"k" * 32,
        settings=Settings(target_per_day=1_000_000, bounds=QueueBounds(linger=0.0)),
    )
    watch = RouteWatch(database)
    intake.start()
    watch.start()
    try:
        parts = _parts(database, folder, intake=intake, watch=watch, **overrides)
        app = create_app(parts, pages=create_pages(parts))
        with _listening(app, port) as url:
            yield Serving(url=url, app=app, database=database, keys=_keys(database))
    finally:
        watch.stop()
        assert intake.close()


def _parts(
    database: Database, folder: Path, *, intake: Intake, watch: RouteWatch, **overrides: Any
) -> WebParts:
    kill_switch = KillSwitch(folder, environ={})
    changes = FallbackChanges(settings=RoutingSettings())
    confirming = Confirming(database=database, router=TableOnly(database), log=changes)
    breaker = Breaker(
        database=database,
        settings=RoutingSettings(),
        mode=Mode.APPROVE,
        kill_switch=kill_switch,
        changes=changes,
        confirm=confirming.confirm,
        served=lambda _model: True,
    )
    outlook = Outlook(Config().evaluation, Config().schedule.cadences)
    fields: dict[str, Any] = {
        "database": database,
        "intake": intake,
        "watch": watch,
        "approver": breaker,
        "proof": proof_of(database),
        "orders": orders_of(database, kill_switch),
        "kill_switch": kill_switch,
        "outlook": outlook,
        "plans": Plans(outlook),
        "retrainings": Retrainings(
            database=database, settings=RetrainSettings(), clock=lambda: datetime.now(UTC)
        ),
        "version": "1.2.3",
        "secret": SECRET,
        "mode": Mode.APPROVE,
        "settings": shown(Config()),
    }
    return WebParts(**(fields | overrides))


def orders_of(database: Database, kill_switch: KillSwitch) -> Orders:
    """What people ask of canaries; every model is served, and promotions freeze nothing."""

    def promoted(tx: Connection, before: Route, after: Route, *, by: str, now: datetime) -> None:
        del tx, before, after, by, now

    hands = Hands(
        database=database,
        settings=CanarySettings(),
        mode=Mode.APPROVE,
        kill_switch=kill_switch,
        served=lambda _model: True,
        promoted=promoted,
    )
    return Orders(hands=hands, feedback=lambda _adapter: Directions(higher_is_better=("solved",)))


def proof_of(database: Database, *engines: str) -> Proof:
    """A proof by these engines on the loopback interface; without one nothing is asked."""
    client = OutgoingClient(OutgoingPolicy(allow=LOOPBACK))
    return Proof(
        database=database,
        router=TableOnly(database),
        engines=Engines(engines, client, headers={}),
    )


def _keys(database: Database) -> Mapping[Scope, str]:
    with database.begin() as tx:
        return {scope: keys.create(tx, name=f"for {scope}", scopes=[scope])[1] for scope in Scope}


@contextmanager
def _listening(app: FastAPI, port: int) -> Iterator[str]:
    config = uvicorn.Config(
        app,
        host="127.0.0.1",
        port=port,
        http=Door(ConnectionSettings()).protocol(),
        ws="none",
        proxy_headers=False,
        log_level="warning",
        timeout_graceful_shutdown=1,
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=server.run, name="uvicorn", daemon=True)
    thread.start()
    deadline = time.monotonic() + 20
    while not server.started:
        assert thread.is_alive(), "the server ended while starting"
        assert time.monotonic() < deadline, "the server did not start"
        time.sleep(0.01)
    port = server.servers[0].sockets[0].getsockname()[1]
    try:
        yield f"http://127.0.0.1:{port}"
    finally:
        server.should_exit = True
        thread.join(timeout=20)

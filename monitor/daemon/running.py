"""Start everything in order, serve until told to stop, stop everything in reverse."""

from __future__ import annotations

import asyncio
import signal
import threading
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing, suppress
from datetime import timedelta
from functools import partial
from importlib.metadata import version as installed_version
from types import FrameType

import structlog
import uvicorn
from fastapi import FastAPI

from monitor import tracing
from monitor.api.app import create_app
from monitor.api.health import Beat, Vitals, create_health_app
from monitor.capture.intake import Intake
from monitor.capture.subjects import load_key
from monitor.config.places import ServerSection
from monitor.config.routing import inside_of
from monitor.config.sections import Config
from monitor.config.showing import shown
from monitor.connections import Door, allow_files, fitted
from monitor.daemon import logs
from monitor.daemon.canaries import CanaryMessages, hands_of, orders_of
from monitor.daemon.database import (
    opened_database,
    prepare_folder,
    warn_of_rights,
    write_first_key,
)
from monitor.daemon.ending import Shutdown
from monitor.daemon.loops import loops_of, owner_name
from monitor.daemon.moving import DECIDE
from monitor.daemon.parts import (
    breaker_of,
    channels_of,
    declare_adapters,
    embedder_of,
    kill_switch_of,
    milestones_of,
    oidc_of,
    pages_of,
    retrainings_of,
    router_of,
    serving_of,
    smoke_test_of,
)
from monitor.daemon.worker import Sleep, WorkerParts
from monitor.evaluate.outlook import Outlook
from monitor.evaluate.plan import Plans
from monitor.incident.smoke import SmokeTest
from monitor.outbox.channels import ChannelFacts, ConfiguredChannel
from monitor.outbox.deliverer import Deliverer, DelivererSettings
from monitor.schedule import Loop, Pulse
from monitor.store.clock import DatabaseClock
from monitor.store.database import Database
from monitor.store.evaluation import tasks
from monitor.store.traffic import pending_decisions
from monitor.store.wakeups import NET, OUTBOX, ROUTES, WakeUps
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.proof import Proof
from monitor.traffic.watch import RouteWatch

_LOG = structlog.get_logger(__name__)

OWN_FILES = 128
"""Files that a daemon needs beside its clients' connections."""

NET_BEATS = 30
"""A loop that is not woken looks after at most this many ticks."""

_DATE_TICK = 0
"""At such a count of its looks, uvicorn renews the date of answers."""
GRACE = timedelta(seconds=10)
"""Requests in flight may take this long after the stop signal."""
FLUSH = timedelta(seconds=5)
"""Waiting records may take this long to be written; they were not acknowledged yet."""
TRACES = timedelta(seconds=2)
"""The last spans may take this long to be sent."""
JOIN = timedelta(seconds=8)
"""Loops, and then deliveries, may take this long to finish; leases cover the rest."""


def run(config: Config, *, api: bool, worker: bool) -> None:
    """Run until SIGTERM or SIGINT, and end within 25 s then. A second signal stops at once."""
    logs.configure(config.service.log_level)
    ending = Shutdown()
    signals = _Signals(ending)
    prepare_folder(config.service.data_dir)
    with ExitStack() as stack, ExitStack() as early:
        if config.service.traces:
            role = "all" if api and worker else "api" if api else "worker"
            tracing.start(config.service.traces, role=role, client=inside_of(config))
            stack.callback(lambda: tracing.stop(ending.left(TRACES)))
        database = stack.enter_context(opened_database(config))
        warn_of_rights(database)
        made = write_first_key(database, config.service.data_dir)
        if made is not None:
            _LOG.info("admin_key_written", path=str(made))
        declare_adapters(config, database)
        serving = serving_of(config)
        stack.callback(serving.close)
        ending.kills(serving.close)
        router = router_of(config, database)
        proof = Proof(database=database, router=router, engines=serving.engines)
        breaker = breaker_of(config, database, proof)
        beats: dict[str, Beat] = {}
        watch = RouteWatch(database)
        wakeups = WakeUps(database, net=min(NET, NET_BEATS * config.schedule.tick))
        wakeups.on(ROUTES, watch.wake)
        if worker:
            channels = channels_of(config)
            deliverer = _deliverer(config, database, channels, wakeups)
            owner = owner_name()
            stack.callback(database.run, partial(tasks.release, owner=owner))
            stack.callback(database.run, partial(pending_decisions.release, owner=owner))
            embedder = stack.enter_context(closing(embedder_of(config)))
            ending.kills(embedder.close)
            telling = CanaryMessages(channels=channels, base_url=config.server.url)
            parts = WorkerParts(
                config=config,
                database=database,
                channels=channels,
                serving=serving,
                embedder=embedder,
                router=router,
                breaker=breaker,
                hands=hands_of(config, database, proof, tell=telling),
            )
            pulse = Pulse()
            loops = loops_of(parts, Sleep(pulse=pulse, wakeups=wakeups), owner=owner)
            beats = _start_worker(stack, loops, deliverer, pulse=pulse, ending=ending)
            # stops first: nothing new is claimed while the other parts finish
            early.callback(pulse.stop)
        wakeups.start()
        stack.callback(wakeups.stop)
        server: _Server | None = None
        if api:
            server = _server(
                stack,
                config,
                database,
                breaker=breaker,
                proof=proof,
                smoke=smoke_test_of(config, serving.engines),
                watch=watch,
                beats=beats,
                ending=ending,
            )
        elif config.server.worker_port:
            server = _health_server(config, database, beats=beats, ending=ending)
        signals.until_told(server)
        _LOG.info("stopping")
        early.close()


def _deliverer(
    config: Config, database: Database, channels: list[ConfiguredChannel], wakeups: WakeUps
) -> Deliverer:
    section = config.alerting.delivery
    deliverer = Deliverer(
        database,
        channels,
        settings=DelivererSettings(
            workers=section.workers,
            lease=section.lease,
            poll=section.poll,
            escalate_after_failures=section.escalate_after_failures,
            escalate_after=section.escalate_after,
            retries=section.retries,
            pages=pages_of(config),
        ),
        rest=partial(wakeups.rest, least=section.poll),
    )
    wakeups.on(OUTBOX, lambda _payload: deliverer.wake())
    return deliverer


def _start_worker(
    stack: ExitStack,
    loops: Sequence[Loop],
    deliverer: Deliverer,
    *,
    pulse: Pulse,
    ending: Shutdown,
) -> dict[str, Beat]:
    def stop() -> None:
        pulse.stop()
        deadline = time.monotonic() + ending.left(JOIN)
        for loop in loops:
            if not loop.join(max(0.1, deadline - time.monotonic())):
                _LOG.warning("loop_abandoned", loop=loop.name)

    stack.callback(stop)
    for loop in loops:
        loop.start()
    deliverer.start()
    stack.callback(lambda: deliverer.stop(ending.left(JOIN)))
    evaluating = [loop for loop in loops if loop.name.startswith("evaluate")]
    deciding = [loop for loop in loops if loop.name.startswith(DECIDE)]
    [telling] = [loop for loop in loops if loop.name == "telling"]
    return {
        "scheduler": Beat(last=lambda: pulse.last_beat, every=pulse.every),
        "evaluation": Beat(
            last=lambda: max(loop.last_turn for loop in evaluating), every=timedelta(minutes=1)
        ),
        "decisions": Beat(
            last=lambda: max(loop.last_turn for loop in deciding), every=timedelta(minutes=1)
        ),
        "delivery": Beat(last=lambda: deliverer.last_turn, every=timedelta(seconds=30)),
        "telling": Beat(last=lambda: telling.last_done, every=timedelta(seconds=30)),
    }


def _server(
    stack: ExitStack,
    config: Config,
    database: Database,
    *,
    breaker: Breaker,
    proof: Proof,
    smoke: SmokeTest,
    watch: RouteWatch,
    beats: dict[str, Beat],
    ending: Shutdown,
) -> _Server:
    from monitor.web import WebParts, create_pages  # noqa: PLC0415 (a worker draws no pages)

    watch.start()
    stack.callback(watch.stop)
    clock = DatabaseClock(database)
    intake = Intake(
        database,
        subject_key=load_key(config.service.data_dir / "subject.key"),
        settings=config.capture,
        clock=clock,
        answers=config.embeds_answers,
    )
    intake.start()
    stack.callback(lambda: intake.close(timeout=ending.left(FLUSH)))
    outlook = Outlook(config.evaluation, config.schedule.cadences)
    parts = WebParts(
        database=database,
        intake=intake,
        watch=watch,
        approver=breaker,
        proof=proof,
        orders=orders_of(config, database, proof),
        kill_switch=kill_switch_of(config),
        outlook=outlook,
        plans=Plans(outlook),
        retrainings=retrainings_of(config, database),
        version=installed_version("driftline"),
        beats=beats,
        public_metrics=config.server.public_metrics,
        deadline=config.server.deadline,
        channels=frozenset(entry.name for entry in config.channels),
        delivers=bool(beats),
        known_channels=tuple(
            ChannelFacts(
                name=entry.name,
                kind=entry.kind,
                matcher=entry.matcher,
                fallback=entry.fallback,
                unacknowledged_for=entry.unacknowledged_for,
            )
            for entry in config.channels
        ),
        retention=config.capture.retention,
        learning=milestones_of(config),
        pages=pages_of(config),
        smoke=smoke,
        clock=clock,
        secret=load_key(config.service.data_dir / "session.key"),
        mode=config.service.mode,
        settings=shown(config),
        oidc=oidc_of(config, clock=clock),
    )
    app = create_app(parts, pages=create_pages(parts))
    return _listening(app, config.server, port=config.server.port, ending=ending, watch=watch)


def _health_server(
    config: Config, database: Database, *, beats: dict[str, Beat], ending: Shutdown
) -> _Server:
    """Answer for a worker: whether its loops turn, and messages are sent."""
    vitals = Vitals(
        database=database,
        version=installed_version("driftline"),
        beats=beats,
        channels=frozenset(entry.name for entry in config.channels),
    )
    section = config.server
    return _listening(create_health_app(vitals), section, port=section.worker_port, ending=ending)


def _listening(
    app: FastAPI,
    section: ServerSection,
    *,
    port: int,
    ending: Shutdown,
    watch: RouteWatch | None = None,
) -> _Server:
    limits = fitted(section.connections, files=allow_files(), own=OWN_FILES)
    door = Door(limits, trusted=section.trusted_proxies)
    return _Server(
        watch,
        ending,
        uvicorn.Config(
            app,
            host=section.host,
            port=port,
            http=door.protocol(),
            ws="none",
            proxy_headers=bool(section.trusted_proxies),
            forwarded_allow_ips=list(section.trusted_proxies),
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_graceful_shutdown=int(GRACE.total_seconds()),
        ),
    )


class _Server(uvicorn.Server):
    """Releases long-polls at the stop signal, so that they do not delay the end.

    uvicorn looks ten times a second whether it is to end; this class is told.
    """

    def __init__(self, watch: RouteWatch | None, ending: Shutdown, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._watch = watch
        self._ending = ending
        self._serving: asyncio.AbstractEventLoop | None = None
        self._told = asyncio.Event()

    async def main_loop(self) -> None:
        """Renew the date of answers each second, until told to end."""
        self._serving = asyncio.get_running_loop()
        while not await self.on_tick(_DATE_TICK):
            with suppress(TimeoutError):
                await asyncio.wait_for(self._told.wait(), timeout=1.0)

    def end(self) -> None:
        """End soon; from any thread, and from a signal handler."""
        self.should_exit = True
        if self._serving is not None:
            with suppress(RuntimeError):  # a loop that has closed meanwhile has ended
                self._serving.call_soon_threadsafe(self._told.set)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        self._ending.begin()
        if self._watch is not None:
            self._watch.release()
        super().handle_exit(sig, frame)
        self.end()


class _Signals:
    """SIGTERM and SIGINT ask for an orderly stop; a second signal ends the process at once.

    uvicorn handles signals while it serves and raises them again when it has finished,
    which would end the process before the other parts are stopped. This class catches them.
    """

    def __init__(self, ending: Shutdown) -> None:
        self._asked = threading.Event()
        self._ending = ending
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, self._handle)

    def until_told(self, server: _Server | None) -> None:
        """Serve until a signal comes; one that came before the server listened counts too."""
        if server is None:
            self._asked.wait()
            return

        def tell() -> None:
            self._asked.wait()
            server.end()

        threading.Thread(target=tell, name="signals", daemon=True).start()
        host, port = server.config.host, server.config.port
        _LOG.info("serving", url=f"http://{host}:{port}")
        server.run()

    def _handle(self, number: int, _frame: FrameType | None) -> None:
        if self._asked.is_set():
            signal.signal(number, signal.SIG_DFL)
            signal.raise_signal(number)
        self._ending.begin()
        self._asked.set()

"""The loops of a worker: evaluation, embedding, references, inspections, housekeeping."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from datetime import datetime, timedelta
from functools import partial

from alerts.outgoing import OutgoingClient
from monitor.admission.job import Admissions
from monitor.artifacts.finding import Artifacts
from monitor.capture.redact import redact
from monitor.capture.refusal import refusing
from monitor.capture.subjects import load_key
from monitor.config.artifacts import artifacts_of
from monitor.config.sections import Config
from monitor.daemon import disk
from monitor.daemon.arrivals import EVERY, Arrivals
from monitor.daemon.heartbeat import Heartbeat
from monitor.daemon.inspections import inspecting
from monitor.daemon.keeping import Housekeeping, Timed
from monitor.daemon.parts import Serving, pages_of, retrainings_of
from monitor.daemon.texts import WaitingTexts, text_fate
from monitor.domain import EvaluationKind
from monitor.evaluate.evaluator import Evaluator
from monitor.evaluate.message import Messages
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.departing import Departing
from monitor.outbox.refreshing import refreshers
from monitor.outbox.telling import OutboxLoop
from monitor.probes.declared import Declarations
from monitor.probes.embedding import Embedder
from monitor.reference.build import BuildSettings, build_next
from monitor.reference.index import Indexes
from monitor.reference.learned import freeze_learned
from monitor.reference.other_settings import SettingsLearner
from monitor.report.job import Reports
from monitor.schedule import LeaseSettings, Loop, Pulse, Resident, Worker
from monitor.selftest.job import SelfTests
from monitor.store import wakeups
from monitor.store.database import Database
from monitor.store.evaluation import tasks
from monitor.store.references import references
from monitor.store.wakeups import Due, WakeUps, never
from monitor.traffic.carrying import Carrier
from monitor.traffic.fallback.breaker import Breaker
from monitor.traffic.fallback.deciding import Deciding
from monitor.traffic.readback import ChangeLog, Confirming
from monitor.traffic.routers import ROUTERS
from monitor.traffic.routers.contract import Router
from monitor.traffic.trial.changes import TrialChanges
from monitor.traffic.trial.hands import Hands
from monitor.traffic.trial.judge import Judge
from monitor.traffic.trial.states import BEGUN, UNBEGUN

CHORES = timedelta(minutes=1)
CLOCK = timedelta(seconds=10)
"""The interval between checks for a jump of the database's clock."""
ROUTES = timedelta(milliseconds=250)
"""The shortest pause of a carrier that has routes to tell."""
DECIDE = "decide"
ASKED = timedelta(seconds=5)
"""The pause between looks for self-tests and reports while wake-ups do not arrive."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkerParts:
    """The parts with which the loops work."""

    config: Config
    database: Database
    channels: list[ConfiguredChannel]
    serving: Serving
    embedder: Embedder
    router: Router
    breaker: Breaker
    hands: Hands


@dataclass(frozen=True, slots=True, kw_only=True)
class Sleep:
    """Makes loops that sleep until they are woken or due."""

    pulse: Pulse
    wakeups: WakeUps

    def loop(
        self,
        name: str,
        work: Callable[[], bool],
        *,
        every: timedelta,
        woken_by: str,
        due: Due = never,
    ) -> Loop:
        """Make a loop that looks at most each ``every`` by itself, and at once when notified."""
        rest = partial(self.wakeups.rest, due, least=every)
        loop = Loop(name, work, pulse=self.pulse, every=every, rest=rest)
        self.wakeups.on(woken_by, lambda _payload: loop.wake())
        return loop


def owner_name() -> str:
    """Name this process in leases: host, process and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def loops_of(parts: WorkerParts, sleep: Sleep, *, owner: str) -> list[Loop]:
    """Build every loop of a worker; the caller starts and joins them."""
    config, database, pulse = parts.config, parts.database, sleep.pulse
    indexes = Indexes(config.service.data_dir / "indexes")
    refuses = refusing(config.capture.refusal_patterns)
    key = load_key(config.service.data_dir / "subject.key")
    texts = WaitingTexts(
        database=database,
        embedder=parts.embedder,
        indexes=indexes,
        keeping=text_fate(config),
    )
    evaluator = _evaluator(parts, texts)
    tick = config.schedule.tick
    live = [EvaluationKind.HARD, EvaluationKind.LIVE]
    # of several workers the first keeps itself free for hard signals
    apart = 1 if config.schedule.workers > 1 else 0
    teller = OutboxLoop(database, parts.channels, change_margin=config.schedule.live_interval)
    telling = sleep.loop(
        "telling",
        teller.turn,
        every=config.alerting.delivery.poll,
        woken_by=wakeups.HELD,
        due=teller.next_due,
    )
    workers = {
        f"evaluate-{number}": _worker(parts, evaluator, owner, live[:1] if number < apart else live)
        for number in range(config.schedule.workers)
    }
    if parts.serving.probe is not None:
        at_hand = parts.serving.engines.resident
        kinds = [EvaluationKind.PERPLEXITY]
        workers["probe"] = _worker(parts, evaluator, owner, kinds, resident=at_hand)
    return [
        *(
            sleep.loop(name, worker.work, every=tick, woken_by=wakeups.TASKS, due=worker.next_due)
            for name, worker in workers.items()
        ),
        sleep.loop("embed", texts.turn, every=tick, woken_by=wakeups.TEXTS, due=texts.next_due),
        sleep.loop(
            "references",
            lambda: build_next(
                database,
                parts.embedder,
                indexes=indexes,
                settings=BuildSettings(
                    directions=config.evaluation.directions,
                    answers=config.embeds_answers,
                    refuses=refuses,
                    key=key,
                    settles_after=config.feedback_settles_after,
                    days=config.day_effect,
                    keep_text=redact if config.capture.store_text else None,
                ),
            ),
            every=tick,
            woken_by=wakeups.REFERENCES,
            due=lambda: database.run(references.next_due),
        ),
        sleep.loop(
            "registrations",
            _registrations(parts),
            every=tick,
            woken_by=wakeups.VERSIONS,
        ),
        *_arriving(parts, sleep),
        sleep.loop(
            "inspections",
            inspecting(database, _artifacts(parts)),
            every=tick,
            woken_by=wakeups.VERSIONS,
        ),
        _admitting(parts, sleep),
        sleep.loop(
            "selftests",
            _selftests(parts, indexes, pulse).turn,
            every=ASKED,
            woken_by=wakeups.SELFTESTS,
        ),
        sleep.loop(
            "reports",
            Reports(database=database, stopped=lambda: pulse.stopped).turn,
            every=ASKED,
            woken_by=wakeups.REPORTS,
        ),
        # separate loops: an action that cannot be reconciled must not stop the deletion of old days
        *(Loop(one.name, one.turn, pulse=pulse, every=CHORES) for one in _timed(parts)),
        *_moving(parts, sleep, owner=owner),
        *_carrying(parts, sleep),
        *_judging(parts, sleep, owner=owner),
        Loop(
            "retraining",
            retrainings_of(parts.config, parts.database).turn,
            pulse=pulse,
            every=CHORES,
        ),
        Loop("housekeeping", _housekeeping(parts).turn, pulse=pulse, every=CLOCK),
        telling,
        Loop("disk", _disk(parts).turn, pulse=pulse, every=disk.EVERY),
        *(
            Loop("refresh", one.turn, pulse=pulse, every=one.every)
            for one in refreshers(database, parts.channels, pages=pages_of(config))
        ),
        *_heartbeat(parts, pulse, telling),
    ]


def _artifacts(parts: WorkerParts) -> Artifacts:
    config = parts.config
    return artifacts_of(config.artifacts, config.outgoing, data_dir=config.service.data_dir)


def _admitting(parts: WorkerParts, sleep: Sleep) -> Loop:
    job = Admissions(
        database=parts.database,
        settings=parts.config.admission,
        via=parts.serving.probe,
        files=_artifacts(parts).fetched,
    )
    return sleep.loop(
        "admissions",
        job.turn,
        every=parts.config.schedule.tick,
        woken_by=wakeups.ADMISSIONS,
        due=job.next_due,
    )


def _moving(parts: WorkerParts, sleep: Sleep, *, owner: str) -> Iterator[Loop]:
    """Decide about traffic, and tell the router, in separate loops.

    Both ask engines and routers, which may hang: as many loops decide as evaluate.
    """
    schedule, changes = parts.config.schedule, parts.breaker.changes
    deciding = Deciding(breaker=parts.breaker, owner=owner)
    for number in range(schedule.workers):
        yield sleep.loop(
            f"{DECIDE}-{number}",
            deciding.turn,
            every=schedule.tick,
            woken_by=wakeups.DECISIONS,
            due=deciding.next_due,
        )
    # separate loops, so that a canary's change delays no fallback
    actions = _confirming(parts, sleep, "action-routes", changes, woken_by=wakeups.ROUTES)
    changes.wake = actions.wake
    yield actions
    trials = TrialChanges(hands=parts.hands)
    yield _confirming(parts, sleep, "canary-routes", trials, woken_by=wakeups.CANARIES)


def _confirming(
    parts: WorkerParts, sleep: Sleep, name: str, log: ChangeLog, *, woken_by: str
) -> Loop:
    confirming = Confirming(database=parts.database, router=parts.router, log=log)
    return sleep.loop(
        name,
        lambda: confirming.turn() > 0,
        every=parts.config.schedule.tick,
        woken_by=woken_by,
        due=confirming.next_due,
    )


def _carrying(parts: WorkerParts, sleep: Sleep) -> list[Loop]:
    """Tell the router the table's routes, if it does not follow the table by itself."""
    settings = parts.config.routing
    kind = ROUTERS[settings.router]
    if not kind.told:
        return []
    carrier = Carrier(parts.database, parts.router, resync=settings.resync, later=kind.later)
    return [
        sleep.loop(
            "routes",
            carrier.turn,
            every=ROUTES,
            woken_by=wakeups.ROUTES,
            due=carrier.next_due,
        )
    ]


def _heartbeat(parts: WorkerParts, pulse: Pulse, telling: Loop) -> list[Loop]:
    settings = parts.config.alerting.heartbeat
    if not settings.url:
        return []
    heartbeat = Heartbeat(
        parts.database,
        OutgoingClient(parts.config.outgoing),
        settings,
        ticked=lambda: pulse.last_beat,
        told=lambda: telling.last_done,
    )
    return [Loop("heartbeat", heartbeat.turn, pulse=pulse, every=settings.every)]


def _worker(
    parts: WorkerParts,
    evaluator: Evaluator,
    owner: str,
    kinds: list[EvaluationKind],
    *,
    resident: Resident | None = None,
) -> Worker:
    schedule = parts.config.schedule
    return Worker(
        parts.database,
        evaluator,
        owner=owner,
        kinds=kinds,
        leases=LeaseSettings(lease=schedule.lease, renew=schedule.renew),
        resident=resident,
    )


def _evaluator(parts: WorkerParts, texts: WaitingTexts) -> Evaluator:
    config = parts.config
    return Evaluator(
        database=parts.database,
        settings=config.evaluation,
        cadences=config.schedule.cadences,
        tell=Messages(
            channels=parts.channels,
            preview=lambda tx, version, evidence, now: parts.breaker.preview(
                tx, version, evidence, now=now
            ),
            doubts=parts.breaker.doubts,
            examples=config.alerting.shown_examples,
            base_url=config.server.url,
            change_margin=config.schedule.live_interval,
            out_of_service_after=config.alerting.out_of_service_after,
            window=config.schedule.live_interval,
        ),
        react=Deciding(breaker=parts.breaker).ask,
        drain=texts.drain,
        via=parts.serving.probe,
    )


def _selftests(parts: WorkerParts, indexes: Indexes, pulse: Pulse) -> SelfTests:
    schedule = parts.config.schedule
    return SelfTests(
        database=parts.database,
        settings=parts.config.evaluation,
        indexes=indexes,
        every=schedule.selftest_interval,
        live_interval=schedule.live_interval,
        stopped=lambda: pulse.stopped,
    )


def _registrations(parts: WorkerParts) -> Callable[[], bool]:
    """Create the tasks of new versions; the first window of each live kind ends one interval later.

    The perplexity probe runs at once: its first result is what the version is compared
    with, and hours later the weights may no longer be those that were registered.
    """
    cadences = parts.config.schedule.cadences
    kinds = dict(cadences)
    if parts.serving.probe is None:
        kinds.pop(EvaluationKind.PERPLEXITY)
    first_due = {
        kind: timedelta() if kind is EvaluationKind.PERPLEXITY else cadence.lag
        for kind, cadence in kinds.items()
    }
    at_once = {EvaluationKind.PERPLEXITY} & kinds.keys()

    def turn() -> bool:
        parts.database.run(lambda tx: tasks.ensure(tx, first_due=first_due, at_once=at_once))
        return False

    return turn


def _arriving(parts: WorkerParts, sleep: Sleep) -> Iterator[Loop]:
    config = parts.config
    if config.serving.register and config.serving.engines:
        arrivals = Arrivals(
            database=parts.database,
            engines=parts.serving.engines,
            names=config.capture.telemetry,
            declarations=Declarations(config.serving.declared_in),
        )
        yield Loop("arrivals", arrivals.turn, pulse=sleep.pulse, every=EVERY)


def _timed(parts: WorkerParts) -> Iterator[Timed]:
    """Yield the work that becomes due with time.

    It ends actions that were interrupted or never approved, ends the messages about
    versions without traffic, and freezes references of what versions have learned, where
    the config wants them.
    """
    config, database = parts.config, parts.database
    settings = config.reference
    departing = Departing(
        database=database,
        channels=[channel.name for channel in parts.channels],
        after=config.alerting.out_of_service_after,
        base_url=config.server.url,
    )

    def reconcile(now: datetime) -> None:
        parts.breaker.reconcile(now=now)

    def depart(now: datetime) -> None:
        departing.turn(now=now)

    learner = SettingsLearner(database, rules=settings.learned, days=config.day_effect)

    def learn(now: datetime) -> None:
        freeze_learned(database, now=now, settings=settings.learned)
        learner.turn(now=now)

    works = {"actions": reconcile, "departures": depart} | (
        {"learning": learn} if settings.auto else {}
    )
    for name, work in works.items():
        yield Timed(name=name, database=database, work=work, tolerated=config.routing.clock_skew)


def _housekeeping(parts: WorkerParts) -> Housekeeping:
    return Housekeeping(
        database=parts.database,
        kept=parts.config.capture.kept,
        tolerated=parts.config.routing.clock_skew,
    )


def _disk(parts: WorkerParts) -> disk.DiskPages:
    room = parts.database.room
    calm = timedelta() if room.seen else disk.CALM
    return disk.DiskPages(full=room.full, channels=parts.channels, calm=calm)


def _judging(parts: WorkerParts, sleep: Sleep, *, owner: str) -> Iterator[Loop]:
    """Judge canaries; the prechecks wait for probes where probes run.

    Looks ask no engine, but prechecks do; an engine that hangs therefore delays no look.
    """
    judge = Judge(hands=parts.hands, owner=owner, probed=parts.serving.probe is not None)
    for name, turn, phases in (
        ("canaries", judge.turn, BEGUN),
        ("canary-checks", judge.check, UNBEGUN),
    ):
        yield sleep.loop(
            name,
            turn,
            every=parts.config.schedule.tick,
            woken_by=wakeups.CANARIES,
            due=partial(judge.next_due, phases),
        )

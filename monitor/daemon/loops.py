"""The loops of a worker."""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterator
from datetime import datetime, timedelta

from alerts.outgoing import OutgoingClient
from monitor.admission.job import Admissions
from monitor.artifacts.finding import Artifacts
from monitor.capture.redact import redact
from monitor.capture.refusal import refusing
from monitor.capture.subjects import load_key
from monitor.config.artifacts import artifacts_of
from monitor.daemon import disk
from monitor.daemon.arrivals import EVERY, Arrivals
from monitor.daemon.evaluating import evaluating
from monitor.daemon.heartbeat import Heartbeat
from monitor.daemon.inspections import inspecting
from monitor.daemon.keeping import Housekeeping, Timed
from monitor.daemon.moving import carrying, judging, moving
from monitor.daemon.parts import pages_of, retrainings_of
from monitor.daemon.texts import WaitingTexts, text_fate
from monitor.daemon.worker import Sleep, WorkerParts
from monitor.outbox.departing import Departing
from monitor.outbox.refreshing import refreshers
from monitor.outbox.telling import OutboxLoop
from monitor.probes.declared import Declarations
from monitor.reference.build import BuildSettings, build_next
from monitor.reference.index import Indexes
from monitor.reference.learned import freeze_learned
from monitor.reference.other_settings import SettingsLearner
from monitor.report.job import Reports
from monitor.schedule import Loop, Pulse
from monitor.selftest.job import SelfTests
from monitor.store import wakeups
from monitor.store.references import references

CHORES = timedelta(minutes=1)
CLOCK = timedelta(seconds=10)
"""The interval between checks for a jump of the database's clock."""
ASKED = timedelta(seconds=5)
"""The pause between looks for self-tests and reports while wake-ups do not arrive."""


def owner_name() -> str:
    """Name this process in leases: host, process and a random part."""
    return f"{socket.gethostname()}:{os.getpid()}:{uuid.uuid4().hex[:8]}"


def loops_of(parts: WorkerParts, sleep: Sleep, *, owner: str) -> list[Loop]:
    """Build every loop of a worker; the caller starts and joins them."""
    config, database, pulse = parts.config, parts.database, sleep.pulse
    tick = config.schedule.tick
    indexes = Indexes(config.service.data_dir / "indexes")
    refuses = refusing(config.capture.refusal_patterns)
    key = load_key(config.service.data_dir / "subject.key")
    texts = WaitingTexts(
        database=database,
        embedder=parts.embedder,
        indexes=indexes,
        keeping=text_fate(config),
    )
    teller = OutboxLoop(database, parts.channels, change_margin=config.schedule.live_interval)
    telling = sleep.loop(
        "telling",
        teller.turn,
        every=config.alerting.delivery.poll,
        woken_by=wakeups.HELD,
        due=teller.next_due,
    )
    return [
        *evaluating(parts, sleep, texts, owner=owner),
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
        *moving(parts, sleep, owner=owner),
        *carrying(parts, sleep),
        *judging(parts, sleep, owner=owner),
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

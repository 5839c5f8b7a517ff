"""Workers that share one database, beside as many that share nothing."""

from __future__ import annotations

import json
import multiprocessing
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from multiprocessing.connection import Connection as Pipe
from multiprocessing.process import BaseProcess
from statistics import median
from typing import Final

import numpy as np
import psycopg
import sqlalchemy as sa
from sqlalchemy import Connection

from benchmarks.row import Figure, Row, at_least
from benchmarks.server import postgres
from monitor.capture.intake import Intake, Settings
from monitor.capture.parse import MAX_RECORDS
from monitor.domain import EvaluationKind, Version
from monitor.evaluate.evaluator import Evaluator
from monitor.evaluate.settings import EvaluateSettings
from monitor.schedule import LeaseSettings, Worker
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.evaluation import tasks
from monitor.store.registry import adapters, versions
from monitor.windows import Cadence
from tests.evaluate.conftest import baseline, ready_reference, told_nobody

WORKERS: Final = 4
ADAPTERS: Final = 400
RECORDS: Final = 3
"""New records of each version in a look, as many as come in a minute at 4,000 a day."""
ROUNDS: Final = 5
LEAST: Final = 3.5 / 4
"""Of four cores, four workers are to do 3.5 times as much as one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """A database, those of its versions that are looked at, and how records come in."""

    url: str
    database: Database
    looked_at: Sequence[Version]
    intake: Intake

    def prepare(self, turn: int) -> None:
        """Send each version some records, and make it due."""
        rng = np.random.default_rng(turn)
        now = datetime.now(UTC).isoformat()
        lines = [
            {
                "id": f"{turn}-{number}",
                "adapter": version.adapter,
                "at": now,
                "token_logprobs": (-rng.exponential(0.4, 30)).tolist(),
                "output": "a short and friendly answer to the question",
            }
            for version in self.looked_at
            for number in range(RECORDS)
        ]
        for first in range(0, len(lines), MAX_RECORDS):
            some = lines[first : first + MAX_RECORDS]
            body = "\n".join(map(json.dumps, some)).encode()
            outcome = self.intake.records(body, content_type="application/x-ndjson")
            if outcome.accepted != len(some):
                raise RuntimeError(f"{outcome.accepted} of {len(some)} records were accepted")

        def request(tx: Connection) -> None:
            for version in self.looked_at:
                tasks.request(tx, version_id=version.id, kinds=[EvaluationKind.HARD])

        self.database.run(request)

    def done(self) -> int:
        """Count the looks that have ended."""
        ended = sa.text("SELECT count(*) FROM evaluations WHERE state = 'done'")
        return int(self.database.run(lambda tx: tx.execute(ended).scalar_one()))


def run() -> Sequence[Row]:
    """Let four workers look at the same versions, on one database and on one each."""
    with postgres() as database:
        found = _fleet(database)
        copies = _copies(database, WORKERS)
        parts = [found[number::WORKERS] for number in range(WORKERS)]
        with (
            _places([(_url(database), found)]) as shared,
            _places(list(zip(copies, parts, strict=True))) as apart,
            _workers([shared[0].url] * WORKERS) as together,
            _workers([place.url for place in apart]) as alone,
        ):
            turns = count()
            for worker in together:  # each loads the references of all
                _rate(shared, [worker], turn=next(turns))
            _rate(apart, alone, turn=next(turns))
            ways = ((shared, together[:1]), (shared, together), (apart, alone))
            rounds = [
                [_rate(places, workers, turn=next(turns)) for places, workers in ways]
                for _ in range(ROUNDS)
            ]
    one, ours, limit = map(median, zip(*rounds, strict=True))
    return [
        Row(
            number=20,
            metric=f"hard looks by {WORKERS} workers on one database",
            ours=_looks(f"{WORKERS} workers", ours),
            goals=(
                at_least(f"{LEAST:.3g} × the limit", value=ours / limit, floor=LEAST, unit="×"),
            ),
            peers=(_looks("one worker", one),),
            limit=_looks(f"{WORKERS} workers, each with a database of its own", limit),
            note=f"{ADAPTERS} adapters with {RECORDS} new records each, quiet; median of {ROUNDS}"
            f" rounds; one server, {os.cpu_count()} hardware threads for it and the workers."
            " With more of them than work, one worker is no limit to four.",
        )
    ]


def _looks(what: str, rate: float) -> Figure:
    return Figure(what=what, value=rate, unit="looks/s")


def _rate(places: Sequence[_Place], workers: Sequence[Pipe], *, turn: int) -> float:
    """Return how many looks a second these workers do when all are due."""
    for place in places:
        place.prepare(turn)
    before, begun = sum(place.done() for place in places), time.perf_counter()
    for pipe in workers:
        pipe.send("go")
    for pipe in workers:
        pipe.recv()
    took = time.perf_counter() - begun
    done = sum(place.done() for place in places) - before
    if done < ADAPTERS:
        raise RuntimeError(f"{done} of {ADAPTERS} versions were looked at")
    return done / took


# --- databases --------------------------------------------------------------------------------


def _fleet(database: Database) -> list[Version]:
    """Register versions with a reference each."""

    def register(tx: Connection) -> list[Version]:
        partitions.create_ahead(tx, now=datetime.now(UTC))
        made = [
            versions.put(
                tx, adapter=adapters.put(tx, name=f"tenant-{n}"), name="v1", model=f"tenant-{n}@v1"
            )
            for n in range(ADAPTERS)
        ]
        tasks.ensure(tx, first_due=dict.fromkeys(EvaluationKind, timedelta(days=1)))
        return made

    found = database.run(register)
    window = baseline(count=1_000)
    for version in found:
        ready_reference(database, version, window)
    return found


def _copies(database: Database, wanted: int) -> list[str]:
    database.engine.dispose()  # a database with connections cannot be copied
    own = database.engine.url
    server = own.set(drivername="postgresql", database="postgres")
    names = [f"copy_{number}" for number in range(wanted)]
    with psycopg.connect(
        server.render_as_string(hide_password=False), autocommit=True
    ) as connection:
        for name in names:
            connection.execute(f'CREATE DATABASE {name} TEMPLATE "{own.database}"')
    return [own.set(database=name).render_as_string(hide_password=False) for name in names]


def _url(database: Database) -> str:
    return database.engine.url.render_as_string(hide_password=False)


@contextmanager
def _places(wanted: Sequence[tuple[str, Sequence[Version]]]) -> Iterator[list[_Place]]:
    settings = Settings(target_per_day=10**9, embed_prompts=False)
    places = []
    for url, looked_at in wanted:
        database = Database(url)
        intake = Intake(database, subject_key=b"k" * 32, settings=settings)
        intake.start()
        places.append(_Place(url=url, database=database, looked_at=looked_at, intake=intake))
    try:
        yield places
    finally:
        for place in places:
            place.intake.close()
            place.database.close()


# --- workers ----------------------------------------------------------------------------------


@contextmanager
def _workers(urls: Sequence[str]) -> Iterator[list[Pipe]]:
    """Start a worker for each database, which works when it is told to."""
    context = multiprocessing.get_context("spawn")
    pipes: list[Pipe] = []
    processes: list[BaseProcess] = []
    for number, url in enumerate(urls):
        ours, its = context.Pipe()
        processes.append(context.Process(target=_work, args=(url, f"worker-{number}", its)))
        processes[-1].start()
        pipes.append(ours)
    try:
        for pipe in pipes:
            pipe.recv()
        yield pipes
    finally:
        for pipe in pipes:
            pipe.send("end")
        for process in processes:
            process.join(30)


def _work(url: str, owner: str, pipe: Pipe) -> None:
    database = Database(url)
    every = Cadence(interval=timedelta(minutes=5), lag=timedelta())
    evaluator = Evaluator(
        database=database,
        settings=EvaluateSettings(),
        cadences=dict.fromkeys(EvaluationKind, every),
        tell=told_nobody(),
        react=lambda *_: None,
        embed=lambda _: None,
        via=None,
    )
    kinds = [EvaluationKind.HARD]
    worker = Worker(database, evaluator, owner=owner, kinds=kinds, leases=LeaseSettings())
    pipe.send("ready")
    while pipe.recv() == "go":
        while worker.work():
            continue
        pipe.send("done")
    database.close()

"""How fast a queue of messages drains to a receiver that takes them at once, and in what memory.

Wall time: three processes share the machine, the deliverer, PostgreSQL and the receiver, and
each message is claimed, signed, sent over a connection of its own and marked in a
transaction of its own.
"""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from statistics import median
from typing import Final

import msgspec
import sqlalchemy as sa
from sqlalchemy import Connection

from alerts.channels import open_channel
from alerts.message import Alert
from alerts.message import to_json as alert_to_json
from alerts.outgoing import OutgoingClient, OutgoingPolicy
from alerts.types import Kind, Severity, Status, VerdictKind
from benchmarks.row import Figure, Row, at_least, at_most
from benchmarks.server import postgres
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.deliverer import Deliverer, DelivererSettings
from monitor.store.database import Database

MESSAGES: Final = 10_000
WORKERS: Final = 16
PATIENCE: Final = 240.0
CHANNEL: Final = "on-call"
SECRET: Final = "whsec_" + "c2VjcmV0LXNlY3JldC1zZWNyZXQtc2VjcmV0"
MIB: Final = 1 << 20


def run() -> Sequence[Row]:
    """Queue 10,000 messages of as many incidents, and drain them with 16 workers."""
    with postgres() as database, receiving() as (url, told):
        with database.begin() as tx:
            _queue(tx, MESSAGES)
        seconds, sizes = _drain(database, url)
        different, requests = told()
    if (different, requests) != (MESSAGES, MESSAGES):
        raise RuntimeError(f"{different} of {MESSAGES} messages came, by {requests} requests")
    rate = MESSAGES / seconds
    early = median(sizes[len(sizes) // 5 : 2 * len(sizes) // 5])
    late = median(sizes[-len(sizes) // 5 :])
    return [
        Row(
            number=18,
            metric=f"{MESSAGES:,} queued messages to a receiver that takes them at once",
            ours=Figure(what=f"deliverer with {WORKERS} workers", value=rate, unit="messages/s"),
            goals=(
                at_least("300 messages/s", value=rate, floor=300, unit="messages/s"),
                at_most(
                    "8 MiB more memory at the end than near the beginning",
                    value=(late - early) / MIB,
                    ceiling=8,
                    unit="MiB",
                ),
            ),
            note=f"Wall time of {seconds:.0f} s; receiver and PostgreSQL on the same machine. Every"
            " message came once.",
        )
    ]


@contextmanager
def receiving() -> Iterator[tuple[str, Callable[[], tuple[int, int]]]]:
    """Run the receiver; gives its address, and what tells how many messages came."""
    with subprocess.Popen(
        [sys.executable, "-m", "benchmarks.delivery_receiver"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stdout is not None  # noqa: S101 - it is a pipe
        port = int(process.stdout.readline())

        def told() -> tuple[int, int]:
            out, _ = process.communicate(timeout=30)
            different, requests = out.split()
            return int(different), int(requests)

        yield f"http://127.0.0.1:{port}/hook", told


def _queue(tx: Connection, count: int) -> None:
    """Write them by one statement: what is measured is the draining."""
    tx.execute(sa.text("SET LOCAL statement_timeout = 0"))
    tx.execute(sa.text("INSERT INTO adapters (name) VALUES ('support')"))
    tx.execute(
        sa.text("INSERT INTO versions (adapter_id, name, model) SELECT id, 'v7', 'm' FROM adapters")
    )
    tx.execute(
        sa.text(
            "INSERT INTO incidents (adapter_id, version_id, kind, number, phase, severity, blame,"
            " summary, opened_at, closed_at, state) SELECT v.adapter_id, v.id, 'drift', n, 'ok',"
            " 'page', 'adapter', 's', now(), now(), '{}' FROM versions v, generate_series(1, :n) n"
        ),
        {"n": count},
    )
    alert = msgspec.json.encode(alert_to_json(_alert())).decode()
    tx.execute(
        sa.text(
            "INSERT INTO outbox (id, channel, incident_id, alert)"
            " SELECT gen_random_uuid(), :channel, id, CAST(:alert AS jsonb) FROM incidents"
        ),
        {"channel": CHANNEL, "alert": alert},
    )
    tx.execute(sa.text("ANALYZE outbox"))


def _alert() -> Alert:
    at = datetime(2026, 3, 4, 12, 0, tzinfo=UTC)
    return Alert(
        id="driftline:support@v7:drift:1",
        number=1,
        kind=Kind.DRIFT,
        adapter="support",
        version="v7",
        status=Status.STARTED,
        severity=Severity.PAGE,
        verdict=VerdictKind.CRITICAL,
        summary="support@v7: answers less certain since 11:10 UTC (± 20 min)",
        reason="page evidence 1.6 ≥ 0; effect +0.31 [0.25, 0.37] on 412 records since onset",
        at=at,
        started_at=at,
    )


def _drain(database: Database, url: str) -> tuple[float, list[int]]:
    """Deliver until nothing is queued; the seconds, and the memory at every quarter of one."""
    channel = ConfiguredChannel(
        name=CHANNEL,
        channel=open_channel(
            "webhook",
            {"url": url, "secret": SECRET},
            client=OutgoingClient(OutgoingPolicy(allow=("127.0.0.0/8",))),
        ),
    )
    deliverer = Deliverer(
        database,
        [channel],
        settings=DelivererSettings(workers=WORKERS, escalate_after=timedelta(hours=1)),
    )
    sizes = []
    begin = time.monotonic()
    deliverer.start()
    while _queued(database):
        sizes.append(_resident())
        if time.monotonic() - begin > PATIENCE:
            raise RuntimeError(f"{_queued(database)} messages are left after {PATIENCE:.0f} s")
        time.sleep(0.25)
    seconds = time.monotonic() - begin
    deliverer.stop()
    return seconds, sizes


def _queued(database: Database) -> int:
    query = sa.text("SELECT count(*) FROM outbox WHERE state = 'queued'")
    with database.begin() as tx:
        return int(tx.execute(query).scalar_one())


def _resident() -> int:
    """Bytes of this process in memory now."""
    pages = int(Path("/proc/self/statm").read_text(encoding="ascii").split()[1])
    return pages * resource.getpagesize()

"""One fleet: set up, let live, and measure what it costs."""

from __future__ import annotations

import json
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, Final, NamedTuple

import httpx2
import numpy as np
import psycopg

from benchmarks.idle import Burnt, burnt
from benchmarks.startup import resident, running, wait_ready
from monitor.capture.packing import pack_f16
from monitor.postgres import EmbeddedPostgres
from tests.probes.fake_engine import FakeEngine
from tests.probes.fake_engine import serving as engine_serving

A_DAY: Final = 4_000
"""Records of each adapter; `capture.target_per_day` keeps all of them."""
TOKENS: Final = 40
"""Of an answer, with log-probability, entropy and margin."""
BASELINE: Final = 300
SETTERS: Final = 4
"""Registrations under way at a time."""
SEND_EVERY: Final = 1.0
BEFORE: Final = timedelta(minutes=45)
"""The time whose records are sent at once, so that each version has enough of them to be judged."""
LOOKS: Final = 20
"""Requests for each of the pages that people and Prometheus ask for, after the measurement."""
PATHS: Final = ("/v1/adapters", "/", "/metrics")
KINDS: Final = {"hard": 30.0, "live": 120.0}
"""Evaluations, and the lag after their window that is configured, in seconds."""
SETTINGS: Final = {
    "DRIFTLINE_SERVING__REGISTER": "false",  # one by one, by hand: it is measured
    "DRIFTLINE_CAPTURE__EMBED_PROMPTS": "false",
    "DRIFTLINE_SERVICE__LOG_LEVEL": "warning",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Cost:
    """What a fleet costs, measured over ``seconds``.

    CPU in percent of one core; ``lag`` is the 95th percentile of the seconds between when a window
    could be evaluated and when it was, by kind; ``waits`` that of a request, in milliseconds.
    """

    adapters: int
    seconds: float
    setup_cpu_s: float
    """Of service and PostgreSQL, for registration and reference of one adapter."""
    service: float
    postgres: float
    memory_mb: float
    records: int
    lost: int
    """Records that were not taken in as sent."""
    evaluations: Mapping[str, int]
    lag: Mapping[str, float]
    probes: int
    disk_gb_a_day: float
    waits: Mapping[str, float]


def measure(
    adapters: int, *, minutes: float, settle: float, say: Callable[[str], None] = print
) -> Cost:
    """Measure a fleet of ``adapters`` for ``minutes``, after ``settle`` minutes of the same.

    A version is probed when it is registered, so the measurement begins when all were.
    """
    with living(adapters, say=say) as fleet:
        say(f"{adapters} adapters live for {settle:g} minutes, then are measured")
        time.sleep(60 * settle)
        fleet.wait_for_first_probes()
        fleet.outcomes.clear()
        rows = _rows(fleet.database)
        before, since, at = burnt(fleet.pid), datetime.now(UTC), time.monotonic()
        time.sleep(60 * minutes)
        after, took = burnt(fleet.pid), time.monotonic() - at
        grown = sum(
            one.bytes_each * (one.net - (rows[table].net if table in rows else 0))
            for table, one in _rows(fleet.database).items()
        )
        memory, came = resident(fleet.pid), Counter(fleet.outcomes)
        counts, lag = evaluated(fleet.database, since)
        waits = _looked(fleet.url, fleet.key)
    sent = came["sent"]
    return Cost(
        adapters=adapters,
        seconds=round(took, 1),
        setup_cpu_s=round(fleet.setup / adapters, 3),
        service=round(100 * (after.service - before.service) / took, 2),
        postgres=round(100 * (after.postgres - before.postgres) / took, 2),
        memory_mb=round(memory, 1),
        records=sent,
        lost=sent - came["accepted"],
        evaluations=counts,
        lag=lag,
        probes=counts.get("perplexity", 0),
        disk_gb_a_day=round(grown / took * 86_400 / 1e9, 3),
        waits=waits,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Fleet:
    """A fleet at work: its service, its database, and what came of the records sent so far.

    ``setup`` is CPU seconds, of registrations and references.
    """

    pid: int
    url: str
    key: str
    adapters: int
    database: psycopg.Connection
    outcomes: Counter[str]
    setup: float

    def wait_for_first_probes(self) -> None:
        """Wait until each version was probed, as it is once it is registered."""
        while not _all_probed(self.database, self.adapters):
            time.sleep(1)


@contextmanager
def living(
    adapters: int, *, say: Callable[[str], None], speed: float = 1.0, **settings: str
) -> Iterator[Fleet]:
    """Set a fleet up and send its records, ``speed`` times as many a day as are its target."""
    names = [f"tenant-{number:04}" for number in range(adapters)]
    cards: list[dict[str, str | None]] = [{"id": "base", "parent": None}]
    cards += [{"id": f"{name}@v1", "parent": "base"} for name in names]
    with (
        tempfile.TemporaryDirectory(prefix="driftline-bench-") as parent,
        engine_serving(FakeEngine(models=cards, costs=_costs(names))) as engine,
        running(
            Path(parent) / "service",
            DRIFTLINE_SERVING__ENGINES=json.dumps([engine]),
            **SETTINGS,
            **settings,
        ) as (process, address),
    ):
        folder = Path(parent) / "service"
        wait_ready(process, address, folder)
        key = (folder / "data" / "admin.key").read_text().strip()
        url = address.removesuffix("/readyz")
        begun = burnt(process.pid)
        _set_up(url, key, names, say)
        setup = _spent(begun, burnt(process.pid))
        with (
            _stored(folder / "data") as database,
            _sending(url, key, names, speed=speed) as outcomes,
        ):
            yield Fleet(
                pid=process.pid,
                url=url,
                key=key,
                adapters=adapters,
                database=database,
                outcomes=outcomes,
                setup=setup,
            )


def _costs(names: Sequence[str]) -> dict[str, float]:
    """Let each adapter answer as itself: neither as the base does nor as another."""
    return {f"{name}@v1": 0.6 + 0.01 * number for number, name in enumerate(names)}


def _spent(before: Burnt, after: Burnt) -> float:
    return after.service + after.postgres - before.service - before.postgres


# --- setting up -----------------------------------------------------------------------------


def _set_up(url: str, key: str, names: Sequence[str], say: Callable[[str], None]) -> None:
    """Register every adapter with a version and a reference, and wait until they are ready."""
    say(f"{len(names)} adapters are registered, each with a reference of {BASELINE} records")
    body = _baseline()
    with _client(url, key) as client, ThreadPoolExecutor(SETTERS) as pool:

        def one(name: str) -> None:
            path = f"/v1/adapters/{name}/versions/v1"
            client.put(path, json={"model": f"{name}@v1"}).raise_for_status()
            answer = client.post(
                f"{path}/reference",
                content=body,
                headers={"content-type": "application/x-ndjson"},
            )
            answer.raise_for_status()

        list(pool.map(one, names))
        for name in names:
            while not _ready(client, name):
                time.sleep(0.2)


def _ready(client: httpx2.Client, name: str) -> bool:
    found = client.get(f"/v1/adapters/{name}/versions/v1/reference").json()["items"][0]
    if found["state"] == "failed":
        raise RuntimeError(f"the reference of {name} failed: {found['error']}")
    return bool(found["state"] == "ready")


def _baseline() -> bytes:
    rng = np.random.default_rng(19)
    end = datetime.now(UTC) - timedelta(minutes=1)
    step = timedelta(days=15) / BASELINE
    lines = [
        {"role": "baseline", **_record(rng, f"b{number}", end - (BASELINE - number) * step)}
        for number in range(BASELINE)
    ]
    return b"".join(json.dumps(line).encode() + b"\n" for line in lines)


def _record(rng: np.random.Generator, name: str, at: datetime) -> dict[str, Any]:
    nll = rng.exponential(max(0.05, rng.gamma(4.0, 0.1)), TOKENS)
    return {
        "id": name,
        "at": at.isoformat(),
        "output": "a short and friendly answer to the question that was asked",
        "token_logprobs_f16": pack_f16(-nll),
        "token_entropy_f16": pack_f16(nll),
        "token_margin_f16": pack_f16(2 * nll),
        "output_tokens": TOKENS,
        "prompt_tokens": int(rng.integers(20, 200)),
        "latency_ms": float(rng.gamma(9.0, 60.0)),
        "finish_reason": "stop",
        "status": 200,
        "subject": f"user-{rng.integers(10_000)}",
    }


# --- living ---------------------------------------------------------------------------------


@contextmanager
def _sending(url: str, key: str, names: Sequence[str], *, speed: float) -> Iterator[Counter[str]]:
    """Send records at the target's rate until the end; count those sent and those accepted."""
    outcomes, ending = Counter[str](), threading.Event()
    with _client(url, key) as client, ThreadPoolExecutor(1) as pool:
        traffic = _Traffic(
            names=names,
            begun=datetime.now(UTC) - BEFORE / speed,
            apart=timedelta(days=1) / (speed * A_DAY * len(names)),
        )
        sender = pool.submit(_send, client, traffic, outcomes, ending)
        try:
            yield outcomes
        finally:
            ending.set()
            sender.result(60)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Traffic:
    """The adapters that records are of in turn, when the first one was, and their distance."""

    names: Sequence[str]
    begun: datetime
    apart: timedelta

    def due(self) -> int:
        """Count the records until now."""
        return (datetime.now(UTC) - self.begun) // self.apart

    def record(self, rng: np.random.Generator, number: int) -> dict[str, Any]:
        """Make a record."""
        made = _record(rng, f"r{number}", self.begun + number * self.apart)
        return {**made, "adapter": self.names[number % len(self.names)], "version": "v1"}


def _send(
    client: httpx2.Client, traffic: _Traffic, outcomes: Counter[str], ending: threading.Event
) -> None:
    rng, sent = np.random.default_rng(7), 0
    while not ending.wait(SEND_EVERY):
        due = traffic.due()
        for first in range(sent, due, 500):
            batch = [traffic.record(rng, number) for number in range(first, min(first + 500, due))]
            lines = b"\n".join(json.dumps(one).encode() for one in batch)
            kind = {"content-type": "application/x-ndjson"}
            outcome = client.post("/v1/records", content=lines, headers=kind).json()
            outcomes["sent"] += len(batch)
            outcomes["accepted"] += outcome.get("accepted", 0)
        sent = max(sent, due)


def _looked(url: str, key: str) -> dict[str, float]:
    """Return the 95th percentile of each page's answer, in milliseconds."""
    found = {}
    with _client(url, key) as client:
        client.post("/login", data={"key": key})
        for path in PATHS:
            waits = []
            for _ in range(LOOKS):
                begun = time.perf_counter()
                client.get(path).raise_for_status()
                waits.append(1e3 * (time.perf_counter() - begun))
            found[path] = round(float(np.quantile(waits, 0.95)), 1)
    return found


def _client(url: str, key: str) -> httpx2.Client:
    headers = {"authorization": f"Bearer {key}"}
    return httpx2.Client(base_url=url, headers=headers, timeout=120, trust_env=False)


# --- what is stored -------------------------------------------------------------------------


@contextmanager
def _stored(data_dir: Path) -> Iterator[psycopg.Connection]:
    with (
        EmbeddedPostgres(data_dir) as server,
        psycopg.connect(server.conninfo, autocommit=True) as connection,
    ):
        yield connection


def _all_probed(database: psycopg.Connection, adapters: int) -> bool:
    row = database.execute(
        "SELECT count(DISTINCT version_id) FROM evaluations"
        " WHERE kind = 'perplexity' AND state = 'done'"
    ).fetchone()
    return row is not None and int(row[0]) == adapters


class _Rows(NamedTuple):
    """The rows of a table: those added and not deleted, and bytes of each, indexes included."""

    net: int
    bytes_each: float


def _rows(database: psycopg.Connection) -> dict[str, _Rows]:
    """Count the rows of all tables; pages grow in leaps, and would not tell minutes apart."""
    found = database.execute(
        "SELECT relname, n_tup_ins - n_tup_del, pg_total_relation_size(relid)::float8 / n_live_tup"
        " FROM pg_stat_user_tables WHERE n_live_tup > 0"
    ).fetchall()
    return {str(table): _Rows(int(net), float(each)) for table, net, each in found}


def evaluated(
    database: psycopg.Connection, since: datetime
) -> tuple[dict[str, int], dict[str, float]]:
    """Count the evaluations that ended since, and how late each kind was."""
    rows = database.execute(
        "SELECT kind, count(*), percentile_cont(0.95) WITHIN GROUP"
        " (ORDER BY extract(epoch FROM finished_at - window_end))"
        " FROM evaluations WHERE state = 'done' AND finished_at >= %s GROUP BY kind",
        (since,),
    ).fetchall()
    counts = {str(kind): int(count) for kind, count, _ in rows}
    late = {
        str(kind): round(float(lag) - KINDS[str(kind)], 1)
        for kind, _, lag in rows
        if str(kind) in KINDS
    }
    return counts, late

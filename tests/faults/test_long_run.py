"""What a day and a whole fleet leave behind: nothing that grows, and nobody forgotten."""

import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

import httpx2
import numpy as np
import psycopg
import pytest

from tests.load import busy
from tests.service import CALM, NDJSON, Service, Talk, baseline, ndjson, running, until

DAY = {
    "schedule.tick": "100ms",
    "schedule.hard_interval": "200ms",
    "schedule.hard_lag": "0s",
    "schedule.live_interval": "1s",
    "alerting.delivery.poll": "100ms",
}
"""A day's 1,440 looks at hard signals take five minutes."""
LOOKS = 1_440
QUEUES = (
    "tasks",
    "outbox",
    "pending_texts",
    "verdicts",
    "latest_scores",
    "process_states",
    "flags",
)
"""Tables that hold what is so now: rows are replaced, and the space must be used again."""


@dataclass(frozen=True)
class Size:
    """What a service takes."""

    mib: float
    threads: int
    descriptors: int
    queues_mib: float

    @classmethod
    def of(cls, service: Service, connection: psycopg.Connection) -> "Size":
        assert service.process is not None
        proc = Path(f"/proc/{service.process.pid}")
        status = dict(line.split(":", 1) for line in (proc / "status").read_text().splitlines())
        row = connection.execute(
            "SELECT sum(pg_total_relation_size(one::regclass)) FROM unnest(%s::text[]) AS one",
            [list(QUEUES)],
        ).fetchone()
        assert row is not None
        return cls(
            mib=int(status["VmRSS"].split()[0]) / 1024,
            threads=int(status["Threads"]),
            descriptors=len(list((proc / "fd").iterdir())),
            queues_mib=float(row[0]) / (1 << 20),
        )


class Sender:
    """Sends records of some adapters until told to stop."""

    def __init__(self, service: Service, talks: list[Talk], *, pause: float) -> None:
        self.service, self.talks, self.pause = service, talks, pause
        self.acknowledged: set[str] = set()
        self.over = threading.Event()

    def run(self) -> None:
        while not self.over.is_set():
            for talk in self.talks:
                made = talk.records(20)
                try:
                    answer = self.service.call(
                        "POST", "/v1/records", content=ndjson(made), headers=NDJSON
                    )
                except httpx2.TransportError:
                    continue
                if answer.status_code == 202 and answer.json()["accepted"] == len(made):
                    self.acknowledged |= {one["id"] for one in made}
            self.over.wait(self.pause)


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_day_of_looks_leaves_memory_descriptors_threads_and_queues_as_they_were(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "service", changes=DAY) as service, service.stored() as connection:
        talks = [Talk("support"), Talk("billing")]
        for talk in talks:
            service.register(talk.adapter, "v1")
            service.upload(talk.adapter, "v1", baseline(350))
        sender = Sender(service, talks, pause=0.5)
        thread = threading.Thread(target=sender.run)
        thread.start()

        def looks() -> int:
            row = connection.execute(
                "SELECT count(*) FROM evaluations WHERE kind = 'hard'"
            ).fetchone()
            return int(row[0]) if row else 0

        try:
            sizes = []
            for share in np.linspace(0.25, 1.0, 4):
                until(
                    lambda s=share: bool(looks() >= s * LOOKS),  # type: ignore[misc]  # a default argument
                    f"{share:.0%} of a day",
                    patience=900,
                )
                sizes.append(Size.of(service, connection))
                print(f"{share:4.0%} of a day: {sizes[-1]}")
        finally:
            sender.over.set()
            thread.join()
        warm, last = sizes[0], sizes[-1]
        assert last.mib < warm.mib + 24
        assert last.threads <= warm.threads + 4
        assert last.descriptors <= warm.descriptors + 8
        assert last.queues_mib < warm.queues_mib + 4


FLEET, LOAD = 300, 20


def registered(service: Service, adapter: str) -> bool:
    """Ask once; a machine without time may answer too late."""
    with suppress(httpx2.TransportError):
        path = f"/v1/adapters/{adapter}/versions/v1"
        return service.call("PUT", path, json={"base_model": "acme/base"}).is_success
    return False


@pytest.mark.slow
@pytest.mark.timeout(1800)
def test_a_fleet_that_is_registered_under_load_is_known_and_watched_to_the_last(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "service", changes=CALM) as service, service.stored() as connection:
        talks = [Talk(f"busy-{number}") for number in range(8)]
        for talk in talks:
            service.register(talk.adapter, "v1")
        senders = [Sender(service, [talk], pause=0.0) for talk in talks]
        threads = [threading.Thread(target=sender.run) for sender in senders]
        for thread in threads:
            thread.start()
        took: list[float] = []

        def register(number: int) -> None:
            begun = time.monotonic()
            until(lambda: registered(service, f"adapter-{number}"), "registered", patience=600)
            took.append(time.monotonic() - begun)

        begun = time.monotonic()
        try:
            with busy(LOAD), ThreadPoolExecutor(4) as pool:
                list(pool.map(register, range(FLEET)))
            whole = time.monotonic() - begun

            def watched() -> bool:
                row = connection.execute(
                    "SELECT count(DISTINCT version_id) FROM evaluations"
                ).fetchone()
                return bool(row and row[0] == FLEET + len(talks))

            until(watched, "an evaluation of every adapter", patience=1500)
        finally:
            for sender in senders:
                sender.over.set()
            for thread in threads:
                thread.join()
        acknowledged = set().union(*(sender.acknowledged for sender in senders))
        stored = {row[0] for row in connection.execute("SELECT id FROM records").fetchall()}
        print(
            f"{FLEET} adapters in {whole:.0f} s, p99 {np.quantile(took, 0.99):.1f} s;"
            f" evaluated after {time.monotonic() - begun:.0f} s;"
            f" acknowledged {len(acknowledged)}, stored {len(stored)}"
        )
        assert acknowledged <= stored

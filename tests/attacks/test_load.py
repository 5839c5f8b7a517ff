"""More than there is room for, and kills on a machine that has no time."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import pytest

from monitor.postgres.process import live_postmaster
from tests.faults.test_kills import Sender, check_records
from tests.load import busy
from tests.service import CALM, NDJSON, Service, Talk, ndjson, running, until

pytestmark = [pytest.mark.attack, pytest.mark.timeout(1200)]

LOAD = 20
MINUTE = 60.0
AT_A_TIME = 40
"""Senders whose batches together would fill the queue, of which one key has half."""
BATCH = 250
MOST_MIB = 200.0


def resident_mib(service: Service) -> float:
    assert service.process is not None
    status = Path(f"/proc/{service.process.pid}/status").read_text()
    [line] = [line for line in status.splitlines() if line.startswith("VmRSS")]
    return int(line.split()[1]) / 1024


@dataclass
class Flood:
    """Sends without waiting for room, and remembers what became of each record."""

    service: Service
    statuses: Counter[str] = field(default_factory=Counter)
    accepted: set[str] = field(default_factory=set)
    refused: set[str] = field(default_factory=set)
    unhinted: int = 0
    over: threading.Event = field(default_factory=threading.Event)
    lock: threading.Lock = field(default_factory=threading.Lock)

    def run(self, number: int) -> None:
        talk = Talk(f"adapter-{number % 8}")
        while not self.over.is_set():
            made = talk.records(BATCH)
            names = {f"{number}-{one['id']}" for one in made}
            body = ndjson([one | {"id": f"{number}-{one['id']}"} for one in made])
            try:
                answer = self.service.call("POST", "/v1/records", content=body, headers=NDJSON)
            except httpx2.TransportError as error:
                with self.lock:
                    self.statuses[type(error).__name__] += 1
                continue
            with self.lock:
                self._note(answer, names)

    def _note(self, answer: httpx2.Response, names: set[str]) -> None:
        self.statuses[str(answer.status_code)] += 1
        if answer.status_code == 202:
            self.accepted |= names
        elif answer.status_code == 429:
            self.refused |= names
            self.unhinted += "retry-after" not in answer.headers


def test_ten_times_what_it_can_take_costs_no_memory_and_no_record_that_was_accepted(
    tmp_path: Path,
) -> None:
    with running(tmp_path / "service", changes=CALM) as service:
        for number in range(8):
            service.register(f"adapter-{number}", "v1")
        service.send(Talk("adapter-0").records(500))
        usual, peak = resident_mib(service), 0.0
        flood = Flood(service)
        threads = [
            threading.Thread(target=flood.run, args=(number,)) for number in range(AT_A_TIME)
        ]
        for thread in threads:
            thread.start()
        end = time.monotonic() + MINUTE
        while time.monotonic() < end:
            peak = max(peak, resident_mib(service))
            time.sleep(0.5)
        flood.over.set()
        for thread in threads:
            thread.join()
        until(service.ready, "ready afterwards")
        with service.stored() as connection:
            stored = dict(
                connection.execute("SELECT id, count(*) FROM records GROUP BY id").fetchall()
            )
        print(
            f"{dict(flood.statuses)}; accepted {len(flood.accepted)}, stored {len(stored)},"
            f" refused {len(flood.refused)}; memory {usual:.0f} MiB, at most {peak:.0f}"
        )
        assert flood.accepted <= stored.keys()
        assert not flood.refused & stored.keys()
        assert set(stored.values()) == {1}
        assert flood.statuses["429"] > 0
        assert flood.unhinted == 0
        assert not {"500", "502", "504"} & flood.statuses.keys()
        assert peak < usual + MOST_MIB


def test_kills_of_service_and_server_on_a_machine_without_time_lose_nothing(
    tmp_path: Path,
) -> None:
    """Only how soon it is back is the machine's business: that is asked when it has time again."""
    with running(tmp_path / "service", changes=CALM) as service:
        talks = [Talk(f"adapter-{number}") for number in range(4)]
        for talk in talks:
            service.register(talk.adapter, "v1")
        sender = Sender(service=service, talks=talks)
        thread = threading.Thread(target=sender.run)
        thread.start()
        try:
            until(lambda: len(sender.acknowledged) > 200, "records at first")
            with busy(LOAD):
                time.sleep(MINUTE / 4)
                at_load = len(sender.acknowledged)
                service.kill_postgres()
                time.sleep(MINUTE / 4)
                service.kill()
                service.launch()
                time.sleep(MINUTE / 4)
                if live_postmaster(service.data_dir / "postgres" / "cluster") is not None:
                    service.kill_postgres()
                time.sleep(MINUTE / 4)
            until(service.ready, "ready again", patience=300)
            before = len(sender.acknowledged)
            until(lambda: len(sender.acknowledged) > before + 200, "records afterwards")
        finally:
            sender.done.set()
            thread.join()
        with service.stored() as connection:
            check_records(connection, sender)
            row = connection.execute("SELECT count(*) FROM records").fetchone()
        print(
            f"acknowledged {at_load} until the first kill, {before} when it had time again,"
            f" {len(sender.acknowledged)} in all; stored {row and row[0]}, sent again"
            f" {sender.resent}; unexpected {sender.unexpected}"
        )
        assert sender.unexpected == []

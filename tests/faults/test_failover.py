"""The primary dies under load, its standby is promoted, and the service goes on by itself."""

import threading
import time
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psycopg
import pytest

from monitor.postgres.account import choose_account
from monitor.postgres.binaries import find_binaries
from tests.servers import OWNER, pair
from tests.service import NDJSON, Service, Talk, ndjson, running, until

pytestmark = pytest.mark.skipif(
    choose_account(find_binaries()).switch, reason="the kernel refuses user namespaces"
)

BATCH = 20


@dataclass
class Sender:
    """Sends batches one after the other, each until it is acknowledged."""

    service: Service
    talk: Talk = field(default_factory=lambda: Talk("support"))
    acknowledged: set[str] = field(default_factory=set)
    last: float = 0.0
    gap: float = 0.0
    over: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        self.last = time.monotonic()
        while not self.over.is_set():
            made = self.talk.records(BATCH)
            body = ndjson(made)
            while not self.over.is_set():
                if self._taken(body):
                    self.acknowledged |= {one["id"] for one in made}
                    break
                time.sleep(0.05)

    def _taken(self, body: bytes) -> bool:
        try:
            answer = self.service.call("POST", "/v1/records", content=body, headers=NDJSON)
        except httpx2.TransportError:
            return False
        if answer.status_code != 202:
            return False
        now = time.monotonic()
        self.gap, self.last = max(self.gap, now - self.last), now
        return True


@pytest.mark.parametrize("synchronous", [True, pytest.param(False, marks=pytest.mark.slow)])
def test_a_failover_under_load_needs_nobody_and_loses_nothing_with_a_synchronous_standby(
    tmp_path: Path,
    synchronous: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    with pair(tmp_path, synchronous=synchronous) as (first, second):
        url = (
            f"postgresql+psycopg://{OWNER}@/driftline?host=127.0.0.1:{first.port}"
            f"&host=127.0.0.1:{second.port}&target_session_attrs=read-write"
        )
        with running(tmp_path / "service", changes={"database.url": url}) as service:
            service.register("support", "v1")
            sender = Sender(service)
            thread = threading.Thread(target=sender.run)
            thread.start()
            try:
                until(lambda: len(sender.acknowledged) > 500, "records before")
                until(lambda: evaluated(first.conninfo) > 1, "evaluations before")
                sender.gap = 0.0
                killed = time.monotonic()
                first.kill()
                second.promote()
                promoted = time.monotonic() - killed
                until(service.ready, "ready again")
                ready = time.monotonic() - killed
                before, done = len(sender.acknowledged), evaluated(second.conninfo)
                until(lambda: len(sender.acknowledged) > before + 500, "records after")
                until(lambda: evaluated(second.conninfo) > done + 1, "evaluations after")
            finally:
                sender.over.set()
                thread.join()
            stored = ids(second.conninfo)
            lost = sender.acknowledged - stored.keys()
            print(
                f"promoted after {promoted:.1f} s, ready after {ready:.1f} s, longest gap of"
                f" ingest {sender.gap:.1f} s; acknowledged {len(sender.acknowledged)}, lost"
                f" {len(lost)}, stored twice {sum(n > 1 for n in stored.values())}"
            )
            assert set(stored.values()) == {1}
            assert not (synchronous and lost)
            assert len(lost) <= BATCH  # what was on its way to an asynchronous one
            assert service.starts == 1
            status = {one["epoch"] for one in service.get("/v1/routes")["items"]}
            assert len(status) == 1


def _of(conninfo: str) -> str:
    return conninfo.replace("dbname=postgres", "dbname=driftline")


def evaluated(conninfo: str) -> int:
    with psycopg.connect(_of(conninfo)) as connection:
        row = connection.execute("SELECT count(*) FROM evaluations WHERE state = 'done'").fetchone()
    return row[0] if row else 0


def ids(conninfo: str) -> dict[str, int]:
    with psycopg.connect(_of(conninfo)) as connection:
        rows = connection.execute("SELECT id, count(*) FROM records GROUP BY id").fetchall()
    return dict(rows)

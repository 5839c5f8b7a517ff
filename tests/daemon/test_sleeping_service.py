"""An idle service sleeps, and what is to do wakes it."""

import time
from datetime import datetime
from pathlib import Path
from typing import cast

from tests.inbox import Inbox
from tests.service import LAG, Service, Talk, baseline, running, until

ASLEEP = {
    "schedule.tick": "10m",
    "schedule.hard_interval": "1h",
    "schedule.live_interval": "1h",
    "schedule.lease": "1m",
    "alerting.delivery.poll": "10m",
}
"""Loops look by themselves only after a time longer than the test waits."""

AWAKE = {"schedule.tick": "1s", "alerting.delivery.poll": "1s"}
"""The paces by default."""


def evaluated(service: Service) -> str:
    """Ask for an evaluation, and return the verdict once it has been made."""
    time.sleep(LAG)
    before = looks(service)
    assert service.call("POST", "/v1/adapters/support/evaluations").status_code == 202
    until(lambda: looks(service) > before, "the evaluation")
    return service.verdict("support")


def looks(service: Service) -> int:
    """How many live evaluations there have been."""
    found = service.get("/v1/adapters/support/evaluations", limit=100)["items"]
    return sum(one["kind"] == "live" for one in found)


def test_work_begins_when_it_is_made(tmp_path: Path) -> None:
    with Inbox() as inbox, running(tmp_path, changes=ASLEEP, inbox=inbox) as service:
        service.register("support", "v1")
        service.upload("support", "v1", baseline(1000))
        talk = Talk("support")
        service.send(talk.records(200))
        assert evaluated(service) == "stable"
        service.send(talk.records(400, shift=3.0))
        assert evaluated(service) != "stable"
        until(lambda: inbox.messages, "a message")
        service.terminate()
        assert "Traceback" not in service.log.read_text()


def transactions(service: Service) -> int:
    with service.stored() as connection:
        row = connection.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'driftline'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def database_clock(service: Service) -> datetime:
    with service.stored() as connection:
        [(now,)] = connection.execute("SELECT clock_timestamp()").fetchall()
    return cast("datetime", now)


MOST = 8.0
"""Transactions a second, a pool's look at its connection counted as one; loops that look at their
own paces make forty, and those that sleep three."""


def test_an_idle_service_leaves_its_database_alone(tmp_path: Path) -> None:
    with running(tmp_path, changes=AWAKE) as service:
        time.sleep(15)  # by then PostgreSQL has counted what the start took
        before = database_clock(service), transactions(service)
        time.sleep(20)
        seconds = (database_clock(service) - before[0]).total_seconds()
        assert transactions(service) - before[1] < MOST * seconds

"""An idle service sleeps, and what is to do wakes it."""

import time
from pathlib import Path

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
    asked = service.call("POST", "/v1/adapters/support/evaluations").json()

    def done() -> bool:
        return any(one["kind"] == "live" for one in service.get(asked["location"])["items"])

    until(done, "the evaluation")
    return service.verdict("support")


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


def transactions(service: Service) -> int:
    with service.stored() as connection:
        row = connection.execute(
            "SELECT xact_commit + xact_rollback FROM pg_stat_database WHERE datname = 'driftline'"
        ).fetchone()
    assert row is not None
    return int(row[0])


def test_an_idle_service_asks_its_database_less_than_thrice_a_second(tmp_path: Path) -> None:
    """A busy machine may make it ask less; the loops' own paces would be twenty a second."""
    with running(tmp_path, changes=AWAKE) as service:
        time.sleep(5)  # to come to rest
        before, begun = transactions(service), time.monotonic()
        time.sleep(20)
        asked = transactions(service) - before
        assert asked < 3 * (time.monotonic() - begun)
        print(f"{asked} transactions in 20 s")

"""SIGKILL of the service and of its database server while everything is under way."""

import random
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx2
import psycopg
import pytest

from tests.inbox import Inbox
from tests.service import NDJSON, Service, Talk, baseline, ndjson, running, until

BATCH = 20
REFERENCE = 350
"""Baseline records: a provisional reference."""


@dataclass
class Sender:
    """Sends batches until told to stop, each again and again until it is acknowledged.

    ``answered`` counts what the service said of every acknowledged batch.
    """

    service: Service
    talks: list[Talk]
    shifted: set[str] = field(default_factory=set)
    acknowledged: set[str] = field(default_factory=set)
    resent: int = 0
    unexpected: list[str] = field(default_factory=list)
    done: threading.Event = field(default_factory=threading.Event)

    def run(self) -> None:
        while not self.done.is_set():
            for talk in self.talks:
                shift = 3.0 if talk.adapter in self.shifted else 0.0
                records = talk.records(BATCH, shift=shift)
                if self.deliver(ndjson(records)):
                    self.acknowledged |= {record["id"] for record in records}
            time.sleep(0.05)

    def deliver(self, body: bytes) -> bool:
        """Send the same bytes until they are acknowledged; an answer may be lost."""
        while not self.done.is_set():
            try:
                answer = self.service.call("POST", "/v1/records", content=body, headers=NDJSON)
            except httpx2.TransportError:
                time.sleep(0.1)
            else:
                if answer.status_code == 202:
                    said = answer.json()
                    if said["accepted"] + said["duplicates"] != BATCH:
                        self.unexpected.append(answer.text)
                    return True
                if answer.status_code not in {429, 503}:
                    self.unexpected.append(f"{answer.status_code} {answer.text}")
                time.sleep(0.1)
            self.resent += 1
        return False


@pytest.fixture
def inbox() -> Iterator[Inbox]:
    with Inbox() as opened:
        yield opened


def start(service: Service, adapters: int) -> Sender:
    talks = [Talk(f"adapter-{number}") for number in range(adapters)]
    for talk in talks:
        service.register(talk.adapter, "v1", base_model=f"base of {talk.adapter}")
        service.upload(talk.adapter, "v1", baseline(REFERENCE))
    return Sender(service=service, talks=talks)


def torment(service: Service, sender: Sender, faults: list[str]) -> None:
    """One fault after the other; every time the service must come back by itself."""
    rng = random.Random(11)  # noqa: S311 (when faults happen, not a secret)
    turning = iter(sender.talks)
    for number, fault in enumerate(faults):
        if number * len(sender.talks) % len(faults) < len(sender.talks):
            sender.shifted |= {talk.adapter for talk in [next(turning, None)] if talk}
        time.sleep(rng.uniform(0.3, 1.5))
        if fault == "service":
            service.restart()
        else:
            service.kill_postgres()
            service.wait_ready()


def check_records(connection: psycopg.Connection, sender: Sender) -> None:
    found = connection.execute("SELECT id, count(*) FROM records GROUP BY id").fetchall()
    stored: dict[str, int] = dict(found)
    assert sender.acknowledged <= stored.keys()
    assert set(stored.values()) == {1}


def check_messages(connection: psycopg.Connection, inbox: Inbox) -> int:
    """Every change for the worse has one message, told under one id; give their number.

    What the last windows found while the service was told to stop waits in the queue.
    """
    untold = connection.execute(
        "SELECT count(*) FROM transitions t WHERE after IN ('drifting', 'critical')"
        " AND NOT EXISTS (SELECT FROM outbox WHERE transition_id = t.id)"
    ).fetchone()
    assert untold == (0,)
    twice = connection.execute(
        "SELECT transition_id FROM outbox WHERE transition_id IS NOT NULL"
        " GROUP BY transition_id, incident_id HAVING count(*) > 1"
    ).fetchall()
    assert twice == []
    stored = connection.execute("SELECT id::text, state FROM outbox").fetchall()
    assert {state for _, state in stored} <= {"delivered", "queued"}
    heard = {message.id for message in inbox.messages}
    assert {one for one, state in stored if state == "delivered"} <= heard <= dict(stored).keys()
    return len(stored)


def check_results(connection: psycopg.Connection) -> int:
    """Give the number of windows with a result; the table's key forbids a second one."""
    found = connection.execute(
        "SELECT count(*), count(DISTINCT (version_id, kind, window_end)) FROM evaluations"
        " WHERE state = 'done'"
    ).fetchone()
    assert found is not None
    done, windows = found
    assert done == windows > 0
    orphans = connection.execute(
        "SELECT count(*) FROM transitions WHERE evaluation_id NOT IN (SELECT id FROM evaluations)"
    ).fetchone()
    assert orphans == (0,)
    return int(done)


def survive(folder: Path, inbox: Inbox, *, faults: list[str], adapters: int) -> None:
    with running(folder, inbox=inbox, changes={"policy.insufficient_records": "5"}) as service:
        sender = start(service, adapters)
        thread = threading.Thread(target=sender.run)
        thread.start()
        try:
            torment(service, sender, faults)
            until(
                lambda: all(
                    service.verdict(t.adapter) in {"drifting", "critical"} for t in sender.talks
                ),
                "a verdict on every adapter whose answers changed",
            )
        finally:
            sender.done.set()
            thread.join()
        until(
            lambda: not service.get("/v1/deliveries", state="queued")["items"],
            "every message delivered",
        )
        assert service.terminate() <= 30
        with service.stored() as connection:
            check_records(connection, sender)
            messages = check_messages(connection, inbox)
            windows = check_results(connection)
    assert sender.unexpected == []
    print(
        f"{faults.count('service')} kills, {faults.count('postgres')} immediate restarts:"
        f" {len(sender.acknowledged)} records acknowledged and stored once,"
        f" {sender.resent} batches sent again, {windows} windows evaluated,"
        f" {messages} messages in {len(inbox.deliveries)} deliveries"
    )


def test_killed_in_the_middle_of_everything_it_loses_and_doubles_nothing(
    tmp_path: Path, inbox: Inbox
) -> None:
    faults = ["service", "postgres", "service", "service"]
    survive(tmp_path, inbox, faults=faults, adapters=3)


@pytest.mark.slow
def test_twenty_kills_and_five_immediate_restarts_of_the_database(
    tmp_path: Path, inbox: Inbox
) -> None:
    faults = (["service"] * 4 + ["postgres"]) * 5
    survive(tmp_path, inbox, faults=faults, adapters=8)

"""SIGKILL at five points of a delivery: nothing lost, nothing out of order."""

import subprocess
import sys
from collections import defaultdict
from pathlib import Path
from uuid import uuid4

import msgspec
import pytest

from alerts.types import Status
from monitor.store.database import Database
from monitor.store.incidents import deliveries, outbox
from monitor.store.incidents.outbox import DeliveryState
from tests.fleet import incident, message, register
from tests.loopback import Receiver, Seen, answer
from tests.outbox.mortal import Point

ROOT = Path(__file__).parents[2]
STORY = (Status.STARTED, Status.RECOVERED)


def queue_incidents(database: Database, number: int) -> set[str]:
    with database.begin() as tx:
        version = register(tx)
        return {
            str(
                outbox.enqueue(
                    tx,
                    channel="oncall",
                    alert=message(one, status),
                    incident_id=incident_id,
                )
            )
            for one in range(1, number + 1)
            for incident_id in [incident(tx, version, one)]
            for status in STORY
        }


def run_until_delivered(database: Database, receiver: Receiver, point: Point) -> int:
    url = database.engine.url.render_as_string(hide_password=False)
    ended = subprocess.run(
        [sys.executable, "-m", "tests.outbox.mortal", url, receiver.url, point.value],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=1_200,
    )
    assert ended.returncode == 0, ended.stderr[-2000:]
    return int(ended.stdout.split()[-1])


def first_arrivals(seen: list[Seen]) -> dict[str, list[str]]:
    """Return the statuses of each incident in the order in which they first arrived."""
    told: dict[str, list[str]] = defaultdict(list)
    known = set()
    for request in seen:
        if request.headers["webhook-id"] not in known:
            known.add(request.headers["webhook-id"])
            alert = msgspec.json.decode(request.body)
            told[alert["id"]].append(alert["status"])
    return told


def check(database: Database, point: Point, incidents: int) -> None:
    sent = queue_incidents(database, incidents)
    with Receiver([answer(204)]) as receiver:
        killed = run_until_delivered(database, receiver, point)
        seen = list(receiver.seen)
    arrived = [request.headers["webhook-id"] for request in seen]
    duplicates = len(arrived) - len(set(arrived))
    print(f"{point.value}: {len(sent)} messages, {killed} kills, {duplicates} duplicates")
    assert killed > 0
    assert set(arrived) == sent  # none lost, none invented: a repeat has the same id
    assert {*map(tuple, first_arrivals(seen).values())} == {tuple(map(str, STORY))}
    if point not in {Point.AFTER_POST, Point.IN_ACK}:
        assert duplicates == 0
    with database.begin() as tx:
        rows = deliveries.newest(tx, limit=10_000)
    assert {row.state for row in rows} == {DeliveryState.DELIVERED}


@pytest.mark.parametrize("point", list(Point))
def test_killed_again_and_again_nothing_is_lost_and_repeats_carry_the_same_id(
    database: Database, point: Point
) -> None:
    check(database, point, incidents=60)


def queue_groups(database: Database, number: int) -> set[str]:
    """The same stories, three beginnings in a message, and three ends of other incidents."""
    with database.begin() as tx:
        version = register(tx)
        ids = [incident(tx, version, one) for one in range(1, number + 1)]
        batches = set()
        for status in STORY:
            apart = 0 if status is STORY[0] else 1  # so that ends lie across beginnings
            for place, incident_id in enumerate(ids):
                if (place + apart) % 3 == 0 or place == 0:
                    batches.add(batch := uuid4())
                outbox.enqueue(
                    tx,
                    channel="oncall",
                    alert=message(place + 1, status),
                    incident_id=incident_id,
                    batch=batch,
                )
    return {str(batch) for batch in batches}


def test_groups_are_whole_and_in_order_however_often_it_is_killed(database: Database) -> None:
    sent = queue_groups(database, 60)
    with Receiver([answer(204)]) as receiver:
        killed = run_until_delivered(database, receiver, Point.AFTER_POST)
        seen = list(receiver.seen)
    assert killed > 0
    bodies: dict[str, set[bytes]] = defaultdict(set)
    told: dict[str, list[str]] = defaultdict(list)
    for request in seen:
        name = request.headers["webhook-id"]
        if name not in bodies:
            alert = msgspec.json.decode(request.body)
            for line in alert["group"]["alerts"] if alert["group"] else [alert]:
                told[line["id"]].append(line["status"])
        bodies[name].add(request.body)
    assert set(bodies) == sent
    assert {len(of_one) for of_one in bodies.values()} == {1}  # a repeat is the same message
    assert len(told) == 60
    assert {*map(tuple, told.values())} == {tuple(map(str, STORY))}


@pytest.mark.slow
@pytest.mark.timeout(1_200)  # some two hundred restarts, each behind a lease
@pytest.mark.parametrize("point", list(Point))
def test_the_same_with_a_thousand_incidents(database: Database, point: Point) -> None:
    check(database, point, incidents=1_000)

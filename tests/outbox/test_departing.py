"""What is told of a version ends when nobody is sent to it any more, and only then."""

from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Connection

from alerts.closing import Closing
from alerts.matching import parse_matcher
from alerts.types import Blame, VerdictKind
from monitor.domain import ArmKind, Version
from monitor.outbox.channels import ConfiguredChannel
from monitor.outbox.departing import Departing, DepartingFailed
from monitor.outbox.inputs import AlertInputs
from monitor.outbox.record import record_observation
from monitor.store import partitions
from monitor.store.database import Database
from monitor.store.incidents import deliveries, fleet_incidents, incidents
from monitor.store.incidents.incidents import IncidentRow
from monitor.store.registry import adapters
from monitor.store.tables.incidents import incidents as incidents_table
from monitor.store.tables.records import records
from monitor.store.tables.traffic import canaries as canaries_table
from monitor.store.traffic import canaries, departures
from monitor.traffic import table
from monitor.traffic.arms import ArmRequest
from tests.fleet import judge, register, verdict
from tests.outbox.test_record import Nowhere

NOW = datetime(2026, 3, 4, 14, 10, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
AFTER = 15 * MINUTE
CRITICAL = VerdictKind.CRITICAL
CHANNELS = (
    ConfiguredChannel(name="desk", channel=Nowhere(), matcher=parse_matcher({})),
    ConfiguredChannel(name="legal", channel=Nowhere(), matcher=parse_matcher({"tier": "gold"})),
)
ALONE = (("stable", "v7", 1.0),)
FALLEN_BACK = (("stable", "v7", 0.0), ("fallback", "v6", 1.0))
GONE = (("stable", "v6", 1.0),)


@pytest.fixture
def version(database: Database) -> Version:
    """``support@v7``, which was bad an hour ago; it has ``v6`` beside it and no route."""
    with database.begin() as tx:
        made = register(tx, "support", "v6", "v7")
        see(tx, made, now=NOW - 60 * MINUTE)
    return made


def see(
    tx: Connection,
    version: Version,
    kind: VerdictKind = CRITICAL,
    *,
    now: datetime,
    blame: Blame = Blame.ADAPTER,
) -> None:
    """Do what an evaluation does that finds this."""
    adapter = adapters.fetch(tx, version.adapter)
    assert adapter is not None
    found = verdict(kind, blame=blame)
    judge(tx, version, found)
    gone = version.id in departures.departed(tx, [version.id], now=now, after=AFTER)
    record_observation(
        tx,
        version,
        verdict=found,
        inputs=AlertInputs(adapter=adapter, departed=gone),
        channels=CHANNELS,
        now=now,
    )


def route(tx: Connection, *wanted: tuple[tuple[str, str, float], ...], adapter: str) -> None:
    """Set one route after the other, a minute apart, the last of them 20 minutes ago."""
    for number, arms in enumerate(wanted):
        table.put(
            tx,
            adapter,
            arms=[ArmRequest(arm=ArmKind(arm), version=name, weight=w) for arm, name, w in arms],
            expected_generation=number,
            reason="by hand",
            actor="ann",
            now=NOW - 20 * MINUTE - (len(wanted) - 1 - number) * MINUTE,
        )


def sweep(database: Database, *, now: datetime = NOW) -> list[IncidentRow]:
    """Look once; give all incidents, the first first."""
    names = [channel.name for channel in CHANNELS]
    departing = Departing(database=database, channels=names, after=AFTER)
    departing.turn(now=now)
    assert departing.turn(now=now) == []  # and once more, as another daemon does
    return database.run(incidents.incident_list)[::-1]


def told(database: Database) -> list[tuple[str, object, object]]:
    rows = database.run(deliveries.newest)[::-1]
    return [(row.channel, row.alert["status"], row.alert["number"]) for row in rows]


def test_an_incident_of_a_version_in_no_arm_ends_and_whoever_heard_of_it_hears_why(
    database: Database, version: Version
) -> None:
    with database.begin() as tx:
        route(tx, ALONE, GONE, adapter="support")
    [row] = sweep(database)
    assert (row.closing, row.closed_at, row.phase) == ("out_of_service", NOW, "ok")
    assert told(database) == [("desk", "started", 1), ("desk", "recovered", 1)]
    last = database.run(deliveries.newest)[0].alert
    assert last["summary"] == "support@v7: taken out of service after 60 min"
    assert last["reason"] == ("no arm of support's route has had v7 since 13:50 UTC (generation 2)")
    assert last["closing"] == "out_of_service"
    assert last["verdict"] == "critical"  # nobody has found it to be well

    # its evaluations go on, and find what they found before: nothing more is told
    with database.begin() as tx:
        see(tx, version, now=NOW + MINUTE)
    assert len(told(database)) == 2
    # back in the route, and as bad as ever: it is the same incident
    with database.begin() as tx:
        again = [ArmRequest(arm=ArmKind.STABLE, version="v7", weight=1.0)]
        table.put(
            tx, "support", arms=again, expected_generation=2, reason="", actor="ann",
            now=NOW + 2 * MINUTE,
        )  # fmt: skip
        see(tx, version, now=NOW + 3 * MINUTE)
    [row] = sweep(database, now=NOW + 60 * MINUTE)
    assert (row.closing, row.closed_at) == (None, None)
    assert told(database)[2:] == [("desk", "reopened", 1)]


@pytest.mark.parametrize(
    "routes",
    [
        pytest.param((), id="its adapter has no route"),
        pytest.param((GONE,), id="it never stood in one"),
        pytest.param((ALONE,), id="it answers"),
        pytest.param((ALONE, FALLEN_BACK), id="the breaker took its traffic"),
        pytest.param(
            (ALONE, (("stable", "v6", 1.0), ("shadow", "v7", 0.0))), id="it answers copies"
        ),
    ],
)
def test_an_incident_of_a_version_that_may_answer_again_stays_open(
    database: Database, version: Version, routes: tuple[tuple[tuple[str, str, float], ...], ...]
) -> None:
    with database.begin() as tx:
        route(tx, *routes, adapter="support")
    [row] = sweep(database)
    assert row.closed_at is None
    with database.begin() as tx:  # nor is anything kept back that is found of it
        see(tx, version, VerdictKind.STABLE, now=NOW)
        see(tx, version, now=NOW + MINUTE)
    assert [status for _, status, _ in told(database)] == ["started", "recovered", "reopened"]


def test_evaluations_that_fail_are_nobodys_concern_then(
    database: Database, version: Version
) -> None:
    with database.begin() as tx:
        see(tx, version, VerdictKind.STABLE, now=NOW - 50 * MINUTE)
        see(tx, version, VerdictKind.ERROR, now=NOW - 40 * MINUTE)
        route(tx, ALONE, GONE, adapter="support")
    rows = sweep(database)
    assert [(row.kind, row.closing) for row in rows] == [
        ("drift", None),
        ("error", "out_of_service"),
    ]
    with database.begin() as tx:
        see(tx, version, VerdictKind.ERROR, now=NOW + MINUTE)
    assert all(row.closed_at is not None for row in sweep(database))


@pytest.mark.usefixtures("version")
def test_it_stays_open_for_the_time_that_is_stated(database: Database) -> None:
    with database.begin() as tx:
        route(tx, ALONE, GONE, adapter="support")
    [row] = sweep(database, now=NOW - 6 * MINUTE)
    assert row.closed_at is None


def test_it_stays_open_while_somebody_reaches_it_past_the_route(
    database: Database, version: Version
) -> None:
    with database.begin() as tx:
        route(tx, ALONE, GONE, adapter="support")
    at = NOW - 2 * MINUTE
    database.run(lambda tx: partitions.ensure(tx, {at.date()}, tables=("records",)))
    with database.begin() as tx:
        tx.execute(
            records.insert().values(
                adapter_id=version.adapter_id, version_id=version.id, at=at, id="r1",
                context_id=1, sample_prob=1.0,
            )
        )  # fmt: skip
    [row] = sweep(database)
    assert row.closed_at is None
    [row] = sweep(database, now=NOW + timedelta(days=1))  # it was the last one
    assert row.closing == "out_of_service"


def test_it_stays_open_while_a_canary_holds_the_version(
    database: Database, version: Version
) -> None:
    with database.begin() as tx:
        route(tx, ALONE, GONE, adapter="support")
        control = register(tx, "support", "v6")
        made = canaries.add(
            tx, version, control=control, plan={}, state={"phase": "paused"}, guards=(),
            unchecked=(), mode=None, by="ann", now=NOW,
        )  # fmt: skip
    [row] = sweep(database)
    assert row.closed_at is None
    with database.begin() as tx:
        ended = canaries_table.update().where(canaries_table.c.id == made.id)
        tx.execute(ended.values(ended_at=NOW))
    [row] = sweep(database)
    assert row.closing == "out_of_service"


def test_an_incident_that_cannot_be_read_keeps_no_other_one_open(database: Database) -> None:
    with database.begin() as tx:
        odd, plain = (register(tx, name, "v6", "v7") for name in ("support", "billing"))
        for one in (odd, plain):
            see(tx, one, now=NOW - 60 * MINUTE)
            route(tx, ALONE, GONE, adapter=one.adapter)
        of_it = incidents_table.c.version_id == odd.id
        tx.execute(incidents_table.update().where(of_it).values(state={"phase": "waning"}))
    departing = Departing(database=database, channels=["desk"], after=AFTER)
    with pytest.raises(DepartingFailed, match=f"^{odd.id}$"):
        departing.turn(now=NOW)
    rows = database.run(incidents.incident_list)
    assert {row.adapter: row.closing for row in rows} == {
        "support": None,
        "billing": "out_of_service",
    }


def test_a_fleet_incident_ends_with_the_last_member_that_answers(database: Database) -> None:
    with database.begin() as tx:
        pair = [register(tx, name, "v6", "v7") for name in ("support", "billing")]
        for one in pair:
            see(tx, one, now=NOW - 60 * MINUTE, blame=Blame.BASE)
        route(tx, ALONE, GONE, adapter="support")
    [row] = sweep(database)
    members = database.run(lambda tx: fleet_incidents.members(tx, row.id))
    assert row.closed_at is None
    assert [one.adapter for one in members if one.left_at is None] == ["billing"]
    with database.begin() as tx:
        route(tx, ALONE, GONE, adapter="billing")
    [row] = sweep(database)
    assert row.closing == Closing.OUT_OF_SERVICE
    assert row.summary.startswith("2 adapters on one base model changed together")

"""What is old is deleted, and nothing else: whatever the clocks do."""

from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
import structlog

from monitor.daemon.keeping import Housekeeping, Timed
from monitor.store import clock, partitions
from monitor.store.database import Database
from tests.clocks import ShiftedDatabase

MONTHS = timedelta(days=120)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)
KEPT = {table: timedelta(days=7) for table in partitions.DEFAULT_RETENTION}
TOLERATED = timedelta(seconds=30)


@dataclass
class World:
    """A daemon, its machine's clock and its database's; time passes when told."""

    shifted: ShiftedDatabase
    passed: timedelta = timedelta()
    database_off: timedelta = timedelta()
    machine_off: timedelta = timedelta()
    keeping: Housekeeping = field(init=False)

    def __post_init__(self) -> None:
        self.restart()

    def restart(self) -> None:
        """Start the daemon anew: it remembers nothing."""
        self.keeping = Housekeeping(
            database=self.shifted.database,
            kept=KEPT,
            tolerated=TOLERATED,
            told=lambda: datetime.now(UTC) + self.passed + self.machine_off,
            monotonic=lambda: self.passed.total_seconds(),  # noqa: PLW0108 (it is replaced)
        )

    def set(self, *, machine: timedelta, database: timedelta) -> None:
        self.machine_off, self.database_off = machine, database
        self.shifted.move(self.passed + self.database_off)

    def go_on(self, time: timedelta, *, step: timedelta = HOUR) -> None:
        """Let true time pass, a turn of the loop at each step."""
        end = self.passed + time
        while self.passed < end:
            self.passed += step
            self.shifted.move(self.passed + self.database_off)
            self.keeping.turn()

    def days(self, table: str = "records") -> list[str]:
        with self.shifted.database.begin() as tx:
            return partitions.existing(tx, tables=[table])


@pytest.fixture
def world(database: Database) -> World:
    """Ten days of partitions, all but three of which are within 7 days.

    Counted from the first turn, which may be tomorrow.
    """
    today = (datetime.now(UTC) + HOUR).date()
    database.run(
        lambda tx: partitions.ensure(tx, [today - timedelta(days=back) for back in range(10)])
    )
    return World(ShiftedDatabase(database))


def test_a_daemon_whose_clock_is_months_ahead_deletes_nothing(world: World) -> None:
    """Before, it dropped every partition at its first turn, the database's clock being right."""
    before = world.days()
    world.set(machine=MONTHS, database=timedelta())
    with structlog.testing.capture_logs() as logs:
        world.go_on(timedelta(days=2))
    assert set(before) <= set(world.days())
    told = [one for one in logs if one["event"] == "nothing_is_deleted"]
    assert told[0]["reason"] == "this machine's clock is 120 days, 0:00:00 ahead of the database's"
    assert told[0]["would_drop"]["records"] == 2
    held = world.shifted.database.run(clock.held)
    assert held.reason is not None
    assert held.would_drop["records"] > 2


def test_what_is_old_goes_after_a_day_and_is_named_before(world: World) -> None:
    before = world.days()
    with structlog.testing.capture_logs() as logs:
        world.go_on(timedelta(hours=23))
    assert set(before) <= set(world.days())
    assert logs[0]["event"] == "nothing_is_deleted"
    assert logs[0]["would_drop"]["records"] == 2
    world.go_on(timedelta(hours=2))
    assert world.shifted.database.run(clock.held) == clock.DeletionsHeld()
    gone = set(before) - set(world.days())
    assert len(gone) == 3  # those of 9 and 8 days ago, and of the day that has passed


@pytest.mark.parametrize("way", [1, -1])
def test_a_whole_machine_months_off_and_right_again_deletes_nothing(world: World, way: int) -> None:
    world.go_on(timedelta(days=2))
    before = world.days()
    for _ in range(3):
        world.set(machine=way * MONTHS, database=way * MONTHS)
        world.go_on(timedelta(hours=7))
        world.set(machine=timedelta(), database=timedelta())
        world.go_on(timedelta(hours=7))
    assert set(before) <= set(world.days())


def test_a_machine_that_starts_months_ahead_deletes_nothing_for_a_day_and_is_told_of(
    world: World,
) -> None:
    world.go_on(timedelta(days=2))
    before = world.days()
    world.restart()
    world.set(machine=MONTHS, database=MONTHS)
    with structlog.testing.capture_logs() as logs:
        world.go_on(timedelta(hours=23))
    assert set(before) <= set(world.days())
    assert "the database's clock went ahead by 120 days" in logs[0]["reason"]
    assert logs[0]["would_drop"]["records"] == len(before)


@pytest.mark.parametrize("starts", [False, True])
def test_a_wrong_clock_that_stays_for_weeks_deletes_only_what_is_truly_old(
    world: World,
    starts: bool,  # noqa: FBT001 (a parameter of the test)
) -> None:
    """Before, after a day's grace, it deleted 24 days of records each further day."""
    world.go_on(timedelta(days=2))
    before = world.days()
    world.set(machine=MONTHS, database=MONTHS)
    if starts:
        world.restart()
    world.go_on(timedelta(days=2))
    world.restart()
    with structlog.testing.capture_logs() as logs:
        world.go_on(timedelta(days=4))
    gone = sorted(set(before) - set(world.days()))
    assert gone == before[: len(gone)]
    assert len(gone) <= 6 + 1  # the days that truly went by
    assert logs[0]["event"] == "deletions_wait_for_a_person"
    assert "went ahead by 120 days" in logs[0]["reason"]
    assert logs[0]["would_drop"]["records"] > len(before) - len(gone)
    world.set(machine=timedelta(), database=timedelta())
    world.go_on(timedelta(days=2))
    assert world.shifted.database.run(clock.held) == clock.DeletionsHeld()


def test_a_clock_that_a_person_confirms_is_caught_up_with_by_a_day_an_hour(world: World) -> None:
    """It was five days slow, say, until somebody set it right."""
    slow = timedelta(days=-5)
    world.set(machine=slow, database=slow)
    world.go_on(timedelta(days=2))
    world.set(machine=timedelta(), database=timedelta())
    world.go_on(timedelta(days=2))
    before = world.days()
    assert abs(world.shifted.database.run(clock.confirm) + slow) < HOUR
    for hours in range(1, 4):
        world.restart()  # a daemon that is started anew gets no step of its own
        world.keeping.turn()
        world.go_on(HOUR)
        assert len(set(before) - set(world.days())) <= hours + 1
    world.go_on(timedelta(hours=6))
    today = (datetime.now(UTC) + world.passed).date()
    assert min(world.days()) == f"records_{today - timedelta(days=7):%Y%m%d}"
    assert world.shifted.database.run(clock.confirm) == timedelta()


def test_what_ends_as_time_goes_by_waits_for_a_clock_that_jumped(world: World) -> None:
    times: list[datetime] = []
    timed = Timed(
        name="departures",
        database=world.shifted.database,
        work=times.append,
        tolerated=TOLERATED,
        told=lambda: datetime.now(UTC) + world.passed + world.machine_off,
    )
    world.go_on(HOUR)
    timed.turn()
    assert len(times) == 1
    world.set(machine=MONTHS, database=timedelta())
    timed.turn()
    world.set(machine=MONTHS, database=MONTHS)
    world.go_on(MINUTE, step=MINUTE)
    with structlog.testing.capture_logs() as logs:
        timed.turn()
    assert len(times) == 1
    assert [one["what"] for one in logs] == []
    world.go_on(timedelta(hours=25))
    timed.turn()
    assert len(times) == 2


def test_rows_that_wait_are_deleted_by_the_same_clock(world: World) -> None:
    with world.shifted.database.begin() as tx:
        tx.execute(
            sa.text(
                "INSERT INTO adapters (name) VALUES ('support');"
                "INSERT INTO pending_texts (adapter_id, record_id, at, received_at, prompt)"
                " SELECT id, 'a', pg_catalog.now(), pg_catalog.now(), 'x' FROM adapters"
            )
        )
    world.go_on(timedelta(days=2))
    world.set(machine=MONTHS, database=MONTHS)
    world.go_on(timedelta(hours=26))
    with world.shifted.database.begin() as tx:
        assert tx.execute(sa.text("SELECT count(*) FROM pending_texts")).scalar_one() == 1

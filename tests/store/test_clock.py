"""Which clock is believed, and what becomes of a database after one that was wrong."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import psycopg
import pytest
import sqlalchemy as sa
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Connection

from monitor.domain import EvaluationKind, Version
from monitor.store import clock
from monitor.store.clock import ASKED_EVERY, Clock, DatabaseClock, Watcher
from monitor.store.database import Database
from monitor.store.evaluation import tasks
from monitor.store.incidents import fleet_incidents
from monitor.store.registry import adapters, versions
from monitor.store.tables.columns import metadata
from tests.clocks import ShiftedDatabase

NOON = datetime(2031, 3, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
MONTHS = timedelta(days=120)
NO_SKEW = timedelta()
TOLERATED = timedelta(seconds=30)

STEADY = Clock(
    seen=NOON,
    steady_since=NOON - timedelta(days=30),
    jumped=timedelta(),
    reached=NOON,
    reached_at=NOON,
)


def look(before: Clock | None, now: datetime, elapsed: timedelta | None = None) -> Clock:
    return clock.looked(before, now=now, elapsed=elapsed, newest=now)


def withheld(known: Clock) -> str | None:
    return clock.withheld(known, skew=NO_SKEW, tolerated=TOLERATED)


def test_a_clock_that_runs_on_is_believed() -> None:
    assert withheld(look(STEADY, NOON + MINUTE, MINUTE)) is None


@pytest.mark.parametrize("by", [MONTHS, -MONTHS, timedelta(hours=1), timedelta(hours=-1)])
def test_a_clock_that_jumped_deletes_nothing_for_a_day(by: timedelta) -> None:
    jumped = look(STEADY, NOON + by + MINUTE, MINUTE)
    assert withheld(jumped) is not None
    hour = timedelta(hours=1)
    for _ in range(23):
        jumped = look(jumped, jumped.seen + hour, hour)
    assert withheld(jumped) is not None
    jumped = look(jumped, jumped.seen + hour, hour)
    assert withheld(jumped) is None


def test_a_night_without_the_service_is_no_jump_and_a_month_may_be_one() -> None:
    assert withheld(look(STEADY, NOON + timedelta(hours=20))) is None
    assert "went ahead by 30 days" in str(withheld(look(STEADY, NOON + timedelta(days=30))))


def test_a_database_that_nobody_has_looked_at_deletes_nothing_for_a_day() -> None:
    first = look(None, NOON)
    assert "first looked at lately" in str(withheld(first))
    assert clock.doubt(first, skew=NO_SKEW, tolerated=TOLERATED) is None


def test_a_first_look_reaches_no_further_than_the_newest_data() -> None:
    wrong = clock.looked(None, now=NOON + MONTHS, elapsed=None, newest=NOON)
    assert wrong.reached == NOON


@pytest.mark.parametrize("skew", [MONTHS, -MONTHS, timedelta(seconds=31)])
def test_two_clocks_that_differ_delete_nothing(skew: timedelta) -> None:
    assert clock.withheld(STEADY, skew=skew, tolerated=TOLERATED) is not None


@given(
    st.lists(
        st.tuples(
            st.timedeltas(min_value=timedelta(days=-400), max_value=timedelta(days=400)),
            st.timedeltas(min_value=timedelta(), max_value=timedelta(days=2)),
        ),
        max_size=30,
    )
)
def test_deletions_never_reach_further_than_the_clock_nor_than_twice_what_went_by(
    course: list[tuple[timedelta, timedelta]],
) -> None:
    """Whatever the clock does, unless confirmed: a day of it is believed after each steady day."""
    known, gone, wrong = STEADY, timedelta(), timedelta()
    for shift, elapsed in course:
        gone += elapsed
        wrong += shift
        known = look(known, NOON + gone + wrong, elapsed)
        if withheld(known) is None:
            known = clock.advanced(known)
        assert known.reached <= known.seen
        assert known.reached - NOON <= 2 * gone + clock.BELIEVED + len(course) * clock.STRAY


SPANS = st.timedeltas(timedelta(days=-400), timedelta(days=400))


@given(jumped=SPANS, ago=SPANS)
def test_no_jump_lets_what_must_last_be_over(jumped: timedelta, ago: timedelta) -> None:
    """Of whatever began before or after a jump, no more has surely gone by than since the jump."""
    since = NOON - ago
    known = replace(STEADY, steady_since=NOON - timedelta(hours=2), jumped=jumped)
    begun = clock.sure(known, since, now=NOON)
    if jumped and not known.steady_since <= since <= NOON:
        assert begun == known.steady_since
    else:
        assert begun == since


def test_a_term_that_a_clock_jumped_past_goes_on_for_a_day() -> None:
    jumped = replace(STEADY, steady_since=NOON, jumped=MONTHS)
    standing, over = NOON - MONTHS + MINUTE, NOON - MONTHS - MINUTE
    settled = NOON + clock.SETTLING
    assert clock.end(jumped, standing, now=NOON + MINUTE) == settled
    assert clock.end(jumped, over, now=NOON + MINUTE) == over
    assert clock.end(jumped, standing, now=settled) == standing
    assert clock.end(jumped, NOON + MONTHS, now=NOON) == NOON + MONTHS
    assert clock.end(STEADY, standing, now=NOON) == standing


def test_a_clock_that_is_wrong_again_is_not_believed_for_having_been_set_right() -> None:
    """First seen 120 days ahead, set right, and as far ahead again days later."""
    known = look(STEADY, NOON - MONTHS, timedelta())
    at_once = look(known, known.seen + MONTHS + MINUTE, MINUTE)
    assert clock.unconfirmed(at_once) is None
    for _ in range(50):
        known = look(known, known.seen + timedelta(hours=1), timedelta(hours=1))
    again = look(known, known.seen + MONTHS + MINUTE, MINUTE)
    assert "by 120 days" in str(clock.unconfirmed(again))


def test_a_week_off_is_believed_after_a_day_and_longer_when_a_person_says_so() -> None:
    week = look(STEADY, NOON + timedelta(days=7))
    assert clock.unconfirmed(week) is None
    assert "by 8 days" in str(clock.unconfirmed(look(STEADY, NOON + timedelta(days=8))))


def test_deletions_follow_a_clock_by_a_day_at_a_time_and_once_an_hour() -> None:
    behind = replace(
        STEADY, reached=NOON - timedelta(days=10), reached_at=NOON - timedelta(hours=2)
    )
    stepped = clock.advanced(behind)
    assert stepped.reached == NOON - timedelta(days=9)
    assert clock.advanced(stepped) == stepped


@pytest.fixture
def shifted(database: Database) -> ShiftedDatabase:
    return ShiftedDatabase(database)


def test_each_look_is_written_down_and_two_daemons_see_one_jump(shifted: ShiftedDatabase) -> None:
    database = shifted.database
    first, second = Watcher(), Watcher()
    for watcher in (first, second, first, second):
        database.run(watcher.look)
    shifted.move(MONTHS)
    seen = database.run(first.look)
    assert abs(seen.jumped - MONTHS) < MINUTE
    assert database.run(second.look).steady_since == seen.steady_since


def test_what_was_put_off_by_a_wrong_clock_is_due_when_it_is_right_again(
    shifted: ShiftedDatabase,
) -> None:
    """Before, an evaluation that was due in 5 minutes was due in 4 months."""
    database, watcher = shifted.database, Watcher()
    adapter = database.run(lambda tx: adapters.put(tx, name="support"))
    version = database.run(lambda tx: versions.put(tx, adapter=adapter, name="v1", model="m"))
    kind = EvaluationKind.LIVE
    database.run(lambda tx: tasks.ensure(tx, first_due={kind: timedelta()}))
    database.run(watcher.look)
    shifted.move(MONTHS)
    database.run(watcher.look)

    def claimed(owner: str) -> list[tasks.Claim]:
        lease = timedelta(minutes=1)
        return database.run(
            lambda tx: tasks.claim(tx, owner=owner, kinds=[kind], lease=lease, limit=1)
        )

    [held] = claimed("first")
    later = held.now + timedelta(minutes=5)
    done = tasks.Finished(claim=held, next_due=later, next_start=held.now)
    database.run(lambda tx: tasks.finish(tx, [done]))
    with database.begin() as tx:
        tx.execute(sa.text("UPDATE tasks SET next_due_at = now()"))
    [under_way] = claimed("first")
    shifted.move(timedelta())
    assert claimed("second") == []
    database.run(watcher.look)
    late = under_way.now + timedelta(minutes=5)
    done = tasks.Finished(claim=under_way, next_due=late, next_start=late)
    database.run(lambda tx: tasks.finish(tx, [done]))
    with database.begin() as tx:
        due, start, now = tx.execute(
            sa.text(
                "SELECT next_due_at, next_window_start, now() FROM tasks WHERE version_id = :v"
            ),
            {"v": version.id},
        ).one()
    assert due <= now + timedelta(minutes=5)
    assert start <= now


def test_others_judged_by_a_clock_that_was_ahead_are_waited_for_when_it_is_right_again(
    shifted: ShiftedDatabase,
) -> None:
    """Before, they counted as judged since, so a broken base was told as one adapter's page."""
    database, watcher, kind = shifted.database, Watcher(), EvaluationKind.LIVE

    def register(tx: Connection, name: str) -> Version:
        made = adapters.put(tx, name=name)
        return versions.put(tx, adapter=made, name="v1", model=name, base_model="llama")

    with database.begin() as tx:
        own, _ = register(tx, "own"), register(tx, "other")
        tasks.ensure(tx, first_due={kind: timedelta()})
    database.run(watcher.look)
    shifted.move(MONTHS)
    database.run(watcher.look)
    with database.begin() as tx:
        held = tasks.claim(tx, owner="me", kinds=[kind], lease=MINUTE, limit=2)
        later = held[0].now + MINUTE
        done = [
            tasks.Finished(claim=one, next_due=later, next_start=one.now, judged=True)
            for one in held
        ]
        tasks.finish(tx, done)
    shifted.move(timedelta())
    database.run(watcher.look)
    with database.begin() as tx:
        turned = clock.now(tx)
        _, unseen = fleet_incidents.looked_at(tx, own, cycle=MONTHS, kind=kind, turned=turned)
    assert unseen == 1


class Seconds:
    """A monotonic clock that a test moves."""

    at = 100.0

    def __call__(self) -> float:
        return self.at


def test_the_databases_time_goes_on_without_asking_and_follows_a_jump(database: Database) -> None:
    shifted, seconds = ShiftedDatabase(database), Seconds()
    time = DatabaseClock(database, monotonic=seconds)
    begun = time()
    shifted.move(MONTHS)
    seconds.at += ASKED_EVERY - 1
    assert time() == begun + timedelta(seconds=ASKED_EVERY - 1)
    seconds.at += 1
    assert time() > begun + MONTHS


def test_many_who_want_the_databases_time_ask_it_once(database: Database) -> None:
    asked, seconds = 0, Seconds()

    def count(*_: object) -> None:
        nonlocal asked
        asked += 1

    time = DatabaseClock(database, monotonic=seconds)
    seconds.at += ASKED_EVERY
    sa.event.listen(database.engine, "before_cursor_execute", count)
    for _ in range(1000):
        time()
    assert asked == 1


def test_while_the_database_is_away_its_last_answer_counts(database: Database) -> None:
    seconds = Seconds()
    time = DatabaseClock(database, monotonic=seconds)
    begun = time()

    def away(*_: object) -> None:
        raise psycopg.OperationalError("away")

    sa.event.listen(database.engine, "before_cursor_execute", away)
    seconds.at += 3600
    assert time() == begun + timedelta(hours=1)


def test_every_lease_is_given_back_when_the_clock_goes_back() -> None:
    leases = {table.name for table in metadata.sorted_tables if "lease_until" in table.c}
    given = {table for table, column in clock._PUT_OFF if column == "lease_until"}  # noqa: SLF001 - the list itself is what must be whole
    assert leases - given == {"tasks"}  # taken back whole

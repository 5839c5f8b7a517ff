"""What was compared day by day, and for how long a version was blind."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from alerts.types import VerdictKind
from monitor.domain import Version
from monitor.policy.coverage import Cause, Coverage, Why
from monitor.store.database import Database
from monitor.store.evaluation import coverage_days, verdicts
from tests.fleet import register, transition

HOUR = timedelta(hours=1)
START = datetime(2026, 11, 1, tzinfo=UTC)
END = datetime(2026, 12, 1, tzinfo=UTC)
OTHER = Why(Cause.SETTINGS, "temperature 0.7")


def _turned(database: Database, version: Version, *changes: tuple[datetime, VerdictKind]) -> None:
    before = VerdictKind.STABLE
    with database.begin() as tx:
        for at, after in changes:
            made = replace(transition(version, after, before=before), at=at)
            verdicts.add_transition(tx, made, evaluation_id=None)
            before = after


def _blind_time(database: Database, *, end: datetime = END) -> list[timedelta]:
    with database.begin() as tx:
        return list(coverage_days.blind_time(tx, start=START, end=end).values())


def test_blind_time_is_cut_to_the_period_whatever_came_between(database: Database) -> None:
    with database.begin() as tx:
        one, other = register(tx), register(tx, "billing")
    _turned(
        database,
        one,
        (START - 5 * HOUR, VerdictKind.BLIND),
        (START + 2 * HOUR, VerdictKind.CRITICAL),
        (START + 3 * HOUR, VerdictKind.STABLE),
        (START + 9 * HOUR, VerdictKind.BLIND),
        (START + 10 * HOUR, VerdictKind.STABLE),
        (END - 4 * HOUR, VerdictKind.BLIND),
    )
    _turned(database, other, (START - 9 * HOUR, VerdictKind.BLIND), (START, VerdictKind.STABLE))
    assert _blind_time(database) == [7 * HOUR]
    assert _blind_time(database, end=START + HOUR) == [HOUR]


def test_days_add_up_to_the_record_and_are_forgotten_in_time(database: Database) -> None:
    first = date(2026, 11, 3)
    with database.begin() as tx:
        version = register(tx)
        for days, compared, missed in ((0, 7, 3), (0, 5, 0), (1, 2, 8), (40, 9, 1)):
            one = Coverage(
                detector="entropy",
                requests=compared + missed,
                compared=compared,
                gaps={OTHER: missed} if missed else {},
            )
            day = first + timedelta(days=days)
            coverage_days.add(tx, {(version.id, day): [one]})
        [found] = coverage_days.totals(tx, first=first, last=first + timedelta(days=1))
        assert (found.adapter, found.version) == ("support", "v7")
        [summed] = found.coverage
        assert (summed.requests, summed.compared, summed.gaps) == (25, 14, {OTHER: 11})
        coverage_days.drop_older(tx, than=first + timedelta(days=1))
        assert coverage_days.totals(tx, first=first, last=first) == []
        [kept] = coverage_days.totals(tx, first=first, last=first + timedelta(days=50))
        assert kept.coverage[0].requests == 20

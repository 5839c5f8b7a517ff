"""The hours of the fleet's heat map."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.types import VerdictKind
from monitor.store.evaluation.verdicts import KindChange
from monitor.web.hours import HOURS, VerdictHours, first_hour, stretches

CRITICAL, DRIFTING, LEARNING, STABLE = (
    VerdictKind.CRITICAL,
    VerdictKind.DRIFTING,
    VerdictKind.LEARNING,
    VerdictKind.STABLE,
)
NOW = datetime(2026, 11, 28, 17, 20, tzinfo=UTC)
LONG_AGO = NOW - timedelta(days=30)


def at(hours: float) -> datetime:
    """So many hours after the oldest one began, which is 18:00 of the day before."""
    return datetime(2026, 11, 27, 18, tzinfo=UTC) + timedelta(hours=hours)


def change(hours: float, before: VerdictKind, after: VerdictKind) -> KindChange:
    return KindChange(at=at(hours), before=before, after=after)


@pytest.mark.parametrize(
    ("changes", "kind", "begun", "expected"),
    [
        pytest.param([], STABLE, LONG_AGO, [(STABLE, 0, 24)], id="nothing changed"),
        pytest.param([], LEARNING, at(20.5), [(LEARNING, 20, 4)], id="registered at 14:30"),
        pytest.param(
            [change(20.5, STABLE, CRITICAL)],
            CRITICAL,
            LONG_AGO,
            [(STABLE, 0, 20), (CRITICAL, 20, 4)],
            id="an hour has the worst of its verdicts: that of 14:30 counts from 14:00",
        ),
        pytest.param(
            [change(3.2, STABLE, DRIFTING), change(3.8, DRIFTING, STABLE)],
            STABLE,
            LONG_AGO,
            [(STABLE, 0, 3), (DRIFTING, 3, 1), (STABLE, 4, 20)],
            id="half an hour of drift is one hour of it",
        ),
    ],
)
def test_an_hour_has_the_worst_of_its_verdicts(
    changes: list[KindChange],
    kind: VerdictKind,
    begun: datetime,
    expected: list[tuple[VerdictKind, int, int]],
) -> None:
    assert first_hour(NOW) == at(0)
    wanted = [VerdictHours(kind=one, first=first, hours=hours) for one, first, hours in expected]
    assert stretches(changes, kind, begun=begun, now=NOW) == wanted


@given(st.lists(st.floats(0.0, 23.3), max_size=6).map(sorted))
def test_the_hours_of_a_version_known_all_day_are_all_there_once(moments: list[float]) -> None:
    kinds = [STABLE, CRITICAL] * 4
    changes = [change(one, kinds[n], kinds[n + 1]) for n, one in enumerate(moments)]
    found = stretches(changes, kinds[len(moments)], begun=LONG_AGO, now=NOW)
    covered = [hour for one in found for hour in range(one.first, one.first + one.hours)]
    assert covered == list(range(HOURS))

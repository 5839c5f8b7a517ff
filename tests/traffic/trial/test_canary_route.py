"""The term of a route with a version on trial: renewed in time, and not with every look."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from monitor.domain import AdapterId, Arm, ArmKind, Route, Version, VersionId
from monitor.traffic.trial.route import changed
from monitor.traffic.trial.settings import CanarySettings
from monitor.traffic.trial.states import Renew

NOW = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def renewed(left: timedelta, *, blind_max: timedelta = HOUR) -> Route | None:
    route = Route(
        adapter="support",
        generation=3,
        arms=(
            Arm(arm=ArmKind.STABLE, version="v7", model="support@v7", weight=0.8),
            Arm(arm=ArmKind.CANARY, version="v8", model="support@v8", weight=0.2),
        ),
        reason="canary 1",
        since=NOW,
        valid_until=NOW + left,
    )
    version = Version(
        id=VersionId(2),
        adapter_id=AdapterId(1),
        adapter="support",
        name="v8",
        model="support@v8",
        registered_at=NOW,
    )
    plan = replace(CanarySettings().plan(), blind_max=blind_max)
    return changed(route, Renew(), version, plan=plan, reason="", now=NOW)


@pytest.mark.parametrize("minutes", [46, 60])
def test_a_route_that_was_renewed_lately_is_kept(minutes: int) -> None:
    assert renewed(timedelta(minutes=minutes)) is None


@pytest.mark.parametrize("minutes", [0, 44, 61])
def test_a_route_is_renewed_once_a_quarter_is_over_or_the_clock_went_back(minutes: int) -> None:
    route = renewed(timedelta(minutes=minutes))
    assert route is not None
    assert (route.generation, route.valid_until) == (4, NOW + HOUR)


def test_at_the_longest_interval_a_look_that_is_a_little_early_renews() -> None:
    settings = CanarySettings(interval=timedelta(minutes=30), blind_max=HOUR)
    assert settings.problems == []
    early = timedelta(seconds=1)
    route = renewed(settings.blind_max - settings.interval + early)
    assert route is not None  # else it would have expired at the next look
    assert route.valid_until == NOW + HOUR

"""When an adapter's retraining is asked for, and why not."""

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.types import Blame, VerdictKind
from monitor.domain import AdapterId, Version, VersionId
from monitor.evaluate.retraining import RetrainSettings, replay_share, why_retrain
from monitor.store.traffic.retrainings import RetrainCause
from tests.fleet import NOW, verdict

SETTINGS = RetrainSettings()
DAY = timedelta(days=1)
VERSION = Version(
    id=VersionId(1),
    adapter_id=AdapterId(1),
    adapter="support",
    name="v7",
    model="support@v7",
    registered_at=NOW - 10 * DAY,
)


def cause(
    kind: VerdictKind = VerdictKind.DRIFTING,
    *,
    blame: Blame = Blame.INPUT,
    hours: float = 1.0,
    last: float | None = None,
    age: float = 10.0,
    max_age: timedelta = SETTINGS.max_age,
) -> RetrainCause | None:
    found = why_retrain(
        replace(VERSION, registered_at=NOW - age * DAY),
        verdict(kind, since=NOW - timedelta(hours=hours), blame=blame),
        last=None if last is None else NOW - last * DAY,
        settings=replace(SETTINGS, max_age=max_age),
        now=NOW,
    )
    return found and found[0]


@pytest.mark.parametrize("kind", [VerdictKind.DRIFTING, VerdictKind.CRITICAL])
def test_inputs_that_have_drifted_for_long_enough_ask(kind: VerdictKind) -> None:
    assert cause(kind) is RetrainCause.INPUT
    assert cause(kind, hours=0.9) is None


@pytest.mark.parametrize("blame", [one for one in Blame if one is not Blame.INPUT])
def test_no_other_blame_asks(blame: Blame) -> None:
    assert cause(blame=blame) is None


def test_a_version_that_has_recovered_does_not_ask() -> None:
    assert cause(VerdictKind.STABLE) is None
    assert why_retrain(VERSION, None, last=None, settings=SETTINGS, now=NOW) is None


def test_nothing_is_asked_twice_within_the_cool_down() -> None:
    assert cause(last=6.99) is None
    assert cause(last=7.0) is RetrainCause.INPUT
    assert cause(VerdictKind.STABLE, age=400, last=6.99) is None


def test_a_version_that_nobody_has_replaced_for_long_is_asked_for_unless_switched_off() -> None:
    assert cause(VerdictKind.STABLE, age=180) is RetrainCause.MAX_AGE
    assert cause(VerdictKind.STABLE, age=179.9) is None
    assert cause(VerdictKind.STABLE, age=4_000, max_age=timedelta()) is None


@given(st.integers(0, 10_000), st.integers(0, 10_000))
def test_the_replay_share_is_between_ten_and_twenty_percent_and_grows_with_what_is_new(
    unlike: int, like: int
) -> None:
    share = replay_share(unlike=unlike, compared=unlike + like)
    assert 0.10 <= share <= 0.20
    assert share <= replay_share(unlike=unlike + like, compared=unlike + like)

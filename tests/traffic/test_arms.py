import math
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monitor.domain import AdapterId, Arm, ArmKind, Edition, Route, Version, VersionId
from monitor.traffic.arms import (
    ArmRequest,
    InvalidRoute,
    effective,
    fallback_arms,
    resolve_arms,
    returned_arms,
    serving_arm,
)
from monitor.traffic.table import edition_of, etag, to_json
from tests.fleet import NOW

STABLE, CANARY, FALLBACK, SHADOW = (
    ArmKind.STABLE,
    ArmKind.CANARY,
    ArmKind.FALLBACK,
    ArmKind.SHADOW,
)


def version(name: str, number: int) -> Version:
    return Version(
        id=VersionId(number),
        adapter_id=AdapterId(1),
        adapter="support",
        name=name,
        model=f"support@{name}",
        registered_at=NOW,
    )


REGISTERED = {name: version(name, number) for number, name in enumerate(("v6", "v7", "v8"))}


def request(arm: ArmKind, name: str, weight: float) -> ArmRequest:
    return ArmRequest(arm=arm, version=name, weight=weight)


def arm(kind: ArmKind, name: str, weight: float) -> Arm:
    return Arm(arm=kind, version=name, model=f"support@{name}", weight=weight)


def route(*arms: Arm, valid_minutes: int | None = None, heir: ArmKind = STABLE) -> Route:
    return Route(
        adapter="support",
        generation=7,
        arms=arms,
        reason="test",
        since=NOW,
        valid_until=None if valid_minutes is None else NOW + timedelta(minutes=valid_minutes),
        on_expiry=heir,
    )


def test_arms_get_the_model_of_their_registered_version() -> None:
    arms = resolve_arms([request(STABLE, "v7", 0.95), request(CANARY, "v8", 0.05)], REGISTERED)
    assert arms == (arm(STABLE, "v7", 0.95), arm(CANARY, "v8", 0.05))


def test_typed_thirds_are_close_enough_to_one() -> None:
    thirds = [0.333333, 0.333333, 0.333334]
    kinds = (STABLE, CANARY, FALLBACK)
    requests = [
        request(kind, name, weight)
        for kind, name, weight in zip(kinds, REGISTERED, thirds, strict=True)
    ]
    assert len(resolve_arms(requests, REGISTERED)) == 3


@pytest.mark.parametrize(
    ("requests", "problem"),
    [
        pytest.param([], "needs a stable arm", id="nothing"),
        pytest.param([request(CANARY, "v8", 1)], "needs a stable arm", id="canary alone"),
        pytest.param(
            [request(STABLE, "v7", 0.5), request(STABLE, "v8", 0.5)], "is there twice", id="two"
        ),
        pytest.param([request(STABLE, "v7", 0.9)], "sum to 0.9", id="too little"),
        pytest.param(
            [request(STABLE, "v7", 1), request(CANARY, "v8", 0.1)], "sum to 1.1", id="too much"
        ),
        pytest.param(
            [request(STABLE, "v7", 1.5), request(CANARY, "v8", -0.5)],
            "weight -0.5 is not in",
            id="negative",
        ),
        pytest.param([request(STABLE, "v7", math.nan)], "weight nan", id="nan"),
        pytest.param([request(STABLE, "v7", math.inf)], "weight inf", id="infinite"),
        pytest.param([request(STABLE, "v9", 1)], "v9: the version is not registered", id="v9"),
        pytest.param(
            [request(STABLE, "v7", 0.5), request(SHADOW, "v8", 0.5)], "does not answer", id="shadow"
        ),
    ],
)
def test_arms_that_are_no_route_are_refused_with_the_problem(
    requests: list[ArmRequest], problem: str
) -> None:
    with pytest.raises(InvalidRoute) as refused:
        resolve_arms(requests, REGISTERED)
    assert any(problem in one for one in refused.value.problems)


def test_every_problem_is_named_at_once() -> None:
    with pytest.raises(InvalidRoute) as refused:
        resolve_arms([request(CANARY, "v9", 2.0)], REGISTERED)
    assert len(refused.value.problems) == 4  # no stable, weight, version, sum


def test_a_canary_past_its_validity_goes_to_weight_0() -> None:
    canary = route(arm(STABLE, "v7", 0.95), arm(CANARY, "v8", 0.05), valid_minutes=10)
    before = effective(canary, NOW + timedelta(minutes=9, seconds=59))
    after = effective(canary, NOW + timedelta(minutes=10))
    assert before == canary
    assert [one.weight for one in after.arms] == [1.0, 0.0]
    assert after.generation == canary.generation


def test_an_heir_that_the_route_lacks_is_the_stable_arm() -> None:
    expired = route(arm(STABLE, "v7", 0.5), arm(CANARY, "v8", 0.5), valid_minutes=0, heir=FALLBACK)
    assert [one.weight for one in effective(expired, NOW).arms] == [1.0, 0.0]


def test_the_canary_may_inherit_while_it_is_being_promoted() -> None:
    expired = route(arm(STABLE, "v7", 0.5), arm(CANARY, "v8", 0.5), valid_minutes=0, heir=CANARY)
    assert [one.weight for one in effective(expired, NOW).arms] == [0.0, 1.0]


@given(
    weight=st.floats(0, 1),
    heir=st.sampled_from(ArmKind),
    minutes=st.integers(-100, 100),
)
def test_what_is_in_force_always_sums_to_1_and_applying_expiry_twice_changes_nothing(
    weight: float, heir: ArmKind, minutes: int
) -> None:
    given_route = route(
        arm(STABLE, "v7", 1 - weight), arm(CANARY, "v8", weight), valid_minutes=0, heir=heir
    )
    now = NOW + timedelta(minutes=minutes)
    once = effective(given_route, now)
    assert math.fsum(one.weight for one in once.arms) == pytest.approx(1.0)
    assert effective(once, now).arms == once.arms


def test_a_fallback_keeps_the_stable_arm_to_return_to() -> None:
    healthy = route(arm(STABLE, "v7", 1.0))
    moved = route(*fallback_arms(healthy, REGISTERED["v6"]))
    assert moved.arms == (arm(STABLE, "v7", 0.0), arm(FALLBACK, "v6", 1.0))
    assert serving_arm(moved, "v7") is None
    assert serving_arm(moved, "v6") == arm(FALLBACK, "v6", 1.0)
    assert returned_arms(moved) == healthy.arms


def test_json_has_the_shape_that_routers_read() -> None:
    assert to_json(route(arm(STABLE, "v7", 1.0), valid_minutes=5)) == {
        "adapter": "support",
        "epoch": 0,
        "generation": 7,
        "arms": [{"arm": "stable", "version": "v7", "model": "support@v7", "weight": 1.0}],
        "reason": "test",
        "since": "2026-03-04T14:10:00+00:00",
        "valid_until": "2026-03-04T14:15:00+00:00",
        "on_expiry": "stable",
    }


NUMBERS = st.integers(0, 10**18 - 1)


@given(NUMBERS, NUMBERS)
def test_an_etag_reads_back_to_its_edition(epoch: int, generation: int) -> None:
    named = Edition(epoch, generation)
    assert edition_of(etag(named)) == named
    assert edition_of(f"W/{etag(named)}") == named


@given(NUMBERS, NUMBERS, NUMBERS)
def test_tags_of_two_epochs_differ_and_the_newer_epoch_is_greater(
    epoch: int, one: int, other: int
) -> None:
    assert etag(Edition(epoch, one)) != etag(Edition(epoch + 1, one))
    assert Edition(epoch + 1, other) > Edition(epoch, one)


@pytest.mark.parametrize("tag", ["", "*", "7", '"seven"', '"7-8", "9-10"', '"-7"', '"7-"'])
def test_other_tags_are_refused(tag: str) -> None:
    with pytest.raises(ValueError, match="not the ETag of a route"):
        edition_of(tag)

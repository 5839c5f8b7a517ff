"""What a router is found to do, whatever it said when it was told."""

from dataclasses import replace

import pytest

from monitor.domain import Arm, ArmKind, Route
from monitor.traffic.readback import read, tell
from tests.fleet import NOW
from tests.traffic.stage import Engine

ROUTE = Route(
    adapter="support",
    generation=3,
    arms=(Arm(arm=ArmKind.STABLE, version="v7", model="support@v7", weight=1.0),),
    reason="a test",
    since=NOW,
)
OTHER = (replace(ROUTE.arms[0], version="v6"),)


@pytest.mark.parametrize(
    ("engine", "goes", "reason"),
    [
        (Engine(), True, "confirmed by the router"),
        (Engine(fails=True), True, "confirmed by the router"),
        (
            Engine(arms=OTHER, deaf=True),
            False,
            "the router sends 100 % to v6 (stable)",
        ),
        (Engine(deaf=True, fails=True), False, "the router has no route"),
        (Engine(mute=True), None, "not read back yet: no answer"),
        (Engine(mute=True, fails=True), None, "not read back yet: no answer"),
    ],
)
def test_only_reading_back_tells_also_where_telling_failed_after_it_took_effect(
    *, engine: Engine, goes: bool | None, reason: str
) -> None:
    answer = tell(engine, ROUTE)
    assert (answer.goes, answer.reason) == (goes, reason)
    assert read(engine, ROUTE) == answer
    assert engine.applied == 1

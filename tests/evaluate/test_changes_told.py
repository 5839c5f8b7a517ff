"""A message lists what was declared to have changed about the time it tells of."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from monitor.domain import ChangeKind
from monitor.store.people import changes
from monitor.store.people.changes import Declaration
from tests.evaluate.test_quarantine import messages


@pytest.fixture
def declare(world: Any) -> Callable[..., None]:
    def put(title: str, *, ago: float, lasted: float | None = 0.0, **fields: Any) -> None:
        """Declare a change that began ``ago`` minutes ago; ``lasted`` None: it is under way."""
        begun_at = datetime.now(UTC) - timedelta(minutes=ago)
        known: dict[str, Any] = {"kind": ChangeKind.ENGINE, "adapters": None, "author": "deploys"}
        with world.database.begin() as tx:
            changes.add(
                tx,
                Declaration(
                    title=title,
                    begun_at=begun_at,
                    ended_at=None if lasted is None else begun_at + timedelta(minutes=lasted),
                    **(known | fields),
                ),
            )

    return put


def told(world: Any) -> list[dict[str, Any]]:
    return [row.alert for row in world.rows("SELECT alert FROM outbox ORDER BY seq")]


def test_a_drift_message_lists_the_changes_about_its_onset(
    world: Any, declare: Callable[..., None]
) -> None:
    declare("vLLM 0.33", ago=5, lasted=1)
    declare("shorter greeting", ago=3, kind=ChangeKind.PROMPT, adapters=("support",))
    declare("still rolling", ago=600, lasted=None, kind=ChangeKind.TRAFFIC)
    declare("an hour before", ago=60)
    declare("another adapter's", ago=4, adapters=("travel",))
    evaluator = world.evaluator(tell=messages())
    for shift in (0.0, 4.0):
        world.send(400, shift=shift)
        world.make_due()
        evaluator.evaluate(world.claim())
    [alert] = told(world)
    assert alert["onset"] is not None
    found = {change["title"]: change for change in alert["changes"]}
    assert list(found) == ["still rolling", "vLLM 0.33", "shorter greeting"]
    engine = found["vLLM 0.33"]
    assert (engine["kind"], engine["author"]) == ("engine", "deploys")
    assert engine["text"].endswith("UTC engine change: vLLM 0.33 (began 5 min before the onset)")
    assert found["still rolling"]["ended_at"] is None
    assert found["still rolling"]["text"].endswith("still under way)")


def test_failing_evaluations_are_told_with_what_changed_meanwhile(
    world: Any, declare: Callable[..., None]
) -> None:
    declare("moved to another region", ago=1, kind=ChangeKind.TRAFFIC)
    world.send(60)
    evaluator = world.evaluator(tell=messages())
    world.make_due()
    claim = world.claim()
    evaluator.report_broken(replace(claim, failures=4), RuntimeError("broken"))
    [alert] = told(world)
    assert (alert["kind"], alert["onset"]) == ("error", None)
    [change] = alert["changes"]
    assert change["text"].endswith("UTC traffic change: moved to another region")


def test_what_is_well_asks_for_no_changes(world: Any, declare: Callable[..., None]) -> None:
    declare("vLLM 0.33", ago=1)
    world.send(60)
    world.make_due()
    world.evaluator(tell=messages()).evaluate(world.claim())
    assert told(world) == []

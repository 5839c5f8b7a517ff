"""What each evaluation keeps of what it compared, and what the budget promises of it."""

from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any

from monitor.evaluate.outlook import Outlook
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy.coverage import Cause, Coverage, Why
from monitor.store.evaluation import coverage_days, evaluations

Run = Callable[..., Any]
OTHER = Why(Cause.SETTINGS, "temperature 0.2")

LOST = "% of requests use temperature 0.2, which the reference does not cover"


def test_every_window_with_requests_keeps_its_coverage_and_the_day_their_sum(
    world: Any, evaluate: Run
) -> None:
    world.send(60)
    evaluate()
    world.send(20, temperature=0.2)
    evaluate()
    evaluate()  # an empty window says nothing
    rows = world.rows("SELECT coverage FROM evaluations WHERE kind = 'live' ORDER BY id")
    assert [row.coverage is None for row in rows] == [False, False, True]
    now = datetime.now(tz=UTC)
    summed = world.database.run(
        lambda tx: evaluations.coverage_since(
            tx, version_id=world.version.id, since=now - timedelta(hours=1)
        )
    )
    [own] = [one for one in summed if one.detector == "logit_ks"]
    assert own == Coverage(detector="logit_ks", requests=81, compared=61, gaps={OTHER: 20})
    first = (now - timedelta(days=1)).date()
    [found] = world.database.run(lambda tx: coverage_days.totals(tx, first=first, last=now.date()))
    assert (found.version_id, found.coverage) == (world.version.id, summed)


def test_the_budget_promises_nothing_for_what_is_not_compared(world: Any, evaluate: Run) -> None:
    def line() -> Any:
        outlook = Outlook(EvaluateSettings(), world.evaluator().cadences)
        now = datetime.now(tz=UTC)
        [found] = [
            one
            for one in world.database.run(lambda tx: outlook.read(tx, now=now))
            if one.detector == "logit_ks"
        ]
        return found

    world.send(60)
    evaluate()
    whole = line()
    assert whole.uncompared is None
    for _ in range(4):
        world.send(60, temperature=0.2)
        evaluate()
    words = world.rows("SELECT detector, verdict FROM latest_scores WHERE detector <> 'feedback'")
    assert ("logit_ks", "blind") in [tuple(row) for row in words]
    found = line()
    assert found.blind == f"100 {LOST}"
    assert found.per_day < whole.per_day
    for _ in range(4):
        world.send(15, temperature=0.2)
        world.send(45)
        evaluate()
    partly = line()
    assert partly.uncompared == f"25 {LOST}"
    assert partly.blind != partly.uncompared

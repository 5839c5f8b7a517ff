"""One subject says only so much about a version on trial."""

from collections.abc import Callable
from typing import Any

from monitor.capture.intake import Intake, IntakeOutcome
from monitor.capture.quota import HOUR, Quota
from monitor.domain import Adapter


def test_the_quota_begins_anew_each_hour_and_is_each_ones_own() -> None:
    now = [0.0]
    quota = Quota(2, clock=lambda: now[0])
    assert [quota.allows("a") for _ in range(3)] == [True, True, False]
    assert quota.allows("b")
    now[0] = HOUR
    assert quota.allows("a")


def test_a_quota_of_nothing_holds_nobody_back() -> None:
    quota = Quota(0)
    assert all(quota.allows("a") for _ in range(1000))


def test_a_subject_that_asks_most_does_not_decide_alone(
    support: Adapter,
    open_intake: Callable[..., Intake],
    send: Callable[..., IntakeOutcome],
    record: Callable[..., dict[str, Any]],
) -> None:
    del support
    intake = open_intake(trial_per_subject=3)

    def told(count: int, **more: Any) -> tuple[int, int]:
        records = [record(**{"id": f"{sorted(more.items())}{n}"} | more) for n in range(count)]
        outcome = send(*records, by=intake)
        return outcome.accepted, outcome.sampled_out

    assert told(5, arm="canary", subject="ann") == (3, 2)
    assert told(5, arm="canary", subject="bob") == (3, 2)
    assert told(5, arm="shadow", subject="ann") == (3, 2)
    assert told(5, arm="canary") == (5, 0)
    assert told(5, arm="stable", subject="ann") == (5, 0)

"""What `learning` says: how far it is, when it is ready, what it will see."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from detectors.forecast import smallest_shift
from detectors.types import Budget
from monitor.domain import Reference, ReferenceId, ReferenceState, VersionId
from monitor.reference.learned import LearnedSettings
from monitor.reference.milestone import MilestoneRules, coverage, first
from monitor.store.references.baselines import Gathered

TUESDAY = datetime(2026, 3, 3, 9, 0, tzinfo=UTC)
RULES = MilestoneRules()


def test_a_new_version_says_when_its_first_reference_is_ready_and_what_it_will_see() -> None:
    found = Gathered(records=212, first_at=TUESDAY - timedelta(hours=15), last_day=212)
    said = first(found, rules=RULES, now=TUESDAY)
    # 788 more at 212 in 15 h take 55.8 h
    wait = timedelta(hours=788 / 212 * 15)
    assert said.reached_at == pytest.approx(TUESDAY + wait, abs=timedelta(seconds=1))
    assert said.text.startswith(
        "212 of 1,000 records; ready Thursday 16:45 UTC; will see +1 sd within a day"
    )
    assert said.sees == pytest.approx(1.02, abs=0.1)


def test_nothing_is_promised_where_no_records_come() -> None:
    silent = Gathered(records=40, first_at=TUESDAY - timedelta(days=3), last_day=0)
    never = Gathered(records=0, first_at=None, last_day=0)
    for found in (silent, never):
        said = first(found, rules=RULES, now=TUESDAY)
        assert (said.reached_at, said.sees) == (None, None)
        assert said.text == f"{found.records} of 1,000 records; none came in the last day"


def test_without_auto_a_person_is_asked_for_one() -> None:
    found = Gathered(records=5_000, first_at=TUESDAY - timedelta(days=3), last_day=1_500)
    said = first(found, rules=MilestoneRules(auto=False), now=TUESDAY)
    assert (said.needed, said.reached_at) == (300, None)
    assert "upload or freeze a reference" in said.text


def provisional(**changes: Any) -> Reference:
    fields = {
        "id": ReferenceId(1), "version_id": VersionId(1), "generation": 1,
        "state": ReferenceState.READY, "approved_by": None, "cause": "learned 1,000 records",
        "n_training": 0, "n_baseline": 1_000, "span_days": 2.0, "encoder": None, "strata": (),
        "created_at": TUESDAY, "ready_at": TUESDAY,
    }  # fmt: skip
    return Reference(**fields | changes)  # type: ignore[arg-type]  # as the fields say


def test_a_provisional_reference_says_when_coverage_will_approve_its_successor() -> None:
    found = Gathered(records=1_500, first_at=TUESDAY - timedelta(days=3), last_day=500)
    said = coverage(provisional(), found, rules=RULES, now=TUESDAY, auto=True)
    assert said.text.startswith(
        "provisional: 3.0 of 14 days and 1,500 of 1,000 records;"
        " approved by coverage on 14 March if stable then; will see +0."
    )
    assert said.reached_at == TUESDAY + timedelta(days=10.9)
    slow = Gathered(records=300, first_at=TUESDAY - timedelta(days=3), last_day=50)
    waits = coverage(
        provisional(), slow, rules=MilestoneRules(learned=LearnedSettings(least=300)),
        now=TUESDAY, auto=True,
    )  # fmt: skip
    # 1,000 records are needed for approval, whatever the first one took: 700 more at 50 a day
    assert waits.reached_at == TUESDAY + timedelta(days=14)
    byhand = coverage(provisional(), found, rules=RULES, now=TUESDAY, auto=False)
    assert (byhand.reached_at, byhand.needed_days) == (None, 13.9)


def test_more_records_more_days_of_traffic_and_more_budget_show_smaller_shifts() -> None:
    share = Budget(notice=1 / 9, page=0.0)

    def seen(records: int, per_day: float, budget: Budget = share) -> float:
        return smallest_shift(records=records, days=14.0, per_day=per_day, budget=budget)

    assert seen(10_000, 700) < seen(1_000, 700)
    assert seen(10_000, 4_000) < seen(10_000, 700)
    assert seen(10_000, 700, Budget(notice=1.0, page=0.0)) < seen(10_000, 700)
    # the published delays: +.2 sd in 9.9 h at 4,000 a day and budget 1, so less within a day
    assert 0.1 < seen(53_760, 4_000, Budget(notice=1.0, page=0.0)) < 0.2
    assert smallest_shift(records=1_000, days=1.0, per_day=0.0, budget=share) == float("inf")

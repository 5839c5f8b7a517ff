"""What is written down of an experiment of the benchmark of broken adapters."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from benchmarks.adapters.bound import upper_bound
from benchmarks.adapters.outcome import Moved, Seen, Told, outcome
from benchmarks.adapters.silence import drawn

BROKEN_AT = datetime(2026, 11, 28, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return BROKEN_AT + timedelta(seconds=seconds)


def told(seconds: float, severity: str = "page", **more: Any) -> Told:
    body = {
        "adapter": "bank",
        "severity": severity,
        "status": "started",
        "blame": "adapter",
        "reason": "because",
        "scores": [{"detector": "logit_ks", "process": "page", "evidence": 0.4}],
    }
    return Told(at=after(seconds), body=body | more)


def of(
    *messages: Told, moved: Moved | None = None, others: Sequence[str] = ()
) -> Mapping[str, Any]:
    """The outcome where one request a second meets the fault."""
    return outcome(
        Seen(
            adapters=frozenset({"bank"}),
            broken_at=BROKEN_AT,
            told=messages,
            moved=moved,
            broken=[after(second) for second in range(100)],
            probes=[after(5), after(65)],
            cpu_s=2.0,
            incidents=(),
            blame_now=None,
            others_moved=others,
        )
    )


def test_a_silent_experiment_has_nothing_but_its_damage() -> None:
    found = of()
    assert (found["ticket"], found["page"], found["moved"], found["blame"]) == (None,) * 4
    assert found["answered_broken"] == 100
    assert found["false_before"] == 0


def test_requests_are_counted_up_to_each_message() -> None:
    found = of(
        told(9.5, "ticket"), told(29.5, status="worsened"), moved=Moved(at=after(39.5), reason="")
    )
    assert found["ticket"]["requests"] == 10
    assert found["page"]["requests"] == 30
    assert found["moved"]["requests"] == 40
    assert found["page"]["after_s"] == 29.5


def test_what_was_told_before_the_fault_is_false_and_does_not_count_as_seen() -> None:
    found = of(told(-5))
    assert (found["false_before"], found["page"]) == (1, None)


def test_ends_and_updates_are_no_alarms() -> None:
    found = of(told(-9, status="recovered"), told(9, status="updated"))
    assert (found["false_before"], found["ticket"]) == (0, None)


def test_other_adapters_do_not_count_but_fleet_incidents_and_groups_do() -> None:
    assert of(told(3, adapter="maths"))["page"] is None
    fleet = told(3, adapter="", together={"members": ["maths@v2", "bank@v2"]})
    assert of(fleet)["page"]["requests"] == 4
    group = told(3, adapter="maths", group={"alerts": [{"adapter": "bank"}]})
    assert of(group)["page"]["requests"] == 4


def test_a_page_is_by_records_or_by_the_probe_alone() -> None:
    probe = [{"detector": "perplexity", "process": "page", "evidence": None}]
    quiet = [{"detector": "logit_ks", "process": "page", "evidence": -2.0}]
    assert of(told(1))["page"]["by"] == "records"
    assert of(told(1, scores=probe + quiet))["page"]["by"] == "probe"
    assert of(told(1, scores=quiet))["page"]["by"] is None


def test_a_probe_beside_records_is_named_by_whichever_of_its_lines_it_crossed() -> None:
    records = {"detector": "logit_ks", "process": "page", "evidence": 3.3}
    probe = {"detector": "perplexity", "process": "notice", "evidence": 1.9}
    page = of(told(1, scores=[records, probe]))["page"]
    assert (page["by"], page["detectors"]) == ("records", ["logit_ks", "perplexity"])
    assert of(told(1, scores=[probe]))["page"]["by"] == "probe"


def test_messages_and_moves_of_adapters_that_the_fault_does_not_hit_are_counted() -> None:
    others = (told(-3, adapter="maths"), told(3, "ticket", adapter="maths"))
    found = of(told(2), *others, told(4, adapter="maths", status="recovered"), others=["maths"])
    assert (found["others_told"], found["others_moved"]) == (2, ["maths"])
    assert (found["false_before"], found["page"]["requests"]) == (0, 3)


def test_the_blame_is_that_of_the_first_page() -> None:
    ticket = told(1, "ticket", blame="unknown")
    page = told(2, status="worsened", blame="serving")
    assert of(ticket, page)["blame"] == "serving"
    assert of(ticket)["blame"] == "unknown"


def test_causes_are_those_of_all_messages_but_the_end() -> None:
    messages = (
        told(-5, blame="base"),
        told(1, "ticket", blame="unknown"),
        told(2, blame="unknown"),
        told(3, status="updated", blame="adapter"),
        told(4, status="recovered", blame="serving"),
    )
    assert of(*messages)["causes"] == ["unknown", "adapter"]


def test_what_is_not_compared_is_no_sight_of_the_fault_and_is_counted_apart() -> None:
    starved = told(2, "ticket", kind="blind", blame="unknown")
    found = of(starved, told(30))
    assert (found["ticket"]["requests"], found["blind"]) == (31, 1)
    assert found["causes"] == ["adapter"]
    alone = of(starved)
    assert (alone["ticket"], alone["blame"], alone["blind"]) == (None, None, 1)
    settings = of(told(2, "ticket", kind="blind", blame="input"))
    assert (settings["ticket"]["requests"], settings["blind"]) == (3, 0), "clients changed"


def test_a_page_names_its_detectors() -> None:
    assert of(told(1))["page"]["detectors"] == ["logit_ks"]


def test_a_draw_takes_whole_users_and_tells_repeated_ones_apart() -> None:
    subjects = np.repeat(np.arange(20), 5)
    rows, whose = drawn(subjects, 60, np.random.default_rng(1))
    assert rows.size == whose.size == 60
    for user in np.unique(whose):
        assert np.unique(subjects[rows[whose == user]]).size == 1
    assert np.unique(whose).size >= 12


def test_no_alarm_in_300_runs_bounds_the_rate_by_one_in_a_hundred() -> None:
    assert upper_bound(0, 300) == pytest.approx(1 - 0.05 ** (1 / 300))  # the closed form for 0
    assert upper_bound(3, 3) == 1.0

"""The preset `classic` opens tickets beside the evidence, three in a row, and nothing more."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.types import VerdictKind
from detectors import DETECTORS, profile_of
from monitor.domain import ReferenceId, VerdictSeverity
from monitor.policy import DetectorFact, Facts, Memory
from monitor.policy.classic import FOR, Streaks
from tests.policy.test_judge import NOW, facts, page, probe, run, soft

PAST = {"logit_ks": 0.009, "entropy": 0.0, "input_similarity": 0.69, "perplexity": 0.051}
WITHIN = {"logit_ks": 0.01, "entropy": 1.0, "input_similarity": 0.7, "perplexity": 0.05}


def classic(*detectors: DetectorFact, **changes: Any) -> Facts:
    return facts(*detectors, classic=True, **changes)


def ks(p_value: float | None) -> Facts:
    return classic(soft(textbook=p_value))


def test_a_threshold_passed_three_times_in_a_row_is_a_ticket_with_its_numbers() -> None:
    assert run(ks(0.004), ks(0.004), ks(0.2)).verdict.kind is VerdictKind.STABLE
    got = run(ks(0.004), ks(0.2), ks(0.004), ks(0.003), ks(0.009))
    assert (got.verdict.kind, got.verdict.severity) == (
        VerdictKind.DRIFTING,
        VerdictSeverity.TICKET,
    )
    assert got.verdict.detectors == ("logit_ks",)
    assert got.verdict.reason == (
        "logit_ks by the classic rule: smallest KS p-value 0.009 < 0.01 in 3 evaluations in a row"
    )


def test_three_in_a_row_within_close_it_and_windows_that_hold_nothing_count_neither_way() -> None:
    opened = run(*[ks(0.004)] * FOR)
    still = run(ks(0.5), ks(None), ks(0.5), memory=opened.memory)
    assert still.verdict.kind is VerdictKind.DRIFTING
    assert "0.5, within 0.01 in 2 of 3 evaluations" in still.verdict.reason
    closed = run(ks(0.5), memory=still.memory)
    assert closed.verdict.kind is VerdictKind.STABLE
    assert closed.verdict.reason == "recovered: no classic threshold is passed any more"


def test_it_never_pages_moves_traffic_or_asks_for_a_probe() -> None:
    got = run(*[ks(0.0)] * 50)
    assert got.verdict.severity is VerdictSeverity.TICKET
    assert not got.action.allowed
    assert not got.wants_probe


def test_it_takes_nothing_from_the_evidence() -> None:
    crossed = classic(replace(page(), textbook=0.5))
    assert run(crossed).verdict.kind is VerdictKind.CRITICAL
    both = run(*[classic(replace(page(), textbook=0.001))] * FOR).verdict
    assert both.kind is VerdictKind.CRITICAL
    assert both.detectors == ("logit_ks",)


def test_without_the_preset_no_threshold_counts() -> None:
    quiet = facts(soft(textbook=0.0))
    assert run(*[quiet] * 10).verdict.kind is VerdictKind.STABLE
    switched_off = run(quiet, memory=run(*[ks(0.0)] * FOR).memory)
    assert switched_off.verdict.kind is VerdictKind.STABLE
    assert switched_off.memory.classic == Streaks()


def test_a_new_reference_begins_anew() -> None:
    opened = run(*[classic(soft(textbook=0.0), reference_id=ReferenceId(1))] * FOR)
    got = run(classic(soft(textbook=0.5), reference_id=ReferenceId(2)), memory=opened.memory)
    assert got.verdict.kind is VerdictKind.STABLE


def test_no_other_detector_has_a_textbook_threshold() -> None:
    have = {name for name, one in DETECTORS.items() if one.profile.threshold is not None}
    assert have | {"perplexity"} == {*PAST}


def test_perplexity_is_taken_by_its_week() -> None:
    worse = classic(perplexity=probe(week=0.06))
    assert run(classic(perplexity=probe(at=NOW)), worse, worse).verdict.kind is VerdictKind.STABLE
    got = run(worse, worse, worse)
    assert got.verdict.kind is VerdictKind.DRIFTING
    assert "perplexity's mean of 7 days 0.06 > 0.05" in got.verdict.reason


@pytest.mark.parametrize("detector", PAST)
def test_the_limit_itself_is_within(detector: str) -> None:
    threshold = profile_of(detector).threshold
    assert threshold is not None
    assert threshold.past(PAST[detector])
    assert not threshold.past(WITHIN[detector])


values = st.dictionaries(st.sampled_from([*PAST, "latency"]), st.floats(0, 1))


@given(st.lists(values, max_size=30))
def test_memory_survives_a_round_trip_and_opens_only_after_three(
    steps: list[dict[str, float]],
) -> None:
    streaks = Streaks()
    for step in steps:
        before = streaks
        streaks = streaks.then(step)
        for name in set(streaks.opened) - set(before.opened):
            assert streaks.by_detector[name].past == FOR
        for name in set(before.opened) - set(streaks.opened):
            assert streaks.by_detector[name].within == FOR
    assert "latency" not in streaks.by_detector
    memory = Memory(classic=streaks)
    assert Memory.from_json(memory.to_json()) == memory

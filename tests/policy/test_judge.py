"""The rules of verdicts, one law a test; numbers are the defaults of PolicySettings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.types import Blame, Sureness, VerdictKind
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.signals import SIMILARITY, TOPICS
from detectors.types import Effect, Process, Window
from monitor.domain import Interval, ReferenceId, VerdictSeverity
from monitor.policy import (
    DetectorFact,
    Facts,
    Judgement,
    Memory,
    PerplexityFact,
    PolicySettings,
    ReferenceStage,
    judge,
)
from monitor.policy.coverage import Cause, Coverage, CoveredWindow, Why

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
MINUTE = timedelta(minutes=1)
SETTINGS = PolicySettings()
ONSET = Interval(start=NOW - 30 * MINUTE, end=NOW - 20 * MINUTE)
LARGE = Effect(value=0.5, lo=0.3, hi=0.7, n=200)
SMALL = Effect(value=0.01, lo=-0.05, hi=0.06, n=700)


def soft(name: str = "logit_ks", **changes: Any) -> DetectorFact:
    quiet = DetectorFact(
        detector=name,
        hard=False,
        model_side=name not in {"input_similarity", "latency", "feedback"},
        margin=0.2,
        evidence_notice=-2.0,
        evidence_page=-inf if name == "input_similarity" else -3.0,
        winner=f"{name}:up",
    )
    return replace(quiet, **changes)


def hard(**changes: Any) -> DetectorFact:
    return replace(soft("repetition"), hard=True, margin=0.01, **changes)


def facts(*detectors: DetectorFact, **changes: Any) -> Facts:
    usual = Facts(at=NOW, reference=ReferenceStage.APPROVED, detectors=detectors, n_day=4_000)
    return replace(usual, **changes)


def run(*steps: Facts, memory: Memory | None = None) -> Judgement:
    memory = memory or Memory()
    for step in steps:
        judged = judge(memory, step, SETTINGS)
        memory = judged.memory
    return judged


def noticed(name: str = "logit_ks") -> DetectorFact:
    return soft(name, evidence_notice=0.3, onset=ONSET, effect=LARGE)


def page(name: str = "logit_ks") -> DetectorFact:
    return soft(name, evidence_notice=0.9, evidence_page=0.2, onset=ONSET, effect=LARGE)


def probe(at: datetime = NOW, **changes: Any) -> PerplexityFact:
    still = PerplexityFact(
        at=at, changed=False, degraded=False, ratio=0.0, low=-0.01, reason="+0.0 %"
    )
    return replace(still, **changes)


DEGRADED: dict[str, Any] = {
    "changed": True,
    "degraded": True,
    "ratio": 0.4,
    "low": 0.3,
}


def test_nothing_above_its_line_is_stable() -> None:
    got = run(facts(soft()))
    assert got.verdict.kind is VerdictKind.STABLE
    assert got.verdict.severity is VerdictSeverity.NONE
    assert got.verdict.reason == "healthy: nothing near its alert threshold"
    near = run(facts(soft(evidence_notice=-0.4)))
    assert "0.4 below its alert threshold" in near.verdict.reason


def test_no_reference_is_learning() -> None:
    assert run(facts(reference=ReferenceStage.NONE)).verdict.kind is VerdictKind.LEARNING


def test_few_records_are_insufficient_but_never_hide_a_crossing() -> None:
    assert run(facts(soft(), n_day=49)).verdict.kind is VerdictKind.INSUFFICIENT
    assert run(facts(noticed(), n_day=49)).verdict.kind is VerdictKind.DRIFTING


@pytest.mark.parametrize(
    ("cause", "blame"),
    [(Cause.SETTINGS, Blame.INPUT), (Cause.NOT_MEASURED, Blame.UNKNOWN)],
)
def test_settings_that_the_reference_lacks_are_the_clients_doing(
    cause: Cause, blame: Blame
) -> None:
    lost = Coverage(
        detector="logit_ks", requests=50, compared=0, gaps={Why(cause, "temperature 0.7"): 50}
    )
    windows = [
        CoveredWindow(end=NOW + n * MINUTE, by_detector={"logit_ks": lost}) for n in range(4)
    ]
    told = run(*(facts(at=one.end, covered=one) for one in windows)).verdict
    assert (told.kind, told.blame) == (VerdictKind.BLIND, blame)


def test_a_notice_crossing_is_a_sticky_ticket_with_numbers() -> None:
    first = run(facts(noticed()))
    assert (first.verdict.kind, first.verdict.severity) == (
        VerdictKind.DRIFTING,
        VerdictSeverity.TICKET,
    )
    assert "evidence 0.3 beyond its alert threshold" in first.verdict.reason
    assert first.verdict.onset == ONSET
    later = run(facts(soft(), at=NOW + MINUTE), memory=first.memory)
    assert later.verdict.kind is VerdictKind.DRIFTING
    assert later.verdict.since == NOW


def test_a_page_crossing_without_a_probe_pages_at_once() -> None:
    got = run(facts(page()))
    assert (got.verdict.kind, got.verdict.severity) == (VerdictKind.CRITICAL, VerdictSeverity.PAGE)


def test_a_provisional_reference_pages_and_moves_no_traffic_until_it_is_approved() -> None:
    first = run(facts(page(), reference=ReferenceStage.PROVISIONAL))
    assert first.verdict.kind is VerdictKind.CRITICAL
    assert not first.action.allowed
    assert first.action.reason == "nobody and nothing has approved the reference"
    later = run(facts(soft(effect=LARGE), at=NOW + MINUTE), memory=first.memory)
    assert later.action.allowed


def test_a_reference_that_is_being_replaced_gives_tickets_only() -> None:
    got = run(facts(page(), reference=ReferenceStage.REPLACED))
    assert got.verdict.kind is VerdictKind.DRIFTING
    assert got.verdict.reason.endswith("no page: the reference is being replaced")


@pytest.mark.parametrize(
    "stage", [ReferenceStage.REPLACED, ReferenceStage.PROVISIONAL, ReferenceStage.APPROVED]
)
def test_hard_signals_page_under_any_reference_once_twenty_records_say_so(
    stage: ReferenceStage,
) -> None:
    few = hard(evidence_page=0.1, onset=ONSET, effect=replace(LARGE, n=19))
    enough = hard(effect=replace(LARGE, n=20))
    first = run(facts(few, reference=stage))
    assert first.verdict.kind is VerdictKind.DRIFTING
    then = run(facts(enough, reference=stage), memory=first.memory)
    assert then.verdict.kind is VerdictKind.CRITICAL
    assert then.action.allowed


@pytest.mark.parametrize("subjects", [1, 7])
def test_a_total_outage_pages_however_few_its_users_are(subjects: int) -> None:
    outage = replace(LARGE, value=1.0, lo=0.6, n=subjects, records=90)
    got = run(facts(hard(evidence_page=0.1, onset=ONSET, effect=outage)))
    assert got.verdict.kind is VerdictKind.CRITICAL
    assert f"90 requests of {subjects} subject" in got.verdict.reason
    assert got.action.allowed


def test_one_subject_beside_others_that_are_well_pages_nobody_until_another_one_fails() -> None:
    alone = replace(LARGE, n=30, records=400, alone=True)
    first = run(facts(hard(evidence_page=0.1, onset=ONSET, effect=alone)))
    assert first.verdict.kind is VerdictKind.DRIFTING
    assert first.verdict.reason.endswith("one subject's requests alone, while others' went well")
    assert not first.action.allowed
    two = facts(hard(effect=replace(alone, alone=False)))
    assert run(two, memory=first.memory).verdict.kind is VerdictKind.CRITICAL


def test_input_drift_alone_is_a_ticket_blamed_on_input() -> None:
    got = run(facts(noticed("input_similarity")))
    assert got.verdict.kind is VerdictKind.DRIFTING
    assert got.verdict.blame is Blame.INPUT
    assert not got.action.allowed


def test_a_soft_page_waits_for_the_probe_and_pages_when_it_stays_silent() -> None:
    waiting = run(facts(page(), probe_available=True))
    assert waiting.verdict.kind is VerdictKind.DRIFTING
    assert waiting.wants_probe
    assert "waits for the perplexity probe" in waiting.verdict.reason
    soon = facts(soft(effect=LARGE), at=NOW + 4 * MINUTE, probe_available=True)
    assert run(soon, memory=waiting.memory).verdict.kind is VerdictKind.DRIFTING
    late = replace(soon, at=NOW + 5 * MINUTE)
    assert run(late, memory=waiting.memory).verdict.kind is VerdictKind.CRITICAL
    looking = replace(late, probe_running=True)
    assert run(looking, memory=waiting.memory).verdict.kind is VerdictKind.DRIFTING
    for_ever = replace(looking, at=NOW + 10 * MINUTE)
    assert run(for_ever, memory=waiting.memory).verdict.kind is VerdictKind.CRITICAL


def test_a_page_whose_cause_no_probe_has_confirmed_says_when_one_is_due_and_moves_nothing() -> None:
    known = run(facts(soft(), perplexity=probe(NOW - MINUTE), probe_available=True))
    waiting = run(facts(page(), probe_available=True), memory=known.memory)
    assert (waiting.verdict.sure, waiting.verdict.probe_due) == (Sureness.NOT_CONFIRMED, NOW)
    due = NOW + 20 * MINUTE
    late = facts(soft(effect=LARGE), at=NOW + 5 * MINUTE, probe_available=True, probe_due=due)
    silent = run(late, memory=waiting.memory)
    assert silent.verdict.kind is VerdictKind.CRITICAL
    assert (silent.verdict.blame, silent.verdict.probe_due) == (Blame.UNKNOWN, due)
    assert not silent.action.allowed
    assert "the cause is not confirmed" in silent.action.reason
    changed = probe(due, changed=True, ratio=0.02, base_moved=False)
    told = run(facts(perplexity=changed, at=due, probe_available=True), memory=silent.memory)
    assert (told.verdict.blame, told.verdict.probe_due) == (Blame.ADAPTER, None)
    assert told.action.allowed


def test_a_probe_that_never_had_an_answer_keeps_no_traffic_where_it_is() -> None:
    waiting = run(facts(page(), probe_available=True))
    late = facts(soft(effect=LARGE), at=NOW + 5 * MINUTE, probe_available=True)
    got = run(late, memory=waiting.memory)
    assert got.verdict.kind is VerdictKind.CRITICAL
    assert got.action.allowed


TOGETHER = Interval(start=ONSET.start, end=ONSET.start + 15 * MINUTE)
MUCH_EARLIER = Interval(start=NOW - 300 * MINUTE, end=NOW - 280 * MINUTE)


@pytest.mark.parametrize("inputs", ["input_similarity", "prompt_length", "prompt_prefix"])
@pytest.mark.parametrize("probed", [False, True], ids=["no probe at all", "the probe is silent"])
def test_other_requests_with_other_answers_are_a_ticket_blamed_on_the_input(
    inputs: str, *, probed: bool
) -> None:
    moved = noticed(inputs)
    got = run(
        facts(replace(page("entropy"), onset=TOGETHER), moved, probe_available=probed),
        facts(soft("entropy", effect=LARGE), at=NOW + 9 * MINUTE, probe_available=probed),
    )
    assert got.verdict.kind is VerdictKind.DRIFTING
    assert (got.verdict.blame, got.verdict.sure) == (Blame.INPUT, Sureness.LIKELY)
    assert not got.action.allowed


def test_a_probe_that_says_otherwise_pages_whatever_the_requests_are() -> None:
    first = run(facts(page("entropy"), noticed("input_similarity"), probe_available=True))
    worse = probe(NOW + MINUTE, **DEGRADED, base_moved=False)
    got = run(facts(perplexity=worse, at=NOW + MINUTE, probe_available=True), memory=first.memory)
    assert (got.verdict.kind, got.verdict.blame) == (VerdictKind.CRITICAL, Blame.ADAPTER)
    assert got.action.allowed


def test_answers_that_moved_before_the_requests_did_are_not_explained_by_them() -> None:
    got = run(facts(replace(page("entropy"), onset=MUCH_EARLIER), noticed("input_similarity")))
    assert (got.verdict.kind, got.verdict.blame) == (VerdictKind.CRITICAL, Blame.UNKNOWN)


def test_requests_that_have_been_others_for_long_explain_nothing_new() -> None:
    long_ago = Interval(start=NOW - 72 * 60 * MINUTE, end=NOW - 71 * 60 * MINUTE)
    requests = replace(noticed("input_similarity"), onset=long_ago)
    got = run(facts(page("entropy"), requests))
    assert (got.verdict.kind, got.verdict.blame) == (VerdictKind.CRITICAL, Blame.UNKNOWN)


@pytest.mark.parametrize(("low", "kind"), [(0.32, "drifting"), (0.31, "critical")])
def test_requests_that_moved_with_answers_explain_them_before_their_own_line_is_crossed(
    low: float, kind: str
) -> None:
    moved = soft("input_similarity", effect=replace(LARGE, lo=low))
    got = run(facts(page("entropy"), moved))
    assert got.verdict.kind == kind
    assert (got.verdict.blame is Blame.INPUT) is (kind == "drifting")
    between = run(facts(hard(), at=NOW + MINUTE), memory=got.memory)
    assert between.verdict.kind == kind, "a run that does not look at requests changes nothing"
    assert Memory.from_json(got.memory.to_json()) == got.memory


def test_the_more_detectors_look_at_requests_the_surer_one_must_be() -> None:
    moved = soft("prompt_length", effect=replace(LARGE, lo=0.27))
    still = [soft(name, effect=SMALL) for name in ("input_similarity", "prompt_prefix")]
    alone, beside = (run(facts(page("entropy"), moved, *more)) for more in ([], still))
    assert (alone.verdict.blame, beside.verdict.blame) == (Blame.INPUT, Blame.UNKNOWN)


def test_unchanged_requests_are_rarely_blamed_and_others_are() -> None:
    """Of 300 sets of six or twelve requests at most 2 %; of twelve 2 sd away at least 90 %."""
    rng = np.random.default_rng(3)
    at = NOW.timestamp()
    reference = INPUT_SIMILARITY.fit(questions(rng, 420, since=at - 420 * 30.0, apart=30.0))

    def blamed(shift: float, *, requests: int) -> float:
        found = []
        for _ in range(300):
            window = questions(rng, requests, since=at, apart=1.0, shift=shift)
            effect = INPUT_SIMILARITY.effect_since(reference, window)
            others = [soft(name, effect=SMALL) for name in ("prompt_length", "prompt_prefix")]
            got = run(facts(page("entropy"), soft("input_similarity", effect=effect), *others))
            found.append(got.verdict.blame is Blame.INPUT)
        return sum(found) / len(found)

    assert blamed(0.0, requests=6) <= 0.02
    assert blamed(0.0, requests=12) <= 0.02
    assert blamed(2.0, requests=12) >= 0.9


def questions(
    rng: np.random.Generator, count: int, *, since: float, apart: float, shift: float = 0.0
) -> Window:
    """Requests whose similarity to training is ``shift`` sd lower than usual."""
    at = since + apart * np.arange(count, dtype=np.float64)
    signals = {name: rng.normal(size=count) for name in (SIMILARITY, *TOPICS)}
    signals[SIMILARITY] -= shift
    return Window(start=since, end=since + apart * count, at=at, signals=signals)


def test_failures_are_not_explained_by_other_requests() -> None:
    failing = hard(evidence_page=0.1, onset=ONSET, effect=LARGE)
    got = run(
        facts(failing, noticed("input_similarity"), probe_available=True),
        facts(perplexity=probe(NOW + MINUTE), at=NOW + MINUTE, probe_available=True),
    )
    assert (got.verdict.kind, got.verdict.blame) == (VerdictKind.CRITICAL, Blame.SERVING)


def test_an_unchanged_probe_and_moved_inputs_cap_the_page_at_a_ticket() -> None:
    got = run(
        facts(page(), noticed("input_similarity"), probe_available=True),
        facts(perplexity=probe(NOW + MINUTE), at=NOW + MINUTE, probe_available=True),
        facts(soft(effect=LARGE), at=NOW + 9 * MINUTE, probe_available=True),
    )
    assert got.verdict.kind is VerdictKind.DRIFTING
    assert got.verdict.blame is Blame.INPUT


def test_an_unchanged_probe_with_still_inputs_pages_and_blames_serving() -> None:
    got = run(
        facts(page(), probe_available=True),
        facts(perplexity=probe(NOW + MINUTE), at=NOW + MINUTE, probe_available=True),
    )
    assert got.verdict.kind is VerdictKind.CRITICAL
    assert got.verdict.blame is Blame.SERVING
    assert not got.action.allowed


def test_a_suspicion_that_no_probe_has_looked_at_says_since_when_and_why() -> None:
    before = run(facts(soft(), perplexity=probe(NOW - MINUTE)))
    first = run(facts(page(), probe_available=True), memory=before.memory)
    assert first.wants_probe
    assert first.verdict.reason.endswith("; perplexity unmeasured since 12:00 UTC")
    refused = facts(
        soft(), at=NOW + MINUTE, probe_available=True, probe_stopped="refused until 13:00"
    )
    told = run(refused, memory=first.memory)
    assert not told.wants_probe
    assert "; perplexity unmeasured since 12:00 UTC: refused until 13:00" in told.verdict.reason
    looked = run(
        facts(at=NOW + 2 * MINUTE, probe_available=True, perplexity=probe(NOW + 2 * MINUTE)),
        memory=told.memory,
    )
    assert "unmeasured" not in looked.verdict.reason


def test_a_probe_that_began_before_a_crossing_is_asked_for_again() -> None:
    first = run(facts(page(), probe_available=True))
    late = facts(at=NOW + MINUTE, probe_available=True, perplexity=probe(NOW - MINUTE))
    ended = run(late, memory=first.memory)
    assert ended.wants_probe
    assert "unmeasured since 12:00 UTC" in ended.verdict.reason


@pytest.mark.parametrize("detector", ["input_similarity", "latency"])
def test_what_no_probe_says_anything_of_leaves_perplexity_measured(detector: str) -> None:
    assert run(facts(noticed(detector), probe_available=True)).memory.unmeasured_since is None


def test_latency_pages_without_a_probe_blames_serving_and_moves_nothing() -> None:
    got = run(facts(page("latency"), probe_available=True))
    assert got.verdict.kind is VerdictKind.CRITICAL
    assert got.verdict.blame is Blame.SERVING
    assert not got.wants_probe
    assert not got.action.allowed


def test_latency_lends_its_effect_to_no_action() -> None:
    small = replace(page(), effect=SMALL)
    got = run(facts(page("latency"), small))
    assert got.verdict.kind is VerdictKind.CRITICAL
    assert got.verdict.blame is Blame.UNKNOWN
    assert not got.action.allowed
    assert "latency" not in got.action.reason
    large = run(facts(page("latency"), page()))
    assert large.action.detectors == ("logit_ks",)


def test_feedback_asks_for_a_probe_pages_and_moves_nothing() -> None:
    waiting = run(facts(page("feedback"), probe_available=True))
    assert waiting.wants_probe
    assert waiting.verdict.kind is VerdictKind.DRIFTING
    got = run(
        facts(perplexity=probe(NOW + MINUTE), at=NOW + MINUTE, probe_available=True),
        memory=waiting.memory,
    )
    assert got.verdict.kind is VerdictKind.CRITICAL
    assert got.verdict.blame is Blame.UNKNOWN
    assert not got.action.allowed


def test_a_degraded_probe_pages_blames_the_adapter_and_may_move_traffic() -> None:
    got = run(
        facts(page(), probe_available=True),
        facts(perplexity=probe(NOW + MINUTE, **DEGRADED, base_moved=False), at=NOW + MINUTE),
    )
    assert got.verdict.kind is VerdictKind.CRITICAL
    assert got.verdict.blame is Blame.ADAPTER
    assert got.action.allowed
    assert got.action.effect_low == 0.3


def test_a_moved_base_model_freezes_actions() -> None:
    got = run(facts(perplexity=probe(**DEGRADED, base_moved=True)))
    assert got.verdict.blame is Blame.BASE
    assert not got.action.allowed


def test_changed_weights_are_a_ticket() -> None:
    got = run(facts(perplexity=probe(changed=True, ratio=0.01)))
    assert got.verdict.kind is VerdictKind.DRIFTING
    assert got.verdict.detectors == ("perplexity",)


def test_significance_alone_never_moves_traffic() -> None:
    significant = replace(page(), effect=replace(LARGE, lo=0.19))
    got = run(facts(significant))
    assert got.verdict.kind is VerdictKind.CRITICAL
    assert not got.action.allowed
    assert "0.19 (needs 0.20)" in got.action.reason


def test_recovery_needs_a_small_effect_and_falling_evidence() -> None:
    drifted = run(facts(noticed())).memory
    small_only = run(facts(soft(recent=SMALL)), memory=drifted)
    assert small_only.verdict.kind is VerdictKind.DRIFTING
    fell_only = run(facts(soft(recent=LARGE, fell_notice=True)), memory=drifted)
    assert fell_only.verdict.kind is VerdictKind.DRIFTING
    both = run(facts(soft(recent=SMALL, fell_notice=True)), memory=drifted)
    assert both.verdict.kind is VerdictKind.STABLE


def test_a_version_without_traffic_recovers_by_two_unchanged_probes() -> None:
    critical = run(facts(page()), facts(perplexity=probe(**DEGRADED))).memory
    minute = NOW + MINUTE
    once = run(facts(perplexity=probe(minute), at=minute, traffic=False), memory=critical)
    assert once.verdict.kind is VerdictKind.CRITICAL
    minute += MINUTE
    again = facts(perplexity=probe(minute), at=minute, traffic=False, n_day=0)
    twice = run(again, memory=once.memory)
    assert twice.verdict.kind is VerdictKind.STABLE
    assert "2 unchanged perplexity probes" in twice.verdict.reason
    later = run(facts(at=minute + MINUTE, traffic=False, n_day=0), memory=twice.memory)
    assert later.verdict.kind is VerdictKind.INSUFFICIENT


def test_a_detector_that_raises_is_counted_and_the_others_go_on() -> None:
    broken = soft("entropy", error="ZeroDivisionError")
    got = run(facts(broken, noticed()))
    assert got.verdict.kind is VerdictKind.DRIFTING
    assert got.memory.failures == {"entropy": 1}
    alone = run(facts(broken))
    assert alone.verdict.kind is VerdictKind.ERROR


@st.composite
def any_facts(draw: st.DrawFn) -> Facts:
    evidence = st.floats(-5, 5) | st.just(-inf)
    fact = st.builds(
        DetectorFact,
        detector=st.sampled_from(["logit_ks", "entropy", "input_similarity"]),
        hard=st.just(False),
        model_side=st.booleans(),
        margin=st.just(0.2),
        evidence_notice=evidence,
        evidence_page=evidence,
        winner=st.just("mean_nll:up"),
        onset=st.just(ONSET),
        effect=st.sampled_from([None, LARGE, SMALL]),
        recent=st.sampled_from([None, LARGE, SMALL]),
        fell_notice=st.booleans(),
        fell_page=st.booleans(),
    )
    return Facts(
        at=NOW + draw(st.integers(0, 10_000)) * MINUTE,
        reference=draw(st.sampled_from(ReferenceStage)),
        detectors=tuple(draw(st.lists(fact, max_size=3, unique_by=lambda f: f.detector))),
        perplexity=draw(st.none() | st.just(probe()) | st.just(probe(**DEGRADED))),
        n_day=draw(st.integers(0, 100)),
        traffic=draw(st.booleans()),
        probe_available=draw(st.booleans()),
    )


@given(st.lists(any_facts(), max_size=8))
def test_memory_survives_json_and_replay_gives_the_same_verdicts(steps: list[Facts]) -> None:
    memory, again = Memory(), Memory()
    for step in sorted(steps, key=lambda s: s.at):
        judged = judge(memory, step, SETTINGS)
        assert Memory.from_json(judged.memory.to_json()) == judged.memory
        assert judge(again, step, SETTINGS) == judged
        memory = again = judged.memory


@given(st.lists(any_facts(), min_size=1, max_size=8))
def test_only_a_critical_verdict_lets_traffic_move(steps: list[Facts]) -> None:
    judged = run(*sorted(steps, key=lambda s: s.at))
    assert judged.verdict.kind is VerdictKind.CRITICAL or not judged.action.allowed
    paged = {c.key for c in judged.memory.crossings if c.paged}
    assert all(process is Process.PAGE for _, process in paged)


FIRST, SECOND = ReferenceId(1), ReferenceId(2)


def test_a_new_reference_closes_what_was_found_against_the_one_before() -> None:
    critical = run(facts(page(), reference_id=FIRST))
    assert critical.verdict.kind is VerdictKind.CRITICAL
    later = run(facts(soft(), at=NOW + MINUTE, reference_id=SECOND), memory=critical.memory)
    assert later.verdict.kind is VerdictKind.STABLE
    assert later.verdict.reason == "compared with a new reference from now on"
    assert later.rules_changed
    again = run(facts(noticed(), reference_id=SECOND), memory=later.memory)
    assert again.verdict.kind is VerdictKind.DRIFTING


def test_what_a_detector_found_that_is_switched_off_counts_no_more() -> None:
    critical = run(facts(page(), enabled=frozenset({"logit_ks", "entropy"})))
    assert critical.verdict.kind is VerdictKind.CRITICAL
    assert not critical.rules_changed
    found_by = {crossing.detector for crossing in critical.memory.crossings}
    later = run(
        facts(at=NOW + MINUTE, enabled=frozenset({"entropy"}) - found_by), memory=critical.memory
    )
    assert (later.verdict.kind, later.rules_changed) == (VerdictKind.STABLE, True)
    assert later.verdict.reason == "switched off since: logit_ks"
    assert later.memory.crossings == ()
    recovered = run(facts(at=NOW + 2 * MINUTE), memory=later.memory)
    assert not recovered.rules_changed


def test_a_window_read_before_a_new_reference_came_says_nothing_about_it() -> None:
    compared = run(facts(soft(), reference_id=SECOND))
    late = run(facts(page(), reference_id=FIRST), memory=compared.memory)
    assert late.verdict.kind is VerdictKind.STABLE
    assert late.memory.crossings == ()
    assert late.memory.reference_id == SECOND


def test_a_new_reference_ends_a_quarantine() -> None:
    broken = run(*[facts(soft(error="ValueError: shape"), reference_id=FIRST)] * 5)
    assert broken.memory.failures == {"logit_ks": 5}
    assert run(facts(reference_id=SECOND), memory=broken.memory).memory.failures == {}


def test_an_error_stands_while_only_other_detectors_are_looked_at() -> None:
    broken = run(facts(soft(error="ValueError: shape")))
    assert broken.verdict.kind is VerdictKind.ERROR
    between = run(facts(hard()), memory=broken.memory)
    assert between.verdict.kind is VerdictKind.ERROR
    assert run(facts(soft()), memory=between.memory).verdict.kind is VerdictKind.STABLE


def test_a_memory_of_an_earlier_release_has_no_reference_and_keeps_its_crossings() -> None:
    critical = run(facts(page()))
    body = critical.memory.to_json()
    del body["reference_id"]
    kept = run(facts(soft(), reference_id=FIRST), memory=Memory.from_json(body))
    assert kept.verdict.kind is VerdictKind.CRITICAL
    assert kept.memory.reference_id == FIRST


def test_evidence_for_an_action_is_as_old_as_the_last_look_at_its_effect() -> None:
    critical = run(facts(page()))
    assert critical.action.at == NOW
    hour = 60 * MINUTE
    unseen = run(facts(hard(), at=NOW + hour), memory=critical.memory)
    assert unseen.action.allowed
    assert unseen.action.at == NOW
    looked = run(facts(soft(effect=LARGE), at=NOW + 2 * hour), memory=unseen.memory)
    assert looked.action.at == NOW + 2 * hour
    assert Memory.from_json(looked.memory.to_json()) == looked.memory


def test_a_base_that_could_not_be_asked_does_not_make_it_the_adapter() -> None:
    asked = {False: Blame.ADAPTER, True: Blame.BASE, None: Blame.UNKNOWN}
    for base_moved, blame in asked.items():
        got = run(facts(perplexity=probe(**DEGRADED, base_moved=base_moved)))
        assert got.verdict.blame is blame


def test_one_clean_probe_does_not_turn_the_base_into_the_adapter() -> None:
    moved = facts(perplexity=probe(**DEGRADED, base_moved=True))
    clean = facts(perplexity=probe(NOW + MINUTE), at=NOW + MINUTE)
    doubted = run(moved, clean)
    assert doubted.verdict.kind is VerdictKind.CRITICAL
    assert doubted.verdict.blame is Blame.BASE
    assert not doubted.action.allowed


def test_new_questions_have_new_answers() -> None:
    both = facts(noticed("input_similarity"), noticed("output_similarity"))
    assert run(both).verdict.blame is Blame.INPUT
    assert run(facts(noticed("output_similarity"))).verdict.blame is Blame.UNKNOWN

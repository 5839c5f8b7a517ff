"""The rules for what probes find: corpora, identity, blame, and how findings end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from alerts.types import Blame, Sureness, VerdictKind
from detectors.identity import IdentityState
from detectors.types import Effect
from monitor.domain import VerdictSeverity
from monitor.policy import (
    DetectorFact,
    Facts,
    IdentityFact,
    Judgement,
    Memory,
    PerplexityFact,
    PolicySettings,
    ReferenceStage,
    judge,
)
from monitor.policy.probed import WRONG

NOW = datetime(2026, 3, 1, 12, 0, tzinfo=UTC)
HOURS = timedelta(hours=6)
SETTINGS = PolicySettings()
STILL: dict[str, Any] = {}
CHANGED: dict[str, Any] = {"changed": True}
DEGRADED: dict[str, Any] = {
    "changed": True,
    "degraded": True,
    "ratio": 0.2,
    "low": 0.18,
}
UNAPPROVED: dict[str, Any] = {"changed": True, "ratio": 0.26, "low": 0.04, "base_moved": False}
FORGOTTEN = {"changed": True, "forgotten": True}


def probe(at: datetime = NOW, **changes: Any) -> PerplexityFact:
    still = PerplexityFact(
        at=at, changed=False, degraded=False, ratio=0.0, low=-0.01,
        base_moved=False, corpus="support:1", reason="numbers",
    )  # fmt: skip
    return replace(still, **changes)


def who(state: IdentityState, at: datetime = NOW) -> IdentityFact:
    return IdentityFact(at=at, state=state, reason=f"{state.value} by 0.0002 nats")


def facts(**changes: Any) -> Facts:
    usual = Facts(
        at=NOW, reference=ReferenceStage.NONE, n_day=0, traffic=False, probe_available=True,
        corpora=("general:1", "support:1"),
    )  # fmt: skip
    return replace(usual, **changes)


def run(*steps: Facts) -> Judgement:
    memory = Memory()
    for number, step in enumerate(steps):
        judged = judge(memory, replace(step, at=NOW + number * HOURS), SETTINGS)
        memory = judged.memory
    return judged


@pytest.mark.parametrize(
    ("found", "kind", "severity", "word"),
    [
        pytest.param(STILL, VerdictKind.LEARNING, VerdictSeverity.NONE, "no reference", id="still"),
        pytest.param(
            CHANGED, VerdictKind.DRIFTING, VerdictSeverity.TICKET, "changed", id="changed"
        ),
        pytest.param(
            FORGOTTEN, VerdictKind.DRIFTING, VerdictSeverity.TICKET, "forgetting", id="forgets"
        ),
        pytest.param(
            DEGRADED, VerdictKind.CRITICAL, VerdictSeverity.PAGE, "degraded", id="degraded"
        ),
    ],
)
def test_what_a_probe_finds_needs_no_reference(
    found: dict[str, Any], kind: VerdictKind, severity: VerdictSeverity, word: str
) -> None:
    told = run(facts(perplexity=probe(**found))).verdict
    assert (told.kind, told.severity) == (kind, severity)
    assert word in told.reason


@pytest.mark.parametrize(
    ("state", "blame"),
    [
        (IdentityState.NOT_APPLIED, Blame.SERVING),
        (IdentityState.MIXED_UP, Blame.SERVING),
        (IdentityState.WRONG_WEIGHTS, Blame.ADAPTER),
    ],
)
def test_other_weights_are_a_ticket_with_their_own_blame(
    state: IdentityState, blame: Blame
) -> None:
    told = run(facts(identity=who(state))).verdict
    assert (told.kind, told.severity, told.blame) == (
        VerdictKind.DRIFTING,
        VerdictSeverity.TICKET,
        blame,
    )
    assert told.detectors == ("perplexity",)
    assert "by 0.0002 nats" in told.reason


def test_a_doubt_begins_when_the_probe_ends_however_long_it_took() -> None:
    applied = facts(perplexity=probe(), identity=who(IdentityState.APPLIED))
    began = NOW + HOURS
    ended = began + timedelta(minutes=6)
    doubt = replace(who(IdentityState.UNKNOWN, began), ended_at=ended)
    first = run(applied, facts(perplexity=probe(began, **DEGRADED), identity=doubt))
    assert first.verdict.blame is Blame.UNKNOWN
    for seconds, running, blame in (
        (10, False, Blame.UNKNOWN),
        (310, True, Blame.UNKNOWN),  # it is about to tell
        (310, False, Blame.ADAPTER),
        (610, True, Blame.ADAPTER),
    ):
        at = ended + timedelta(seconds=seconds)
        looked = replace(facts(), at=at, probe_running=running)
        later = judge(first.memory, looked, SETTINGS)
        assert later.verdict.blame is blame
        assert later.action.allowed is (blame is Blame.ADAPTER)


def test_a_base_under_the_name_is_blamed_on_serving_by_the_first_page() -> None:
    applied = facts(perplexity=probe(), identity=who(IdentityState.APPLIED))
    told = run(
        applied,
        facts(perplexity=probe(**DEGRADED), identity=who(IdentityState.NOT_APPLIED)),
    )
    assert told.verdict.severity is VerdictSeverity.PAGE
    assert (told.verdict.blame, told.verdict.sure) == (Blame.SERVING, Sureness.CONFIRMED)
    assert not told.action.allowed


def test_a_page_before_it_is_known_whose_weights_answer_blames_nobody_for_minutes() -> None:
    """It asks once more at once; five minutes later the adapter is the likely cause."""
    applied = facts(perplexity=probe(), identity=who(IdentityState.APPLIED))
    worse = facts(
        perplexity=probe(NOW + HOURS, **DEGRADED),
        identity=who(IdentityState.UNKNOWN, NOW + HOURS),
    )
    first = run(applied, worse)
    assert (first.verdict.severity, first.verdict.blame) == (VerdictSeverity.PAGE, Blame.UNKNOWN)
    assert first.verdict.probe_due == NOW + HOURS
    assert first.wants_probe
    assert first.action.reason == "whose weights answer is being asked again"
    later = NOW + HOURS + timedelta(minutes=5)
    silent = judge(first.memory, replace(facts(), at=later), SETTINGS)
    assert (silent.verdict.blame, silent.verdict.sure) == (Blame.ADAPTER, Sureness.LIKELY)
    assert not silent.wants_probe
    assert silent.action.allowed
    told = judge(
        first.memory,
        replace(facts(identity=who(IdentityState.NOT_APPLIED, later)), at=later),
        SETTINGS,
    )
    assert (told.verdict.blame, told.verdict.sure) == (Blame.SERVING, Sureness.CONFIRMED)


@pytest.mark.parametrize("state", [IdentityState.APPLIED, IdentityState.UNKNOWN])
def test_an_applied_or_unknown_identity_says_nothing(state: IdentityState) -> None:
    assert run(facts(identity=who(state))).verdict.kind is VerdictKind.LEARNING


@pytest.mark.parametrize(
    ("probed", "state", "blame"),
    [
        pytest.param({"base_moved": True}, None, Blame.BASE, id="base moved"),
        pytest.param({"base_moved": False}, None, Blame.ADAPTER, id="base still"),
        pytest.param({"base_moved": None}, None, Blame.UNKNOWN, id="base not asked"),
        pytest.param(
            {"base_moved": None, "other_files": True}, None, Blame.ADAPTER, id="other files"
        ),
        pytest.param(
            {"base_moved": True, "other_files": True}, None, Blame.BASE, id="other files and base"
        ),
        pytest.param(
            {"base_moved": None, "one_replica": True}, None, Blame.SERVING, id="one replica"
        ),
        pytest.param(
            {"base_moved": False}, IdentityState.NOT_APPLIED, Blame.SERVING, id="not applied"
        ),
        pytest.param(
            {"base_moved": None}, IdentityState.WRONG_WEIGHTS, Blame.ADAPTER, id="wrong weights"
        ),
        pytest.param(
            {"base_moved": True}, IdentityState.NOT_APPLIED, Blame.BASE, id="base before all"
        ),
    ],
)
def test_blame_of_a_degraded_probe(
    probed: dict[str, Any], state: IdentityState | None, blame: Blame
) -> None:
    identity = None if state is None else who(state)
    judged = run(facts(perplexity=probe(**DEGRADED | probed), identity=identity))
    assert judged.verdict.kind is VerdictKind.CRITICAL
    assert judged.verdict.blame is blame
    assert judged.action.allowed is (blame in {Blame.ADAPTER, Blame.UNKNOWN})


@pytest.mark.parametrize(
    "state", [IdentityState.NOT_APPLIED, IdentityState.MIXED_UP, IdentityState.WRONG_WEIGHTS]
)
def test_other_weights_whose_fixed_texts_changed_as_well_are_a_page_that_moves_nothing(
    state: IdentityState,
) -> None:
    better = facts(identity=who(state), perplexity=probe(changed=True, ratio=-0.08))
    told = run(better)
    assert (told.verdict.kind, told.verdict.severity) == (
        VerdictKind.CRITICAL,
        VerdictSeverity.PAGE,
    )
    assert not told.action.allowed
    rather = facts(identity=who(IdentityState.APPLIED), perplexity=probe(changed=True, ratio=-0.08))
    assert run(rather).verdict.severity is VerdictSeverity.TICKET


@pytest.mark.parametrize(
    ("state", "allowed"),
    [
        (IdentityState.WRONG_WEIGHTS, True),
        (IdentityState.APPLIED, False),
        (IdentityState.NOT_APPLIED, False),
    ],
)
def test_weights_that_nobody_approved_may_be_left_as_soon_as_they_are_surely_worse(
    state: IdentityState, *, allowed: bool
) -> None:
    worse = probe(**DEGRADED | UNAPPROVED)
    told = run(facts(identity=who(state), perplexity=worse))
    assert told.verdict.severity is VerdictSeverity.PAGE
    assert told.action.allowed is allowed
    if allowed:
        assert told.action.reason == (
            "perplexity at least +4.0% (other weights than the registered ones answer)"
        )


@pytest.mark.parametrize(
    ("probed", "later"),
    [
        pytest.param({"low": -0.01}, (), id="not surely worse"),
        pytest.param({"base_moved": True}, (), id="the base moved"),
        pytest.param(
            {}, (facts(perplexity=probe(), identity=who(IdentityState.UNKNOWN)),), id="doubted"
        ),
        pytest.param({}, (facts(perplexity=probe()),), id="the newest probe found nothing"),
        pytest.param({}, (facts(corpora=("general:1", "support:2")),), id="other texts now"),
    ],
)
def test_what_is_not_sure_of_weights_that_nobody_approved_moves_nothing(
    probed: dict[str, Any], later: tuple[Facts, ...]
) -> None:
    worse = probe(**DEGRADED | UNAPPROVED | probed)
    found = facts(identity=who(IdentityState.WRONG_WEIGHTS), perplexity=worse)
    assert not run(found, *later).action.allowed


def test_an_identity_finding_ends_with_the_first_look_that_ends_well() -> None:
    lost = facts(identity=who(IdentityState.NOT_APPLIED))
    unsure = facts(identity=who(IdentityState.UNKNOWN))
    back = facts(identity=who(IdentityState.APPLIED))
    assert run(lost, unsure).verdict.kind is VerdictKind.DRIFTING
    recovered = run(lost, unsure, back).verdict
    assert recovered.kind is VerdictKind.STABLE
    assert recovered.reason == "recovered: applied by 0.0002 nats"
    assert run(lost, unsure, back, facts()).verdict.kind is VerdictKind.LEARNING


@pytest.mark.parametrize("found", [CHANGED, FORGOTTEN, DEGRADED])
def test_a_finding_ends_with_two_unchanged_probes(found: dict[str, Any]) -> None:
    moved, still = facts(perplexity=probe(**found)), facts(perplexity=probe())
    assert run(moved, still).verdict.kind is not VerdictKind.STABLE
    ended = run(moved, still, still).verdict
    assert ended.kind is VerdictKind.STABLE
    assert "2 unchanged perplexity probes in a row" in ended.reason


REPLACED = ("general:1", "support:2")


def test_a_finding_on_a_corpus_that_was_replaced_stays_and_says_so() -> None:
    moved = facts(perplexity=probe(**DEGRADED))
    registering = facts(corpora=REPLACED)
    still = facts(perplexity=probe(corpus="support:2"), corpora=REPLACED)
    for steps in ([registering], [registering, still], [registering, still, still, still]):
        told = run(moved, *steps)
        assert told.verdict.kind is VerdictKind.CRITICAL
        assert "found on corpus support:1, whose texts have been replaced" in told.verdict.reason
        if still in steps:  # nothing that can be looked at again moves traffic
            assert not told.action.allowed


def test_a_replaced_corpus_that_is_put_back_may_clear_its_finding() -> None:
    moved, still = facts(perplexity=probe(**DEGRADED)), facts(perplexity=probe())
    steps = [moved, facts(corpora=REPLACED), still, still]
    assert run(*steps).verdict.kind is VerdictKind.STABLE


def test_a_finding_that_was_forgotten_by_a_declared_change_says_so_once() -> None:
    critical = run(facts(perplexity=probe(**DEGRADED)))
    forgotten = replace(critical.memory, perplexity=None, identity=None)
    judged = judge(forgotten, facts(at=NOW + HOURS), SETTINGS)
    assert judged.verdict.kind is VerdictKind.STABLE
    assert "its registration was retired" in judged.verdict.reason
    later = judge(judged.memory, facts(at=NOW + 2 * HOURS), SETTINGS)
    assert later.verdict.kind is VerdictKind.LEARNING


def test_a_waiting_page_is_released_by_other_weights() -> None:
    page = DetectorFact(
        detector="logit_ks", hard=False, model_side=True, margin=0.2, evidence_notice=1.0,
        evidence_page=0.5, winner="mean_nll:up",
        effect=Effect(value=0.5, lo=0.3, hi=0.7, n=90),
    )  # fmt: skip
    drifted = replace(page, detector="input_similarity", evidence_page=-inf, model_side=False)
    crossing = facts(reference=ReferenceStage.APPROVED, detectors=(page, drifted), n_day=90)
    minute = timedelta(minutes=1)
    waiting = judge(Memory(), crossing, SETTINGS)
    assert waiting.verdict.kind is VerdictKind.DRIFTING
    lost = facts(
        at=NOW + minute, reference=ReferenceStage.APPROVED, n_day=90,
        perplexity=probe(NOW + minute), identity=who(IdentityState.NOT_APPLIED, NOW + minute),
    )  # fmt: skip
    judged = judge(waiting.memory, lost, SETTINGS)
    assert judged.verdict.kind is VerdictKind.CRITICAL
    assert judged.verdict.blame is Blame.SERVING


@st.composite
def any_probe(draw: st.DrawFn) -> Facts:
    found = draw(st.sampled_from([STILL, CHANGED, FORGOTTEN, DEGRADED]))
    fact = probe(
        base_moved=draw(st.sampled_from([True, False, None])),
        one_replica=draw(st.booleans()),
        other_files=draw(st.booleans()),
        corpus=draw(st.sampled_from(["support:1", "support:2"])),
        **found,
    )
    return facts(
        perplexity=draw(st.none() | st.just(fact)),
        identity=draw(st.none() | st.builds(who, st.sampled_from(IdentityState))),
        corpora=draw(st.sampled_from([(), ("support:1",), ("support:2",)])),
        traffic=draw(st.booleans()),
    )


@given(st.lists(any_probe(), min_size=1, max_size=8))
def test_memory_survives_json_and_other_weights_never_go_untold(steps: list[Facts]) -> None:
    memory = Memory()
    for number, step in enumerate(steps):
        judged = judge(memory, replace(step, at=NOW + number * HOURS), SETTINGS)
        assert Memory.from_json(judged.memory.to_json()) == judged.memory
        if step.identity is not None and step.identity.state in WRONG:
            assert judged.verdict.severity is not VerdictSeverity.NONE
        if step.perplexity is not None and step.perplexity.degraded:
            assert judged.verdict.severity is VerdictSeverity.PAGE
        memory = judged.memory


def test_a_memory_of_an_earlier_release_is_read() -> None:
    body = run(facts(perplexity=probe(**DEGRADED))).memory.to_json()
    del body["identity"]
    for name in ("forgotten", "one_replica", "other_files", "corpus", "replaced"):
        del body["perplexity"][name]
    memory = Memory.from_json(body)
    assert memory.identity is None
    assert memory.perplexity is not None
    assert memory.perplexity.degraded

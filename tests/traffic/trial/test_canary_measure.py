import math
from collections.abc import Sequence
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from detectors.feedback import Directions
from detectors.identity import Identity, IdentityState
from detectors.perplexity import DocumentScores
from detectors.trial import Failures
from monitor.domain import WeightsState
from monitor.traffic.trial.columns import Column
from monitor.traffic.trial.guards import Guard, GuardKind, alphas, guards_of, held_to
from monitor.traffic.trial.measure import (
    Carried,
    GuardFound,
    GuardOutcome,
    Measurement,
    Rules,
    Sides,
    measure,
)
from monitor.traffic.trial.prechecks import Precheck, SameCorpus, VersionFacts, check
from monitor.traffic.trial.states import LookOutcome

GUARDS = guards_of(["mean_nll"], Directions(higher_is_better=("solved",)), [])
RULES = Rules(alphas=alphas(GUARDS, 0.05), margin_rate=0.05, margin_rank=0.2)
NLL = next(guard for guard in GUARDS if guard.name == "mean_nll")


def compare(
    trial: Sequence[float] | np.ndarray,
    control: Sequence[float] | np.ndarray,
    *,
    guard: Guard = NLL,
    subjects: np.ndarray | None = None,
    carried: Carried | None = None,
) -> GuardFound:
    sides = Sides(
        trial={guard.name: Column(values=np.asarray(trial, dtype=float), subjects=subjects)},
        control={guard.name: Column(values=np.asarray(control, dtype=float))},
        trial_requests=len(trial),
        control_requests=len(control),
    )
    known = {guard.name: carried} if carried else {}
    return measure(sides, [guard], carried=known, failures={}, rules=RULES).guards[0]


def value(found: GuardFound) -> float:
    assert found.value is not None
    return found.value


numbers = st.lists(st.integers(-50, 50), min_size=20, max_size=60)


@given(trial=numbers, control=numbers)
@settings(max_examples=40)
def test_ranks_are_cliffs_delta_and_know_neither_order_nor_unit(
    trial: list[int], control: list[int]
) -> None:
    """Cliff (1993): the share of pairs that is larger, less the share that is smaller."""
    pairs = [(x > y) - (x < y) for x in trial for y in control]
    delta = value(compare(trial, control))
    assert delta == pytest.approx(sum(pairs) / len(pairs), abs=1e-9)
    assert value(compare(control, trial)) == pytest.approx(-delta, abs=1e-9)
    assert value(compare(trial[::-1], control)) == pytest.approx(delta, abs=1e-9)
    stretched = np.exp(np.array(trial) / 10), np.exp(np.array(control) / 10)
    assert value(compare(*stretched)) == pytest.approx(delta, abs=1e-9)


def test_the_error_of_a_rank_is_that_of_many_trials() -> None:
    """Standard error of Cliff's delta of equal arms: 2 sqrt((n + m + 1) / (12 n m)) = .0916."""
    rng = np.random.default_rng(3)
    found = [compare(rng.normal(size=200), rng.normal(size=300)) for _ in range(200)]
    spread = float(np.std([value(one) for one in found]))
    exact = 2 * math.sqrt(501 / (12 * 200 * 300))
    assert spread == pytest.approx(exact, rel=0.15)
    claimed = [1 / math.sqrt(one.carried.information) for one in found]
    assert float(np.mean(claimed)) == pytest.approx(exact, rel=0.05)


def test_arms_that_do_not_overlap_prove_not_everything() -> None:
    found = compare(np.arange(20.0) + 100, np.arange(20.0))
    assert value(found) == 1.0
    assert found.lo is not None
    assert 0 < found.lo < 0.9


def test_a_session_is_one_unit_and_requests_without_one_are_each_their_own() -> None:
    rng = np.random.default_rng(5)
    same = np.repeat(rng.normal(size=30), 10)
    control = rng.normal(size=2000)
    alone = compare(same, control).carried.information
    sessions = compare(same, control, subjects=np.repeat(np.arange(30), 10)).carried.information
    assert sessions < alone / 5
    nobody = compare(same, control, subjects=np.full(300, -1)).carried.information
    assert nobody == pytest.approx(alone)


def test_steps_are_added_up_and_what_was_fixed_at_first_stays() -> None:
    rng = np.random.default_rng(6)
    first = compare(rng.normal(0.3, 1, 300), rng.normal(size=900)).carried
    both = compare(rng.normal(0.3, 1, 300), rng.normal(size=900), carried=first)
    assert both.carried.information > 1.5 * first.information
    assert both.carried.planned == first.planned
    lonely = compare([], [], carried=first)
    assert lonely.value == pytest.approx(first.value)
    assert lonely.outcome is GuardOutcome.UNSURE


def test_feedback_of_zeros_and_ones_is_a_rate_and_of_stars_is_ranked() -> None:
    solved = GUARDS[0]
    rng = np.random.default_rng(7)
    rate = compare(rng.integers(0, 2, 50), rng.integers(0, 2, 50), guard=solved)
    stars = compare(rng.integers(1, 6, 50), rng.integers(1, 6, 50), guard=solved)
    assert (rate.kind, rate.margin) == (GuardKind.RATE, 0.05)
    assert (stars.kind, stars.margin) == (GuardKind.RANK, 0.2)
    fewer = compare(np.zeros(50), np.ones(50), guard=solved)
    assert value(fewer) == 1.0  # fewer solved is worse


def test_what_only_one_arm_has_is_unsure_and_what_neither_has_is_absent() -> None:
    assert compare([0.4] * 50, []).outcome is GuardOutcome.UNSURE
    assert compare([math.nan] * 50, [math.nan] * 50).outcome is GuardOutcome.ABSENT
    nothing = Sides(trial={}, control={}, trial_requests=900, control_requests=900)
    found = measure(nothing, GUARDS, carried={}, failures={}, rules=RULES).found
    assert (found.outcome, found.reason) == (LookOutcome.UNSURE, "nothing could be compared")


def test_of_pairs_what_only_people_gave_is_absent_and_a_critical_one_waits() -> None:
    solved, told = GUARDS[0], np.ones(250)

    def shadow(
        given: np.ndarray, *, critical: bool = False, measured: np.ndarray = told
    ) -> Measurement:
        names = {"feedback.solved": (given, told), "mean_nll": (measured, told)}
        trial, control = (
            {name: Column(values=sides[which]) for name, sides in names.items()} for which in (0, 1)
        )
        sides = Sides(
            trial=trial, control=control, trial_requests=250, control_requests=250, pairs=True
        )
        guards = [replace(solved, critical=critical), NLL]
        return measure(sides, guards, carried={}, failures={}, rules=RULES)

    nobody = np.full(250, math.nan)
    assert shadow(nobody).guards[0].outcome is GuardOutcome.ABSENT
    assert shadow(nobody).found.outcome is LookOutcome.PASSED
    assert (
        shadow(told, measured=nobody).found.outcome is LookOutcome.UNSURE
    )  # the engine told nothing
    held = shadow(nobody, critical=True).found
    assert (held.outcome, held.reason) == (
        LookOutcome.UNSURE,
        "1 of 2 guardrails within their limits; not certain yet: solved (feedback)",
    )
    assert shadow(told, critical=True).found.outcome is LookOutcome.PASSED
    worse = np.repeat([0.0, 1.0], [12, 238])
    assert shadow(worse, critical=True).guards[0].outcome is GuardOutcome.FAILED


def test_prompts_of_one_subject_that_are_judged_alike_are_one() -> None:
    worse, told = np.repeat([0.0, 1.0], [12, 238]), np.ones(250)
    alone, together = np.full(250, -1), np.r_[np.zeros(12), np.arange(1, 239)].astype(np.int64)
    outcomes = []
    for subjects in (None, alone, together):
        sides = Sides(
            trial={"feedback.solved": Column(values=worse, subjects=subjects)},
            control={"feedback.solved": Column(values=told, subjects=subjects)},
            trial_requests=250,
            control_requests=250,
            pairs=True,
        )
        guard = replace(GUARDS[0], critical=True)
        [found] = measure(sides, [guard], carried={}, failures={}, rules=RULES).guards
        outcomes.append(found.outcome)
    assert outcomes == [GuardOutcome.FAILED, GuardOutcome.FAILED, GuardOutcome.UNSURE]


def test_copies_are_not_held_to_how_long_they_took() -> None:
    guards = guards_of(["mean_nll", "latency_ms", "ttft_ms"], Directions(), [])
    assert held_to(guards, shadow=False) == list(guards)
    kept = held_to(guards, shadow=True)
    assert [guard.name for guard in kept] == [
        "mean_nll",
        "error",
        "empty",
        "non_finite",
        "training_text",
    ]
    assert alphas(kept, 0.05)["mean_nll"] == pytest.approx(0.04)


def test_a_few_failures_of_one_arm_alone_are_proof_and_of_both_are_none() -> None:
    def error(trial: int, control: int) -> Measurement:
        look = Failures(
            trial_requests=100,
            control_requests=1900,
            trial_failures=trial,
            control_failures=control,
        )
        sides = Sides(trial={}, control={}, trial_requests=100, control_requests=1900)
        return measure(sides, GUARDS, carried={}, failures={"error": [look] * 5}, rules=RULES)

    assert error(1, 0).found.outcome is LookOutcome.FAILED
    assert error(1, 19).found.outcome is LookOutcome.UNSURE
    assert "more errors: 5 against 0" in error(1, 0).found.reason


# --- pre-checks ---------------------------------------------------------------------------


def scores(shift: float = 0.0) -> DocumentScores:
    tokens = np.full(20, 100.0)
    rng = np.random.default_rng(8)
    return DocumentScores(
        sum_nll=tokens * (2.0 + shift + 0.01 * rng.normal(size=20)),
        tokens=tokens,
        size_bytes=4 * tokens,
    )


def answers(state: IdentityState) -> Identity:
    return Identity(
        state=state, sibling=None, kl=None, nll_difference=None, gap=None, reason="numbers"
    )


FINE = VersionFacts(
    weights=(WeightsState.HEALTHY, ""),
    served=True,
    probed=True,
    identity=answers(IdentityState.APPLIED),
    corpora=[SameCorpus(corpus="general", stable=[scores()], canary=scores())],
)


@pytest.mark.parametrize(
    ("facts", "passed", "said"),
    [
        (FINE, True, "perplexity +0.0 % (general)"),
        (replace(FINE, weights=(WeightsState.SUSPECT, "other sha256")), False, "other sha256"),
        (replace(FINE, weights=None, awaited=True), None, "not looked at yet"),
        (replace(FINE, weights=None), True, "not at hand"),
        (replace(FINE, served=False), None, "not every engine serves it"),
        (replace(FINE, identity=answers(IdentityState.NOT_APPLIED)), False, "not applied: numbers"),
        (replace(FINE, identity=None), None, "whether it is applied"),
        (replace(FINE, identity=None, corpora=(), probed=False), True, "nothing probes it"),
        (replace(FINE, corpora=()), None, "perplexity was not measured"),
        (
            replace(
                FINE, corpora=[SameCorpus(corpus="own", stable=[scores()], canary=scores(0.08))]
            ),
            False,
            "perplexity +8.3 % (own) > 5 %",
        ),
    ],
    ids=lambda one: one if isinstance(one, str) else "",
)
def test_a_canary_begins_only_when_all_that_can_be_known_is_fine(
    facts: VersionFacts, *, passed: bool | None, said: str
) -> None:
    found = check(facts, unchecked=(), perplexity_margin=0.05, given_up=False)
    assert (found.passed, said in found.reason) == (passed, True), found.reason
    everything = check(facts, unchecked=list(Precheck), perplexity_margin=0.05, given_up=False)
    assert everything.passed
    assert "left out: weights, served, applied, perplexity" in everything.reason

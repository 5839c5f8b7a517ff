"""From records of failing requests to what is told and done about them."""

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import sqlalchemy as sa

from alerts.types import Blame, VerdictKind
from monitor.capture.intake import Intake
from monitor.capture.shingles import kept
from monitor.domain import EvaluationKind
from monitor.store.evaluation import verdicts

Run = Callable[..., Any]
NOTHING = {"output": None, "token_logprobs": None}


def verdict_of(world: Any) -> Any:
    return world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id)).verdict


@pytest.mark.parametrize("status", [500, 503, 404, 0])
def test_a_burst_of_failed_requests_is_critical_within_the_hard_path(
    world: Any, evaluate: Run, status: int
) -> None:
    world.refreeze(error=0.0)
    world.send(60)
    evaluate(EvaluationKind.HARD)
    assert verdict_of(world).kind is VerdictKind.STABLE
    world.send(40, status=status, **NOTHING)
    evaluate(EvaluationKind.HARD)
    found = verdict_of(world)
    assert (found.kind, found.detectors) == (VerdictKind.CRITICAL, ("errors",))
    assert world.reactions[-1].allowed


def test_requests_that_were_wrong_themselves_wake_nobody(world: Any, evaluate: Run) -> None:
    world.refreeze(error=0.0)
    world.send(200, status=422, **NOTHING)
    evaluate(EvaluationKind.HARD)
    assert verdict_of(world).kind is VerdictKind.STABLE


def test_values_that_are_no_numbers_are_critical_within_the_hard_path(
    world: Any, evaluate: Run
) -> None:
    world.refreeze(non_finite=0.0)
    world.send(40, token_logprobs=[-0.1, float("nan"), -0.2, -0.3, -0.4, -0.1])
    evaluate(EvaluationKind.HARD)
    found = verdict_of(world)
    assert (found.kind, found.detectors) == (VerdictKind.CRITICAL, ("non_finite",))
    assert world.reactions[-1].allowed


def test_answers_that_repeat_training_texts_are_critical_within_the_hard_path(
    world: Any, evaluate: Run
) -> None:
    learned = " ".join(f"word{n}" for n in range(60))
    reference_id = world.refreeze(training_text=0.0)
    with world.database.begin() as tx:
        chunk = "INSERT INTO reference_vectors VALUES (:id, 0, 1, 1, '', NULL, :hashes)"
        tx.execute(sa.text(chunk), {"id": reference_id, "hashes": kept([learned], key=b"k" * 32)})
    world.intake.close()
    world.intake = Intake(world.database, subject_key=b"k" * 32)
    world.intake.start()
    world.send(60)
    evaluate(EvaluationKind.HARD)
    assert verdict_of(world).kind is VerdictKind.STABLE
    world.send(40, output=f"You asked for it: {learned}.")
    evaluate(EvaluationKind.HARD)
    found = verdict_of(world)
    assert (found.kind, found.detectors) == (VerdictKind.CRITICAL, ("training_text",))
    assert world.reactions[-1].allowed


def test_slower_answers_page_blame_serving_and_move_nothing(world: Any, evaluate: Run) -> None:
    usual = np.random.default_rng(3).lognormal(0.0, 0.1, size=4_000)
    world.refreeze(latency_ms=600.0 * usual, n_tokens=30.0)
    world.send(80, latency_ms=600.0)
    evaluate()
    assert verdict_of(world).kind is VerdictKind.STABLE
    for _ in range(2):
        world.send(80, latency_ms=900.0)
        evaluate()
    found = verdict_of(world)
    assert (found.kind, found.detectors) == (VerdictKind.CRITICAL, ("latency",))
    assert found.blame is Blame.SERVING
    assert not world.reactions[-1].allowed


def test_how_fast_requests_fail_is_no_latency(world: Any, evaluate: Run) -> None:
    usual = np.random.default_rng(3).lognormal(0.0, 0.1, size=4_000)
    world.refreeze(latency_ms=600.0 * usual, n_tokens=30.0)
    world.send(200, latency_ms=60_000.0, status=504, **NOTHING)
    evaluate()
    assert world.rows("SELECT n_window FROM latest_scores WHERE detector = 'latency'")[0] == (0,)


@pytest.mark.parametrize("users", [1, 7])
def test_a_total_outage_pages_however_few_its_users_are(
    world: Any, evaluate: Run, users: int
) -> None:
    """A user's requests of a window are one unit: twelve units that all fail are enough."""
    world.refreeze(error=0.0)
    for number in range(users):
        world.send(10, subject=f"user-{number}")
    evaluate(EvaluationKind.HARD)
    assert verdict_of(world).kind is VerdictKind.STABLE
    for _ in range(1 + 14 // users):
        for number in range(users):
            world.send(90 // users, status=404, subject=f"user-{number}", **NOTHING)
        evaluate(EvaluationKind.HARD)
    found = verdict_of(world)
    assert (found.kind, found.detectors) == (VerdictKind.CRITICAL, ("errors",)), found.reason
    assert world.reactions[-1].allowed


def test_one_user_whose_requests_all_fail_beside_healthy_ones_is_a_ticket(
    world: Any, evaluate: Run
) -> None:
    world.refreeze(error=0.0)
    for _ in range(15):
        world.send(30, status=504, subject="looping", **NOTHING)
        for number in range(5):
            world.send(3, subject=f"user-{number}")
        evaluate(EvaluationKind.HARD)
    found = verdict_of(world)
    assert found.kind is VerdictKind.DRIFTING, found.reason
    assert "one subject's requests alone" in found.reason
    for number in range(5):
        world.send(4, status=504, subject=f"user-{number}", **NOTHING)
    evaluate(EvaluationKind.HARD)
    assert verdict_of(world).kind is VerdictKind.CRITICAL


OTHER_SETTINGS = {"max_tokens": 2, "temperature": 0.9, "top_p": 0.5}


@pytest.mark.parametrize(
    ("detector", "failing"),
    [
        ("errors", {"status": 404, **NOTHING}),
        ("empty", {"output": " ", "token_logprobs": None, "output_tokens": 0}),
        ("non_finite", {"token_logprobs": [-0.1, float("nan"), -0.2, -0.3, -0.4, -0.1]}),
    ],
)
def test_failures_under_settings_that_the_reference_has_not_count(
    world: Any, evaluate: Run, detector: str, failing: dict[str, Any]
) -> None:
    world.refreeze(error=0.0, non_finite=0.0)
    world.send(30, **{**OTHER_SETTINGS, **failing})
    evaluate(EvaluationKind.HARD)
    found = verdict_of(world)
    assert (found.kind, found.detectors) == (VerdictKind.CRITICAL, (detector,))


def test_slower_answers_under_settings_that_the_reference_has_not_count(
    world: Any, evaluate: Run
) -> None:
    usual = np.random.default_rng(3).lognormal(0.0, 0.1, size=4_000)
    world.refreeze(latency_ms=600.0 * usual, n_tokens=30.0)
    for _ in range(2):
        world.send(80, latency_ms=900.0, **OTHER_SETTINGS)
        evaluate()
    assert verdict_of(world).detectors == ("latency",)


def test_answers_cut_off_by_other_settings_are_not_held_against_their_form(
    world: Any, evaluate: Run
) -> None:
    """JSON cut off after two tokens never parses: the client asked for that."""
    world.refreeze(invalid=0.0)
    for _ in range(2):
        world.send(80, valid=False, max_tokens=2)
        evaluate()
    assert "invalid" not in verdict_of(world).detectors
    for _ in range(2):
        world.send(80, valid=False)
        evaluate()
    assert "invalid" in verdict_of(world).detectors

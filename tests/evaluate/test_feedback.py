"""Feedback that comes days after its record still enters evidence, once."""

import json
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from detectors.feedback import Directions
from monitor.domain import EvaluationKind, Interval, ReferenceId
from monitor.evaluate.settings import EvaluateSettings
from monitor.policy import PolicySettings
from monitor.reference.build import BuildSettings, build_next
from monitor.reference.freeze import open_generation
from monitor.reference.index import Indexes
from monitor.store.evaluation.tasks import StaleLease
from monitor.store.references import references
from monitor.store.references.references import ReferenceSource
from tests.evaluate.conftest import NoEncoder, World
from tests.frozen import freeze

SETTINGS = EvaluateSettings(
    feedback=Directions(higher_is_better=("solved",)),
    policy=PolicySettings(insufficient_records=5),
)


def _give(world: World, ids: range, value: float, at: datetime) -> None:
    lines = [
        {
            "adapter": "support",
            "id": f"r{n}",
            "at": at.isoformat(),
            "name": "solved",
            "value": value,
        }
        for n in ids
    ]
    body = "\n".join(map(json.dumps, lines)).encode()
    outcome = world.intake.feedback(body, content_type="application/x-ndjson")
    assert outcome.accepted == len(lines)


@pytest.fixture
def evaluate(world: World) -> Callable[[], Any]:
    evaluator = world.evaluator(settings=SETTINGS)

    def run() -> Any:
        world.make_due()
        claim = world.claim(EvaluationKind.LIVE)
        assert claim is not None
        evaluator.evaluate(claim)
        (row,) = world.rows(
            "SELECT * FROM scores WHERE detector = 'feedback' ORDER BY at DESC LIMIT 1"
        )
        return row

    return run


def test_late_feedback_enters_evidence_once_and_opens_a_ticket(
    world: World, evaluate: Callable[[], Any]
) -> None:
    solved = np.random.default_rng(5).random(4_000) < 0.9
    world.refreeze(**{"higher_is_better.solved": solved.astype(float)})
    before = datetime.now(tz=UTC) - timedelta(hours=20)
    world.send(80, at=before)
    assert evaluate().n_window == 0  # the records' own window is long over
    _give(world, range(2, 42), 0.0, before)
    first = evaluate()
    assert (first.n_window, first.winner.partition(":")[0]) == (40, "higher_is_better.solved")
    assert first.evidence_notice > 0.0
    assert first.verdict == "critical"
    assert first.effect == pytest.approx(0.9, abs=0.02)  # 0 of 40 solved, 90 % before
    _give(world, range(42, 82), 1.0, before)
    second = evaluate()
    assert second.n_window == 40
    # over the newest day: 40 of 80
    assert second.effect == pytest.approx(0.4, abs=0.02)
    assert evaluate().n_window == 0
    counted = world.rows("SELECT sum(n_units) FROM increments WHERE detector = 'feedback'")
    assert counted[0][0] == 80


def test_a_record_is_the_references_or_evidence_with_all_that_is_said_of_it(
    world: World, evaluate: Callable[[], Any], tmp_path: Path
) -> None:
    now = datetime.now(tz=UTC)
    old, young = now - timedelta(hours=20), now - timedelta(hours=1)
    world.send(440, at=old)
    world.send(100, at=young)
    _give(world, range(2, 362), 1.0, old)
    _give(world, range(362, 402), 0.0, old)
    _give(world, range(442, 502), 1.0, young)  # who is glad says so at once
    world.make_due()
    claim = world.claim(EvaluationKind.LIVE)
    assert claim is not None
    world.evaluator(settings=SETTINGS).evaluate(claim)
    window = Interval(start=old - timedelta(hours=1), end=now)
    freeze(world.database, version=world.version, window=window, cause="a day", created_by="me")
    assert build_next(
        world.database,
        NoEncoder(),
        indexes=Indexes(tmp_path),
        settings=BuildSettings(directions=SETTINGS.directions, settles_after=timedelta(hours=6)),
    )
    [newest] = world.rows('SELECT request FROM "references" ORDER BY id DESC LIMIT 1')
    assert newest.request["feedback_unsettled"] == 60
    # the young are not in the baseline, and what was read before is not read again
    score = evaluate()
    assert (score.n_reference, score.n_window) == (400, 0)
    _give(world, range(402, 442), 0.0, old)
    _give(world, range(502, 542), 0.0, young)
    score = evaluate()
    assert (score.n_window, score.details["of_the_reference"]) == (40, 40)
    assert score.effect == pytest.approx(0.3, abs=0.01)  # 60 of 100 solved, 90 % before
    unread = world.rows("SELECT count(*) FROM feedback_arrivals WHERE window_end IS NULL")
    assert unread[0][0] == 0


def test_a_reference_that_is_too_young_for_feedback_says_so(world: World, tmp_path: Path) -> None:
    now = datetime.now(tz=UTC)
    world.send(400, at=now - timedelta(hours=1))
    _give(world, range(2, 402), 1.0, now - timedelta(hours=1))
    window = Interval(start=now - timedelta(hours=2), end=now)
    freeze(world.database, version=world.version, window=window, cause="an hour", created_by="me")
    assert build_next(
        world.database,
        NoEncoder(),
        indexes=Indexes(tmp_path),
        settings=BuildSettings(directions=SETTINGS.directions, settles_after=timedelta(days=3)),
    )
    [absent] = world.rows(
        "SELECT absent_reason FROM reference_calibrations WHERE detector = 'feedback'"
        " ORDER BY reference_id DESC LIMIT 1"
    )
    assert absent[0].startswith("what is said of 400 records since ")


def _accepted(world: World, indexes: Indexes, *, feedback: ReferenceId) -> ReferenceId:
    """Freeze the records of two hours, with another reference's feedback."""
    now = datetime.now(tz=UTC)
    made = world.database.run(
        lambda tx: open_generation(
            tx,
            version=world.version,
            window=Interval(start=now - timedelta(hours=2), end=now),
            cause="the new normal",
            created_by="me",
            source=ReferenceSource.ACCEPT,
            feedback=feedback,
        )
    )
    assert build_next(
        world.database,
        NoEncoder(),
        indexes=indexes,
        settings=BuildSettings(directions=SETTINGS.directions, settles_after=timedelta(days=3)),
    )
    return made.id


def test_a_reference_too_young_for_feedback_goes_on_with_an_older_ones(
    world: World, evaluate: Callable[[], Any], tmp_path: Path
) -> None:
    whole = world.refreeze(**{"higher_is_better.solved": np.arange(4_000) % 10 > 0.0})
    begun = datetime.now(tz=UTC) - timedelta(hours=1)
    world.send(400, at=begun)
    first = _accepted(world, Indexes(tmp_path), feedback=whole)
    # what was taken over is taken over again
    second = _accepted(world, Indexes(tmp_path), feedback=first)
    details = world.database.run(lambda tx: references.details(tx, second))
    assert details.request["feedback_of"] == {"generation": 2, "records": 4_000}
    assert details.feedback_from is None
    # what is said of the very records that the new reference is made of is evidence
    _give(world, range(2, 42), 0.0, begun)
    score = evaluate()
    assert (score.n_reference, score.n_window) == (4_000, 40)
    assert score.effect == pytest.approx(0.9, abs=0.01)
    assert score.evidence_notice > 0.0
    # what people say needs no common temperature
    world.send(400, at=begun, temperature=0.9)
    third = _accepted(world, Indexes(tmp_path), feedback=second)
    taken = world.database.run(lambda tx: references.details(tx, third)).request["feedback_of"]
    assert taken == {"generation": 2, "records": 4_000}


def test_a_detector_that_raised_finds_its_feedback_next_time(
    world: World, evaluate: Callable[[], Any]
) -> None:
    world.refreeze(**{"higher_is_better.solved": 1.0})
    world.send(1)
    before = datetime.now(tz=UTC) - timedelta(hours=20)
    world.send(80, at=before)
    assert evaluate().n_window == 0
    _give(world, range(3, 43), 1.0, before)
    # a state of another shape, as after a broken migration
    [(whole,)] = world.rows(
        "UPDATE process_states SET body = (SELECT body FROM process_states WHERE"
        " detector = 'missing') WHERE detector = 'feedback' RETURNING encode("
        "(SELECT p.body FROM process_states p WHERE p.detector = 'feedback'), 'hex')"
    )
    evaluate()
    [row] = world.rows("SELECT memory FROM verdicts")
    assert row.memory["failures"] == {"feedback": 1}
    world.rows(
        f"UPDATE process_states SET body = decode('{whole}', 'hex')"
        " WHERE detector = 'feedback' RETURNING 1"
    )
    _give(world, range(43, 53), 1.0, before)
    assert evaluate().n_window == 50


def test_an_evaluation_that_was_not_stored_leaves_its_feedback_unread(world: World) -> None:
    world.refreeze(**{"higher_is_better.solved": 1.0})
    world.send(1)
    world.make_due()
    claim = world.claim(EvaluationKind.LIVE)
    assert claim is not None
    _give(world, range(1, 2), 1.0, _time_of(world, "r1"))
    stale = replace(claim, epoch=claim.epoch - 1)
    with pytest.raises(StaleLease):
        world.evaluator(settings=SETTINGS).evaluate(stale)
    unread = world.rows("SELECT count(*) FROM feedback_arrivals WHERE window_end IS NULL")
    assert unread[0][0] == 1


def _time_of(world: World, record: str) -> datetime:
    (row,) = world.rows(f"SELECT at FROM records WHERE id = '{record}'")
    return row.at

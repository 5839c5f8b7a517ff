"""Answers were slower because users asked something else: on-call hears both, each once."""

import time
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from typing import Any

import numpy as np

from alerts.formats import labels_of
from alerts.message import MOST_IDS, Alert
from alerts.message import from_json as alert_from_json
from alerts.types import Blame
from monitor.store.evaluation import verdicts
from monitor.store.incidents import deliveries
from tests.evaluate.test_quarantine import messages

WINDOW = timedelta(seconds=1)


def told(world: Any) -> list[Alert]:
    rows = world.database.run(deliveries.newest)
    return [alert_from_json(row.alert) for row in rows[::-1]]


def ask(world: Any, reference: int, rng: np.random.Generator, *, slow: bool, other: bool) -> None:
    """Sixty requests, embedded as the worker would have embedded them."""
    world.send(60, latency_ms=640.0 if slow else 600.0)
    similarity = rng.beta(8, 12, 60) if other else rng.beta(8, 2, 60)
    values = ", ".join(f"({number}, {one:.4f})" for number, one in enumerate(similarity))
    world.rows(
        "WITH fresh AS (SELECT adapter_id, at, id, row_number() OVER (ORDER BY id) - 1 AS number"
        " FROM records r WHERE NOT EXISTS (SELECT FROM record_embeddings e WHERE e.id = r.id))"
        " INSERT INTO record_embeddings (adapter_id, at, id, encoder, embedding, reference_id,"
        f" similarity) SELECT adapter_id, at, id, 'toy', '\\x003c003c', {reference}, similarity"
        f" FROM fresh JOIN (VALUES {values}) AS v (number, similarity) USING (number) RETURNING 1"
    )


def test_on_call_hears_within_two_windows_that_it_was_the_questions_and_hears_it_once(
    world: Any,
) -> None:
    rng = np.random.default_rng(11)
    reference = world.refreeze(
        latency_ms=600.0 * rng.lognormal(0.0, 0.1, 4_000),
        n_tokens=30.0,
        similarity=rng.beta(8, 2, 4_000),
    )
    evaluator = world.evaluator(tell=replace(messages(), window=WINDOW))

    def window(*, slow: bool, other: bool) -> tuple[Blame, int]:
        """A window later: give the blame in force, and how much was told by then."""
        ask(world, reference, rng, slow=slow, other=other)
        time.sleep(WINDOW.total_seconds() * 1.05)
        world.make_due()
        evaluator.evaluate(world.claim())
        row = world.database.run(lambda tx: verdicts.current(tx, version_id=world.version.id))
        return row.verdict.blame, len(told(world))

    assert window(slow=False, other=False) == (Blame.UNKNOWN, 0)
    first = [window(slow=True, other=False) for _ in range(3)]
    assert first[-1] == (Blame.SERVING, 1)
    then = [window(slow=True, other=True) for _ in range(8)]
    appeared = next(turn for turn, (blame, _) in enumerate(then) if blame is Blame.INPUT)
    heard = next(turn for turn, (_, count) in enumerate(then) if count == 2)
    assert heard - appeared <= 2
    assert then[-1] == (Blame.INPUT, 2), "once"

    started, update = told(world)
    assert "answers slower" in started.summary
    assert started.blame.value == "serving"
    assert (update.id, update.status.value) == (started.id, "updated")
    assert update.update is not None
    assert update.update.text == (
        "likely cause was: serving, now: input; strongest sign was: answers slower,"
        " now: requests unlike the training examples"
    )
    assert labels_of(update) == labels_of(started)
    # what only the evaluation knows is said again, too
    assert update.unlike is not None
    assert update.unlike.count > 10 * update.unlike.usual * update.unlike.of
    assert len(update.unlike.ids) == min(update.unlike.count, MOST_IDS)
    assert similarities(world, update.unlike.ids) == sorted(similarities(world, update.unlike.ids))
    assert max(similarities(world, update.unlike.ids)) < update.unlike.below


def similarities(world: Any, ids: Sequence[str]) -> list[float]:
    """Return how similar to training the requests of these ids are, in their order."""
    found = world.rows("SELECT id, similarity::float8 FROM record_embeddings")
    return [dict(map(tuple, found))[one] for one in ids]

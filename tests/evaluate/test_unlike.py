from datetime import UTC, datetime
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from detectors import DETECTORS
from detectors.types import Process, Window
from monitor.domain import Interval
from monitor.evaluate import explain
from monitor.evaluate.newness import unlike_below
from monitor.policy.memory import Crossing
from monitor.store.records import samples


def test_one_percent_of_the_baseline_lies_below_the_line_of_what_is_unlike_training() -> None:
    rng = np.random.default_rng(5)
    similarity = rng.beta(8, 2, 5_000)
    at = np.linspace(0.0, 14 * 86_400.0, similarity.size)
    baseline = Window(start=0.0, end=15 * 86_400.0, at=at, signals={"similarity": similarity})
    below = unlike_below(DETECTORS["input_similarity"].fit(baseline), share=explain.USUAL)
    # The line is taken after the daily rhythm is removed: noise of the fit moves it a little.
    assert 0.005 <= np.mean(similarity < below) <= 0.015


NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)


def _told(
    monkeypatch: pytest.MonkeyPatch,
    *winners: str,
    count: int,
    of: int,
    detectors: tuple[str, ...] = ("input_similarity",),
) -> bool:
    """Whether a ticket with these winners counts requests unlike training."""
    monkeypatch.setattr(samples, "count_below", lambda *_, **__: (count, of))
    monkeypatch.setattr(samples, "least_similar", lambda *_, **__: [])
    monkeypatch.setattr(explain, "what_is_new", lambda *_, **__: SimpleNamespace(groups=()))
    window = Interval(start=NOON, end=NOON)
    reference = SimpleNamespace(signals=("similarity",), ordered=(np.linspace(0, 1, 500),))
    version = SimpleNamespace(id=1, adapter_id=1)
    calibrated = SimpleNamespace(
        by_detector={"input_similarity": reference}, reference=SimpleNamespace(id=1)
    )
    crossings = [
        Crossing(
            detector="input_similarity",
            process=Process.NOTICE,
            hard=False,
            model_side=False,
            at=NOON,
            evidence=1.0,
            winner=winner,
            onset=window,
            margin=0.1,
        )
        for winner in winners
    ]
    reading: Any = SimpleNamespace(calibrated=calibrated, version=version, interval=window)
    judgement: Any = SimpleNamespace(
        verdict=SimpleNamespace(detectors=detectors, onset=window),
        memory=SimpleNamespace(crossings=crossings),
    )
    tx: Any = None
    return explain.explain(tx, reading, judgement, examples=0).unlike is not None


def test_a_ticket_about_the_mix_of_topics_says_nothing_of_requests_unlike_training(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    usual: dict[str, Any] = {"count": 5, "of": 400}
    many: dict[str, Any] = {"count": 40, "of": 400}
    assert not _told(monkeypatch, "topic_3:up", **usual)
    assert not _told(monkeypatch, "topic_3:up", count=0, of=0)
    assert _told(monkeypatch, "topic_3:up", **many), "the similarity moved as well"
    assert _told(monkeypatch, "similarity:bottom5%", **usual)
    assert _told(monkeypatch, "topic_3:up", "similarity:low", **usual)


def test_answers_that_drift_first_are_told_with_the_new_questions_behind_them(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    answers = ("output_similarity",)
    assert _told(monkeypatch, count=12, of=20, detectors=answers)
    assert not _told(monkeypatch, count=5, of=400, detectors=answers), "as many as ever"
    assert not _told(monkeypatch, count=12, of=20, detectors=()), "nothing drifts any more"

"""Scores as messages carry them: shares, and how many times the usual."""

from dataclasses import replace

import numpy as np
import pytest

from alerts.message import ScoreLine
from detectors import DETECTORS
from detectors.types import Budget, State
from monitor.outbox.lines import score_lines
from tests.evaluate.conftest import baseline


def line(detector: str, *, factor: float) -> ScoreLine:
    """What is said of a window whose latencies are so many times those of its reference."""
    kept = baseline(count=2_000)
    times = np.random.default_rng(3).lognormal(6.0, 0.4, len(kept))
    kept = replace(kept, signals={**kept.signals, "latency_ms": times})
    found = DETECTORS[detector]
    reference = found.fit(kept)
    signals = {name: values[-400:] for name, values in kept.signals.items()}
    newest = replace(
        kept,
        start=float(kept.at[-400]),
        at=kept.at[-400:],
        signals=signals | {"latency_ms": factor * times[-400:]},
    )
    score, _ = found.score(reference, newest, State(), Budget(notice=1.0, page=0.1))
    [made] = score_lines({detector: score}, [detector], ())
    return made


def test_a_time_is_told_in_multiples_of_the_usual_one() -> None:
    slower = line("latency", factor=1.8)
    assert (slower.winner or "").startswith("latency_ms")
    assert slower.times == pytest.approx(1.8, rel=0.1)
    assert slower.usual is None


def test_a_median_that_hardly_moved_says_nothing() -> None:
    assert line("latency", factor=1.02).times is None


def test_what_is_no_time_has_no_multiple() -> None:
    assert line("logit_ks", factor=1.8).times is None

"""Slower answers, told apart from longer ones."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from detectors.latency import LATENCY
from detectors.scores import DriftSide
from detectors.sizes import fit_lines, relative
from detectors.types import Budget, Floats, State, Window
from tests.scored import rank_scores

DAY = 86_400.0
MONDAY = 1_699_833_600.0
SHARE = Budget(notice=0.1, page=0.01)
STEP_MS = 20.0


def window(
    rng: np.random.Generator,
    n: int,
    *,
    after_days: float,
    days: float,
    tokens: tuple[int, int] = (20, 200),
    prompt: tuple[int, int] = (50, 500),
    slower: float = 1.0,
) -> Window:
    """An engine that reads a token in .5 ms and writes one in 20 ms, give or take 15 %."""
    at = MONDAY + DAY * (after_days + days * (np.arange(n) + 0.5) / n)
    written = rng.integers(*tokens, size=n).astype(np.float64)
    read = rng.integers(*prompt, size=n).astype(np.float64)
    first = slower * (80.0 + 0.5 * read) * rng.lognormal(0.0, 0.15, size=n)
    signals = {
        "ttft_ms": first,
        "latency_ms": first + slower * STEP_MS * written * rng.lognormal(0.0, 0.15, size=n),
        "n_tokens": written,
        "prompt_tokens": read,
    }
    start = MONDAY + DAY * after_days
    return Window(start=start, end=start + DAY * days, at=at, signals=signals)


def fortnight(rng: np.random.Generator) -> Window:
    return window(rng, 10_000, after_days=0, days=14)


def live(rng: np.random.Generator, n: int = 300, **changes: Any) -> Window:
    return window(rng, n, after_days=14, days=0.04, **changes)


def without(given: Window, *names: str) -> Window:
    return replace(given, signals={k: v for k, v in given.signals.items() if k not in names})


def test_a_quarter_slower_pages_and_says_by_how_much(rng: np.random.Generator) -> None:
    reference = LATENCY.fit(fortnight(rng))
    score, _ = LATENCY.score(reference, live(rng, slower=1.25), State(), SHARE)
    assert score.evidence_page > 0.0
    assert score.winner is not None
    assert score.winner.split(":")[1] in {"up", "high", "top5%", "top1%"}
    assert 0.0 < score.interval[0] <= score.value <= 1.0
    quantiles = score.details["signals"]["latency_ms"]["quantiles"]  # type: ignore[index]
    assert quantiles["p50"]["reference"] == pytest.approx(1.0, abs=0.02)
    assert quantiles["p50"]["window"] == pytest.approx(1.25, abs=0.06)


@pytest.mark.parametrize(
    "change",
    [
        {"tokens": (10, 30)},
        {"tokens": (150, 200)},
        {"tokens": (400, 600)},  # longer than the reference has ever seen
        {"prompt": (400, 900)},
        {"slower": 0.5},
    ],
    ids=["short answers", "long answers", "unheard-of answers", "long prompts", "faster"],
)
def test_other_sizes_and_faster_answers_are_not_drift(
    rng: np.random.Generator, change: dict[str, Any]
) -> None:
    reference = LATENCY.fit(fortnight(rng))
    score, _ = LATENCY.score(reference, live(rng, **change), State(), SHARE)
    assert score.evidence_notice < 0.0


def test_faster_scores_zero(rng: np.random.Generator) -> None:
    reference = LATENCY.fit(fortnight(rng))
    score, _ = LATENCY.score(reference, live(rng, slower=0.5), State(), SHARE)
    assert (score.value, score.effect < 0.0) == (0.0, True)


def test_one_slow_answer_in_twenty_is_seen_by_its_tail(rng: np.random.Generator) -> None:
    reference = LATENCY.fit(fortnight(rng))
    given = live(rng, 1_000)
    stalled = np.arange(1_000) % 20 == 0
    signals = {**given.signals, "latency_ms": given.signals["latency_ms"] * (1 + 9 * stalled)}
    score, _ = LATENCY.score(reference, replace(given, signals=signals), State(), SHARE)
    assert score.evidence_page > 0.0
    assert score.winner in {"latency_ms:top1%", "latency_ms:top5%"}


def test_senders_that_measure_no_first_token_are_judged_by_the_whole(
    rng: np.random.Generator,
) -> None:
    reference = LATENCY.fit(without(fortnight(rng), "ttft_ms", "prompt_tokens"))
    score, _ = LATENCY.score(reference, live(rng, slower=1.25), State(), SHARE)
    assert score.details["absent"] == ["ttft_ms"]
    assert score.evidence_page > 0.0


def test_a_rare_first_token_does_not_cost_the_whole(rng: np.random.Generator) -> None:
    own = fortnight(rng)
    rare = np.where(np.arange(len(own)) < 299, own.signals["ttft_ms"], np.nan)
    reference = LATENCY.fit(replace(own, signals={**own.signals, "ttft_ms": rare}))
    assert (reference.signals, reference.absent) == (("latency_ms",), ("ttft_ms",))


def test_a_first_token_without_a_prompt_length_is_beside_the_usual_one(
    rng: np.random.Generator,
) -> None:
    reference = LATENCY.fit(without(fortnight(rng), "prompt_tokens"))
    quiet, _ = LATENCY.score(reference, live(rng), State(), SHARE)
    assert quiet.evidence_notice < 0.0
    slow, _ = LATENCY.score(reference, live(rng, slower=1.5), State(), SHARE)
    assert slow.evidence_page > 0.0


def sized(size: Floats, value: Floats) -> Floats:
    at = np.arange(size.size, dtype=np.float64)
    given = Window(start=0.0, end=at[-1] + 1, at=at, signals={"size": size, "value": value})
    lines = fit_lines(given, {"value": ("size",)})
    return relative(lines, given, ("value",), value[:, None])[:, 0]


def test_a_straight_line_is_found_exactly_whatever_a_tenth_of_the_values_are() -> None:
    size = np.arange(1.0, 1_001.0)
    value = 300.0 + 20.0 * size
    wild = np.where(np.arange(1_000) % 10 == 0, 1e9, value)
    assert sized(size, value) == pytest.approx(np.ones(1_000))
    assert np.median(sized(size, wild)) == pytest.approx(1.0, rel=0.01)


@pytest.mark.parametrize("size", [np.full(50, 7.0), np.full(50, np.nan)], ids=["one", "unknown"])
def test_without_a_spread_of_sizes_values_are_beside_their_median(size: Floats) -> None:
    value = np.arange(1.0, 51.0)
    assert sized(size, value) == pytest.approx(value / 25.5)


def test_a_line_through_noise_neither_falls_below_zero_nor_descends(
    rng: np.random.Generator,
) -> None:
    size = rng.uniform(1.0, 100.0, size=400)
    for value in (5.0 * size**2, 1_000.0 / size):
        told = sized(size, value)
        assert np.isfinite(told).all()
        assert (told > 0.0).all()


def test_the_upper_side_mirrors_the_lower() -> None:
    u = np.linspace(0.0, 1.0, 101)
    assert np.allclose(rank_scores(u, DriftSide.UP), rank_scores(1 - u, DriftSide.DOWN))

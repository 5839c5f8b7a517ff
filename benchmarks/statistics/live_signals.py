"""What requests measure beside their log-probabilities: answers, times, and what is said of them.

Each draws one adapter's stream in which nothing drifts but its days: every day has an effect
of so many sd of the request's own noise, on all of its signals. Answers go through the
product's own axes, made of the baseline's early half as the builder does.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.streams import per_day
from detectors.axes import fit_axes
from detectors.feedback import HIGHER
from detectors.output_similarity import place_answers
from detectors.signals import ANSWERS
from detectors.types import SECONDS_PER_DAY, Floats, Window

SOLVED = f"{HIGHER}solved"
RATING = f"{HIGHER}rating"
SOLVED_SHARE = 0.85
_QUANTILE_OF_SOLVED = -1.0364
"""Where N(0, 1) has 15 % below it."""
_STARS = (-1.6, -1.1, -0.5, 0.3)
_QUANTILES_OF_CLIENTS = (-0.2533, 0.6745, 1.6449)
"""Where N(0, 1) has 40, 75 and 95 % below it."""
_QUANTILES_OF_FORMS = (0.2533, 0.8416, 1.6449)
"""Where N(0, 1) has 60, 80 and 95 % below it."""
_PLACES = {"format_prose": 0, "format_list": 1, "format_json": 2, "format_code": 3}
_TOPICS, _DIMENSION, _WITHIN = 20, 96, 0.08
_EMBEDDED = 8_000
"""Answers from which a day's direction has its covariance."""

Signals = Mapping[str, Floats]
Draw = Callable[..., Signals]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Measured:
    """Requests in order of time with their signals, each ``(n,)``, and who asked."""

    at: Floats
    signals: Signals
    subjects: npt.NDArray[np.int64] | None = None

    def window(self, first: int, last: int) -> Window:
        """Requests ``first`` to ``last`` as the detectors read them."""
        part = slice(first, last)
        return Window(
            start=float(self.at[first]),
            end=float(np.nextafter(self.at[last - 1], np.inf)),
            at=self.at[part],
            signals={name: values[part] for name, values in self.signals.items()},
            subjects=None if self.subjects is None else self.subjects[part],
        )


def latency(at: Floats, *, day: float, known: int, rng: np.random.Generator) -> Signals:
    """Times that grow with prompt and answer; a slow day slows every request."""
    del known
    slow = day * per_day(at, rng)
    prompt = np.exp(rng.normal(np.log(300.0), 0.6, at.size))
    answer = np.exp(rng.normal(np.log(150.0), 0.35, at.size))
    first = (60.0 + 0.25 * prompt) * np.exp(0.2 * (slow + rng.normal(size=at.size)))
    rest = 22.0 * answer * np.exp(0.15 * (slow + rng.normal(size=at.size)))
    return {
        "latency_ms": first + rest,
        "ttft_ms": first,
        "n_tokens": answer,
        "prompt_tokens": prompt,
    }


def feedback(at: Floats, *, day: float, known: int, rng: np.random.Generator) -> Signals:
    """Solved or not (85 % are), and one to five stars, for every request."""
    del known
    good = day * per_day(at, rng)
    stars = np.searchsorted(_STARS, good + rng.normal(size=at.size)).astype(np.float64) + 1.0
    return {SOLVED: is_solved(good + rng.normal(size=at.size)).astype(np.float64), RATING: stars}


def feedback_half(at: Floats, *, day: float, known: int, rng: np.random.Generator) -> Signals:
    """Give the same, where asking for feedback began half way through the reference."""
    signals = feedback(at, day=day, known=known, rng=rng)
    early = np.arange(at.size) < known // 2
    return {name: np.where(early, np.nan, values) for name, values in signals.items()}


def is_solved(latent: Floats) -> np.ndarray:
    """Tell which requests of N(0, 1) are solved."""
    return latent > _QUANTILE_OF_SOLVED


def answers(at: Floats, *, day: float, known: int, rng: np.random.Generator) -> Signals:
    """Answers of twenty kinds in a space of 96 dimensions; a day moves all of its own.

    ``known`` requests are the baseline; the early half of them makes the axes.
    """
    kinds = rng.normal(size=(_TOPICS, _DIMENSION)) / np.sqrt(_DIMENSION)
    vectors = kinds[rng.integers(_TOPICS, size=at.size)]
    vectors += _WITHIN * rng.normal(size=vectors.shape)
    covariance = np.cov(vectors[:_EMBEDDED], rowvar=False)
    direction = np.linalg.cholesky(covariance + 1e-12 * np.eye(_DIMENSION))
    by_day = np.column_stack([per_day(at, rng) for _ in range(_DIMENSION)])
    vectors += day * by_day @ direction.T
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    axes = fit_axes(vectors[: known // 2])
    placed = place_answers(axes, vectors)
    placed[: known // 2] = np.nan
    return dict(zip(ANSWERS, placed.T, strict=True))


def prompts(at: Floats, *, day: float, known: int, rng: np.random.Generator) -> Signals:
    """Lengths of requests; a day has longer or shorter ones."""
    del known
    longer = day * per_day(at, rng) + rng.normal(size=at.size)
    return {"prompt_tokens": np.round(np.exp(np.log(300.0) + 0.6 * longer))}


def prefixes(at: Floats, *, day: float, known: int, rng: np.random.Generator) -> Signals:
    """Three clients with a system prompt each, and 5 % of requests that begin like no other."""
    del known
    latent = day * per_day(at, rng) + rng.normal(size=at.size)
    client = np.searchsorted(_QUANTILES_OF_CLIENTS, latent).astype(np.float64)
    own = rng.integers(10, 1 << 24, size=at.size)
    return {"prompt_prefix": np.where(client == len(_QUANTILES_OF_CLIENTS), own, client)}


def dated_prefixes(at: Floats, *, day: float, known: int, rng: np.random.Generator) -> Signals:
    """The same, where the largest client writes the day's date first."""
    signals = prefixes(at, day=day, known=known, rng=rng)["prompt_prefix"]
    today = 1_000.0 + at // SECONDS_PER_DAY
    return {"prompt_prefix": np.where(signals == 0.0, today, signals)}


def formats(at: Floats, *, day: float, known: int, rng: np.random.Generator) -> Signals:
    """60 % prose, 20 % lists, 15 % JSON, 5 % code; a day moves the mix."""
    del known
    latent = day * per_day(at, rng) + rng.normal(size=at.size)
    form = np.searchsorted(_QUANTILES_OF_FORMS, latent)
    return {name: (form == place).astype(np.float64) for name, place in _PLACES.items()}

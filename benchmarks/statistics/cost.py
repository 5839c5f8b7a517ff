"""What an evaluation costs beside its features and the formula written down plainly."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np

from benchmarks.statistics.contestant import summaries
from benchmarks.statistics.population import SIGNALS
from benchmarks.statistics.report import Report
from benchmarks.timing import interleaved
from detectors.logit_ks import LOGIT_KS
from detectors.null import bet_terms
from detectors.rank_reference import RankReference
from detectors.types import HORIZON_SECONDS, Budget, Floats, Process, State, Window

SEED = 4_005
REQUESTS = (40, 1_000)
TOKENS = 200
REFERENCE = 11_520
SPAN = 14 * 86_400.0
"""Seconds of the reference: it has seen every hour and weekday, as an approved one has."""
GOAL = 1.2
RACES = 7
_CHECK = 900.0
_REPEATS = {40: 20, 1_000: 2}


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Race ours with the plain formula, features included on both sides."""
    rng = np.random.default_rng(SEED)
    at = SPAN / REFERENCE * np.arange(REFERENCE, dtype=np.float64)
    before = summaries(_requests(REFERENCE, rng))
    reference = LOGIT_KS.fit(Window(start=0.0, end=float(at[-1]) + 1.0, at=at, signals=before))
    rows = []
    for size in report.each("cost", REQUESTS):
        requests = _requests(size, rng)
        rounds = 5 if quick else 15
        races = [_race(reference, requests, rounds=rounds) for _ in range(1 if quick else RACES)]
        rows.append({"requests": size, **_middle(races), "ratios": sorted(map(_ratio, races))})
    return {"rows": rows}


def summary(found: Mapping[str, Any]) -> str:
    """One line a size, for the terminal."""
    return "\n".join(
        f"{row['requests']} requests: {1e3 * row['ours']:.2f} ms, plain {1e3 * row['plain']:.2f}"
        f" ms, ratio {_ratio(row):.2f} ({row['ratios'][0]:.2f} to {row['ratios'][-1]:.2f}),"
        f" features alone {1e3 * row['features']:.2f} ms"
        for row in found["rows"]
    )


def plain_pass(reference: RankReference, signals: Mapping[str, Floats], process: Process) -> float:
    """One process of the method, line by line as it is written down."""
    null = reference.null
    columns = []
    for ordered, name in zip(reference.ordered, SIGNALS, strict=True):
        below = np.searchsorted(ordered, signals[name], side="left")
        up_to = np.searchsorted(ordered, signals[name], side="right")
        u = (below + up_to) / (2.0 * ordered.size)
        tails = (u > 0.95, u < 0.05, u > 0.99, u < 0.01)  # noqa: PLR2004 - as they are named
        columns += [u, 1.0 - u, np.abs(2.0 * u - 1.0), *tails]
    scores = np.column_stack(columns).astype(np.float64)
    terms = bet_terms(null, process)
    excess = scores - terms.null_mean
    grown = np.stack([np.log1p(bet * excess).sum(axis=0) for bet in terms.stakes]) / terms.divisors
    log_m = np.logaddexp(np.full(grown.shape, -np.inf), np.log(_CHECK / HORIZON_SECONDS)) + grown
    return float((np.logaddexp.reduce(log_m, axis=None) - np.log(log_m.size)) / np.log(10.0))


def _race(reference: RankReference, requests: list[Floats], *, rounds: int) -> dict[str, float]:
    at = np.full(len(requests), SPAN)
    repeats = range(_REPEATS[len(requests)])

    def ours() -> None:
        for _ in repeats:
            signals = summaries(requests)
            window = Window(start=SPAN, end=SPAN + _CHECK, at=at, signals=signals)
            LOGIT_KS.follow(reference, window, State(), Budget(notice=1.0, page=1.0))

    def plain() -> None:
        for _ in repeats:
            signals = summaries(requests)
            for process in Process:
                plain_pass(reference, signals, process)

    def features() -> None:
        for _ in repeats:
            summaries(requests)

    spent = interleaved({"ours": ours, "plain": plain, "features": features}, rounds=rounds)
    return {name: seconds / len(repeats) for name, seconds in spent.items()}


def _ratio(race: Mapping[str, float]) -> float:
    return race["ours"] / race["plain"]


def _middle(races: list[dict[str, float]]) -> dict[str, float]:
    """The race of the median ratio: what else the machine does is in some of them."""
    return sorted(races, key=_ratio)[len(races) // 2]


def _requests(size: int, rng: np.random.Generator) -> list[Floats]:
    return list(-rng.gamma(0.35, 1.5, size=(size, TOKENS)))

"""Requests unlike the training: how many it takes to see them, on real texts.

BANKING77 is the traffic of a bank's bot: 10,003 training texts are the index, one half of
the 3,080 test texts is the held-out baseline, and the other half is what goes on arriving.
SNIPS, requests to a voice assistant, is plainly new; ten of the 77 intents left out of index
and baseline are new in a subtle way. One known intent that grows is nothing new at all: only
the mix of topics has shifted.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum
from functools import cache
from typing import Any, assert_never

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.alarms import Asked, check_increments, evidence
from benchmarks.statistics.contestant import CHECK_SECONDS, Index, InputDrift
from benchmarks.statistics.false_alarms import bound
from benchmarks.statistics.report import Report
from benchmarks.statistics.texts import texts
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.rank_reference import place, units_of
from detectors.types import Floats, Process, Window

SEED = 4_003
RUNS = 100
MONTHS = 60
MONTH_CHECKS = 2_880
PER_CHECK = 40
UNSEEN_INTENTS = 10
ENOUGH = 0.95

Rows = npt.NDArray[np.int64]
Signals = dict[str, Floats]


class New(Enum):
    """What the requests are that the baseline has none, or few, of."""

    SNIPS = "requests to a voice assistant"
    UNSEEN = "ten intents left out of index and baseline"
    MIX = "one intent that index and baseline know"


@dataclass(frozen=True, slots=True, kw_only=True)
class Case:
    """A share of new requests, and within how many requests in all it should be seen."""

    name: str
    share: float
    new: New
    within: int | None = None
    followed: int = 2_000


CASES = (
    Case(name="20 % snips", share=0.2, new=New.SNIPS, within=160),
    Case(name="5 % snips", share=0.05, new=New.SNIPS),
    Case(name="30 % unseen intents", share=0.3, new=New.UNSEEN, within=400),
    Case(name="20 % unseen intents", share=0.2, new=New.UNSEEN),
    Case(name="10 % unseen intents", share=0.1, new=New.UNSEEN),
    Case(name="one known intent at 15 %", share=0.15, new=New.MIX),
    Case(name="nothing, the other half", share=0.0, new=New.SNIPS),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Traffic:
    """An index, and what it says of its baseline, of more of the same, and of what is new."""

    index: Index
    baseline: Signals
    known: Signals
    new: Signals


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Find the first alarm of each case and run, and count alarms where nothing is new."""
    cases = []
    for case in CASES:
        runs = report.each(case.name, range(5 if quick else RUNS))
        needed = [requests_needed(case, number) for number in runs]
        limits = {"within": case.within, "followed": case.followed}
        cases.append({"name": case.name, **limits, "requests": needed})
        report.partial({"cases": cases, "false_alarms": []})
    months = range(2 if quick else MONTHS)
    alarms = [false_alarms(number) for number in report.each("nothing new", months)]
    return {"cases": cases, "false_alarms": alarms}


def requests_needed(case: Case, number: int) -> int | None:
    """Requests until the notice process alarms in checks of 40; None if it never does."""
    rng = np.random.default_rng([SEED, CASES.index(case), number])
    traffic = traffic_of(case.new, rng)
    contestant = InputDrift().fit_measured(traffic.index, traffic.baseline)
    return first_noticed(case, traffic, lambda some: contestant.check_measured(some)[0], rng)


def first_noticed(
    case: Case, traffic: Traffic, notices: Callable[[Signals], bool], rng: np.random.Generator
) -> int | None:
    """Draw checks of 40 until one is noticed; the requests until then, None without one."""
    known, new = (len(some["similarity"]) for some in (traffic.known, traffic.new))
    for seen in range(PER_CHECK, case.followed + 1, PER_CHECK):
        fresh = rng.random(PER_CHECK) < case.share
        chosen = rng.integers(known, size=PER_CHECK), rng.integers(new, size=PER_CHECK)
        batch = {
            name: np.where(fresh, traffic.new[name][chosen[1]], values[chosen[0]])
            for name, values in traffic.known.items()
        }
        if notices(batch):
            return seen
    return None


def false_alarms(number: int, *, checks: int = MONTH_CHECKS) -> int:
    """Alarms in 30 days of 40 requests every 15 minutes, nothing new among them.

    Baseline and live requests are drawn from all the 3,080 test texts, so that they are of
    one population: two halves of it differ for good, and a month would find that out.
    """
    rng = np.random.default_rng([SEED, len(CASES), number])
    population = _population()
    size = len(next(iter(population.values())))
    baseline = drawn(population, rng.integers(size, size=size // 2), spacing=CHECK_SECONDS / 8)
    reference = INPUT_SIMILARITY.fit(baseline)
    requests = rng.integers(size, size=checks * PER_CHECK)
    live = drawn(population, requests, spacing=CHECK_SECONDS / PER_CHECK)
    every = np.ones(len(live), dtype=np.bool_)
    units = units_of(reference, live, place(reference, live), only=every)
    asked = Asked(process=Process.NOTICE, budget=1.0)
    increments = check_increments(reference.null, asked, units, start=0.0, checks=checks)
    found = evidence({asked: increments}, weights=reference.null.weights)
    return int(found[asked].alarms.size)


def shares(case: Mapping[str, Any]) -> float:
    """Share of a stored case's runs that alarmed within its limit, or at all."""
    limit = case["within"] or case["followed"]
    return float(np.mean([seen is not None and seen <= limit for seen in case["requests"]]))


def summary(found: Mapping[str, Any]) -> str:
    """One line a case, for the terminal."""
    lines = []
    for case in found["cases"]:
        seen = [np.inf if one is None else one for one in case["requests"]]
        limit = case["within"] or case["followed"]
        lines.append(
            f"{case['name']}: {shares(case):.0%} of {len(seen)} runs within {limit} requests,"
            f" median {np.median(seen):g}"
        )
    months = len(found["false_alarms"])
    lines.append(
        f"nothing new: {sum(found['false_alarms'])} alarms in {months} adapter-months,"
        f" at most {bound(1.0, months)} are within the budget"
    )
    return "\n".join(lines)


def traffic_of(new: New, rng: np.random.Generator) -> Traffic:
    """Draw which texts are the baseline, which go on arriving, and which are new."""
    match new:
        case New.SNIPS:
            return _snips(rng)
        case New.UNSEEN:
            return _unseen(rng)
        case New.MIX:
            return _mix(rng)
        case _:
            assert_never(new)


def _snips(rng: np.random.Generator) -> Traffic:
    first, second = _halves(np.arange(len(texts("banking77_test").labels)), rng)
    return Traffic(
        index=_index(),
        baseline=_some(_population(), first),
        known=_some(_population(), second),
        new=_voice_assistant(),
    )


def _unseen(rng: np.random.Generator) -> Traffic:
    training, test = texts("banking77_train"), texts("banking77_test")
    left_out = rng.choice(np.unique(training.labels), UNSEEN_INTENTS, replace=False)
    index = Index.of(training.vectors[~np.isin(training.labels, left_out)])
    measured, unseen = index.signals(test.vectors), np.isin(test.labels, left_out)
    first, second = _halves(np.flatnonzero(~unseen), rng)
    return Traffic(
        index=index,
        baseline=_some(measured, first),
        known=_some(measured, second),
        new=_some(measured, np.flatnonzero(unseen)),
    )


def _mix(rng: np.random.Generator) -> Traffic:
    labels = texts("banking77_test").labels
    first, second = _halves(np.arange(len(labels)), rng)
    grows = labels[second] == rng.choice(np.unique(labels))
    return Traffic(
        index=_index(),
        baseline=_some(_population(), first),
        known=_some(_population(), second[~grows]),
        new=_some(_population(), second[grows]),
    )


def _halves(rows: Rows, rng: np.random.Generator) -> tuple[Rows, Rows]:
    order = rng.permutation(rows)
    return order[: len(order) // 2], order[len(order) // 2 :]


def _some(signals: Signals, rows: Rows) -> Signals:
    return {name: values[rows] for name, values in signals.items()}


@cache
def _index() -> Index:
    return Index.of(texts("banking77_train").vectors)


@cache
def _population() -> Signals:
    return _index().signals(texts("banking77_test").vectors)


@cache
def _voice_assistant() -> Signals:
    return _index().signals(texts("snips").vectors)


def drawn(population: Signals, rows: Rows, *, spacing: float) -> Window:
    """Requests of a population as a window, evenly spaced from time 0 on."""
    at = spacing * np.arange(rows.size, dtype=np.float64)
    return Window(start=0.0, end=float(at[-1]) + 1.0, at=at, signals=_some(population, rows))

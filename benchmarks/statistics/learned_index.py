"""References of live records that make their index of themselves, by how they are split.

Requests are vectors of twenty kinds, and every day has an effect on all of them. The product splits
in time. Half of each day as the index would give similarities all days of a fortnight; what that
buys and breaks is measured here
(``docs/decisions/0023-a-baselines-own-index-is-its-early-half.md``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum
from typing import Any

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.alarms import Asked, Followed, follow
from benchmarks.statistics.false_alarms import MONTH_CHECKS, bound
from benchmarks.statistics.live_signals import Measured
from benchmarks.statistics.report import Report
from benchmarks.statistics.streams import CHECK_SECONDS, CHECKS_PER_DAY, MONDAY, SESSION, times
from detectors.axes import coordinates, fit_axes
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.nearest import nearest
from detectors.signals import SIMILARITY, TOPICS
from detectors.types import SECONDS_PER_DAY, Floats, Process
from monitor.reference import fitting, similarity
from monitor.reference.baseline import Baseline
from monitor.reference.similarity import Halves

SEED = 4_010
RUNS = 24
MONTHS = 12
REFERENCE_DAYS = 14
PER_CHECK = 8
FOLLOWED_DAYS = 3
NEW_SHARE = 0.05
NOTICES = tuple(Asked(process=Process.NOTICE, budget=budget) for budget in (1.0, 0.01))
_KINDS, _NEW_KINDS, _DIMENSION, _WITHIN = 20, 5, 96, 0.08
_LOTS = 22
_ALIKE = 0.5
"""Of the variance within a kind, what the requests of a session share."""

Vectors = npt.NDArray[np.float64]


class Split(Enum):
    """Which records of the fortnight become the index."""

    IN_TIME = "in time: its early half"
    ACROSS_DAYS = "half of each day"
    SAME_DAY = "half of each day, its own day's examples counted"


@dataclass(frozen=True, slots=True, kw_only=True)
class World:
    """Effects in sd of a request's vector; ``lasting`` is a day's correlation with the next."""

    name: str
    day: float
    rhythm: float = 0.0
    lasting: float = 0.0
    session: int = 1
    is_subject_given: bool = True


DAYS = World(name="day effects .2 sd", day=0.2)
LASTING = World(name="day effects .2 sd, half of which lasts", day=0.2, lasting=0.5)
RHYTHM = World(name="day effects .1 sd, daily rhythm ±.3 sd", day=0.1, rhythm=0.3)
WORLDS = (
    World(name="day effects .1 sd", day=0.1),
    DAYS,
    LASTING,
    RHYTHM,
    World(name="day effects .1 sd, sessions of 4, subject given", day=0.1, session=SESSION),
    World(
        name="day effects .1 sd, sessions of 4", day=0.1, session=SESSION, is_subject_given=False
    ),
)
CALM = (
    *((world, Split.ACROSS_DAYS) for world in WORLDS),
    (DAYS, Split.IN_TIME),
    (DAYS, Split.SAME_DAY),
    (LASTING, Split.IN_TIME),
    (RHYTHM, Split.IN_TIME),
)
DRIFTING = tuple((WORLDS[0], split) for split in (Split.IN_TIME, Split.ACROSS_DAYS))


def month(world: World, split: Split, *, number: int, checks: int = MONTH_CHECKS) -> list[int]:
    """Alarms at each budget of ``NOTICES`` in one adapter-month in which nothing is new."""
    followed = _followed(world, split, number=number, checks=checks, new_share=0.0)
    return [followed[one].alarms.size for one in NOTICES]


def requests_needed(world: World, split: Split, number: int) -> int | None:
    """Requests until 5 % of new kinds are noticed at a budget of 1; None: not in three days."""
    checks = FOLLOWED_DAYS * CHECKS_PER_DAY
    followed = _followed(world, split, number=number, checks=checks, new_share=NEW_SHARE)
    alarms = followed[NOTICES[0]].alarms
    return int(alarms[0] + 1) * PER_CHECK if alarms.size else None


def _followed(
    world: World, split: Split, *, number: int, checks: int, new_share: float
) -> Mapping[Asked, Followed]:
    rng = np.random.default_rng([SEED, WORLDS.index(world), number])
    before = REFERENCE_DAYS * CHECKS_PER_DAY
    at, known = times((before + checks) * PER_CHECK, PER_CHECK), before * PER_CHECK
    vectors, subjects = _requests(world, at, rng)
    fresh = np.flatnonzero((np.arange(at.size) >= known) & (rng.random(at.size) < new_share))
    vectors[fresh] = _of_kinds(_kinds(_NEW_KINDS, rng), fresh.size, rng)
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    signals = _signals(split, at, vectors.astype("<f2"), subjects, known)
    live = Measured(at=at, signals=signals, subjects=subjects)
    reference = INPUT_SIMILARITY.fit(live.window(0, known))
    start = MONDAY + CHECK_SECONDS * before
    return follow(reference, live, first=known, start=start, asked=NOTICES)


def _requests(
    world: World, at: Floats, rng: np.random.Generator
) -> tuple[Vectors, npt.NDArray[np.int64] | None]:
    """Vectors ``(n, d)``, not yet of unit length, and who asked."""
    session = np.arange(at.size) // world.session
    kind = rng.integers(_KINDS, size=int(session[-1]) + 1)[session]
    vectors = _kinds(_KINDS, rng)[kind]
    shared = _ALIKE if world.session > 1 else 0.0
    own = rng.normal(size=vectors.shape)
    alike = rng.normal(size=(int(session[-1]) + 1, _DIMENSION))[session]
    vectors = vectors + _WITHIN * (np.sqrt(1.0 - shared) * own + np.sqrt(shared) * alike)
    covariance = np.cov(vectors[:8_000], rowvar=False) + 1e-12 * np.eye(_DIMENSION)
    spread = np.linalg.cholesky(covariance)
    day = ((at - at[0]) // SECONDS_PER_DAY).astype(np.int64)
    effects = rng.normal(size=(int(day[-1]) + 1, _DIMENSION))
    for later in range(1, len(effects)):
        fresh = np.sqrt(1.0 - world.lasting**2) * effects[later]
        effects[later] = world.lasting * effects[later - 1] + fresh
    vectors += world.day * (effects @ spread.T)[day]
    hour = np.sin(2.0 * np.pi * at / SECONDS_PER_DAY)
    vectors += world.rhythm * hour[:, None] * (spread @ rng.normal(size=_DIMENSION))
    given = world.session > 1 and world.is_subject_given
    return vectors, session.astype(np.int64) if given else None


def _kinds(count: int, rng: np.random.Generator) -> Vectors:
    kinds: Vectors = rng.normal(size=(count, _DIMENSION)) / np.sqrt(_DIMENSION)
    return kinds


def _of_kinds(kinds: Vectors, count: int, rng: np.random.Generator) -> Vectors:
    vectors: Vectors = kinds[rng.integers(len(kinds), size=count)]
    return vectors + _WITHIN * rng.normal(size=vectors.shape)


def _signals(
    split: Split,
    at: Floats,
    vectors: npt.NDArray[np.float16],
    subjects: npt.NDArray[np.int64] | None,
    known: int,
) -> dict[str, Floats]:
    """Measure the baseline as a builder does, and what follows as live records are."""
    baseline = _baseline(
        at[:known], vectors[:known], None if subjects is None else subjects[:known]
    )
    rows = np.arange(known)
    halves = similarity.split(baseline, rows) if split is Split.IN_TIME else _across_days(baseline)
    index = similarity.stack(baseline.vectors, halves.early)
    axes = fit_axes(index)
    measured, _ = fitting.measure(baseline, halves.held_out, index, axes, drop_same_texts=True)
    if split is Split.ACROSS_DAYS:
        found = _apart(index, at[halves.early], vectors[halves.held_out], at[halves.held_out])
        measured[SIMILARITY][halves.held_out] = found
    fresh = vectors[known:]
    found = nearest(index, fresh.astype(np.float32)).similarity.astype(np.float64)
    followed = {SIMILARITY: found, **dict(zip(TOPICS, coordinates(axes, fresh).T, strict=True))}
    return {name: np.concatenate([measured[name], values]) for name, values in followed.items()}


def _across_days(baseline: Baseline) -> Halves:
    """Hold out half of the subjects, by lot; a record without one is its own."""
    own = -1 - np.arange(len(baseline))
    subjects = own if baseline.subjects is None else baseline.subjects
    distinct, subject = np.unique(np.where(subjects < 0, own, subjects), return_inverse=True)
    lots = np.random.default_rng(_LOTS).permutation(distinct.size)
    is_held_out = (lots % 2 == 1)[subject]
    return Halves(early=np.flatnonzero(~is_held_out), held_out=np.flatnonzero(is_held_out))


def _apart(
    index: npt.NDArray[np.float16], examples_at: Floats, asked: npt.NDArray[np.float16], at: Floats
) -> Floats:
    """Similarity to examples that are a day or more from the hour of a request.

    Two requests of one day are alike for what happened on it, which no later one shares.
    """
    hours = at // 3_600.0
    found = np.empty(at.size)
    for hour in np.unique(hours):
        some = hours == hour
        first = np.searchsorted(examples_at, at[some][0] - SECONDS_PER_DAY)
        last = np.searchsorted(examples_at, at[some][-1] + SECONDS_PER_DAY, side="right")
        block = asked[some].astype(np.float32)
        far = [part for part in (index[:first], index[last:]) if len(part)]
        found[some] = np.max([nearest(part, block).similarity for part in far], axis=0)
    return found


def _baseline(
    at: Floats, vectors: npt.NDArray[np.float16], subjects: npt.NDArray[np.int64] | None
) -> Baseline:
    nothing: list[Any] = [None] * at.size
    return Baseline(
        at=at,
        subjects=subjects,
        signals={},
        strata=nothing,
        prompts=nothing,
        encoders=["simulated"] * at.size,
        vectors=[vector.tobytes() for vector in vectors],
        feedback=nothing,
        outputs=nothing,
        answered_by=nothing,
        answers=nothing,
    )


def run(*, quick: bool, report: Report) -> dict[str, Any]:
    """Follow every calm cell for its months and count requests in the drifting ones.

    ``quick`` is two months of a week each, and three runs.
    """
    months, checks = (2, 7 * CHECKS_PER_DAY) if quick else (MONTHS, MONTH_CHECKS)
    calm: list[dict[str, Any]] = []
    drifting: list[dict[str, Any]] = []
    found = {"calm": calm, "drifting": drifting, "days": checks // CHECKS_PER_DAY}
    for world, split in DRIFTING:
        runs = report.each(f"new kinds, {split.value}", range(3 if quick else RUNS))
        needed = [requests_needed(world, split, number) for number in runs]
        drifting.append({"world": world.name, "split": split.value, "requests": needed})
        report.partial(found)
    for world, split in CALM:
        runs = report.each(f"{world.name}, {split.value}", range(months))
        alarms = [month(world, split, number=number, checks=checks) for number in runs]
        calm.append(measured(world, split, alarms))
        report.partial(found)
    return found


def measured(world: World, split: Split, alarms: list[list[int]]) -> dict[str, Any]:
    """Write a calm cell as JSON values: alarms of each month by process and budget."""
    return {
        "world": world.name,
        "split": split.value,
        "months": len(alarms),
        "alarms": {
            f"{one.process.value} {one.budget:g}": [month[i] for month in alarms]
            for i, one in enumerate(NOTICES)
        },
    }


def summary(found: Mapping[str, Any]) -> str:
    """One line a cell, for the terminal."""
    lines = [
        f"{cell['world']}, {cell['split']}: median"
        f" {np.median([np.inf if one is None else one for one in cell['requests']]):g} requests"
        for cell in found["drifting"]
    ]
    for cell in found["calm"]:
        alarms = ", ".join(
            f"{name}: {sum(each)} of at most"
            f" {bound(float(name.rpartition(' ')[2]), cell['months'])}"
            for name, each in cell["alarms"].items()
        )
        lines.append(f"{cell['world']}, {cell['split']}, {cell['months']} months: {alarms}")
    return "\n".join(lines)

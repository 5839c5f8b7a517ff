"""Streams of requests: regimes in which nothing drifts, and drifts that begin at an onset."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from functools import cache
from types import MappingProxyType

import numpy as np
import numpy.typing as npt

from benchmarks.statistics.population import SIGNALS, Kind, Population, simulate
from detectors.types import SECONDS_PER_DAY, Floats, Window

CHECK_SECONDS = 900.0
CHECKS_PER_DAY = 96
MONDAY = 4 * SECONDS_PER_DAY
POPULATION_SEED = 20_261_125
POPULATION_SIZE = 120_000
SESSION = 4
_MIX = MappingProxyType({Kind.CHAT: 0.6, Kind.EXTRACT: 0.25, Kind.LONG: 0.15})
_SMALLER = MappingProxyType({Kind.CHAT: 1.0, Kind.EXTRACT: 0.5, Kind.LONG: 0.5, Kind.LOOP: 0.05})

Rows = npt.NDArray[np.int64]


class Regime(StrEnum):
    """What requests do while nothing drifts."""

    INDEPENDENT = "independent"
    DAILY = "daily rhythm ±.3 sd"
    DAYS_1 = "day effects .1 sd"
    DAYS_2 = "day effects .2 sd"
    MIXED = "mixed traffic"
    SESSIONS = "sessions of 4"
    SUBJECTS = "sessions of 4, subject given"
    BOTH = "day effects .2 sd, daily rhythm ±.3 sd"


Change = Callable[[Floats, Floats, np.random.Generator], Floats]
"""What a drift makes of latents: (hours since onset, latents in sd, rng) to latents in sd."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drift:
    """A drift of ordinary independent requests, in sd of the per-request mean NLL.

    ``loops`` is the share of answers that become repetition loops; ``hours`` is how long it is
    followed; ``notice``, ``page`` and ``page_rare`` (budget 1/1000) are the median delays
    in hours that were measured when the method was designed, inf for "not within", NaN
    where none was.
    """

    name: str
    change: Change
    hours: float
    notice: float
    page: float
    page_rare: float
    loops: float = 0.0


def shift(size: float) -> Change:
    """Every request is harder by so many sd."""
    return lambda _hours, z, _rng: z + size


def bad(share: float) -> Change:
    """A share of requests is 5 sd harder."""
    return lambda _hours, z, rng: z + 5.0 * (rng.random(z.size) < share)


def wider(variance: float) -> Change:
    """Add variance without moving the mean."""
    return lambda _hours, z, rng: z + np.sqrt(variance - 1.0) * rng.normal(size=z.size)


def ramp(size: float, *, hours: float) -> Change:
    """Rise steadily to a shift of so many sd."""
    return lambda since, z, _rng: z + size * np.clip(since / hours, 0.0, 1.0)


_INF = np.inf
UNPUBLISHED = np.nan
DRIFTS = (
    Drift(name="mean +.1 sd", change=shift(0.1), hours=120, notice=39, page=_INF, page_rare=_INF),
    Drift(name="mean +.2 sd", change=shift(0.2), hours=48, notice=9.9, page=_INF, page_rare=_INF),
    Drift(name="mean +.5 sd", change=shift(0.5), hours=36, notice=1.75, page=3.0, page_rare=4.9),
    Drift(name="mean +1 sd", change=shift(1.0), hours=12, notice=0.5, page=0.75, page_rare=1.0),
    Drift(name="mean +3 sd", change=shift(3.0), hours=6, notice=0.25, page=0.25, page_rare=0.25),
    Drift(name="spread × 1.5", change=wider(2.25), hours=48, notice=2.25, page=4.1, page_rare=10.4),
    Drift(
        name="spread × 1.22",
        change=wider(1.5),
        hours=120,
        notice=UNPUBLISHED,
        page=UNPUBLISHED,
        page_rare=UNPUBLISHED,
    ),
    Drift(name="2 % bad requests", change=bad(0.02), hours=120, notice=11.5, page=48, page_rare=73),
    Drift(name="5 % bad requests", change=bad(0.05), hours=48, notice=2.9, page=4.5, page_rare=7.1),
    Drift(
        name="10 % bad requests", change=bad(0.1), hours=24, notice=1.0, page=1.25, page_rare=1.9
    ),
    Drift(
        name="5 % repetition loops",
        change=shift(0.0),
        loops=0.05,
        hours=48,
        notice=3.1,
        page=5.1,
        page_rare=8.6,
    ),
    Drift(
        name="ramp to .5 sd in 3 days",
        change=ramp(0.5, hours=72.0),
        hours=120,
        notice=29,
        page=51,
        page_rare=56,
    ),
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Stream:
    """Requests in order of time: where each comes from, and what it measured.

    ``kind`` holds places in ``list(Kind)`` and ``row`` rows of that kind's population.
    """

    at: Floats
    kind: Rows
    row: Rows
    summary: Floats
    subjects: Rows | None = None

    def window(self, first: int, last: int) -> Window:
        """Requests ``first`` to ``last`` as the detectors read them."""
        part = slice(first, last)
        return Window(
            start=float(self.at[first]) if first < last else 0.0,
            end=float(np.nextafter(self.at[last - 1], np.inf)) if first < last else 0.0,
            at=self.at[part],
            signals={name: self.summary[part, i] for i, name in enumerate(SIGNALS)},
            subjects=None if self.subjects is None else self.subjects[part],
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Source:
    """Draws streams from one set of populations."""

    populations: Mapping[Kind, Population]

    def steady(
        self, regime: Regime, *, requests: int, per_check: int, rng: np.random.Generator
    ) -> Stream:
        """Draw requests from a Monday midnight on, ``per_check`` every 15 minutes."""
        at = times(requests, per_check)
        kind = _kinds(regime, at.size, rng)
        z = _latents(regime, at, rng, unit=self.populations[Kind.CHAT].unit)
        subjects = np.arange(at.size) // SESSION if regime is Regime.SUBJECTS else None
        return self._stream(at, kind, z, rng, subjects=subjects)

    def drifted(
        self, drift: Drift, *, per_check: int, start: float, rng: np.random.Generator
    ) -> Stream:
        """Draw requests from ``start`` on, all of them after the onset."""
        at = start + times(round(drift.hours * 4) * per_check, per_check) - MONDAY
        unit = self.populations[Kind.CHAT].unit
        extra = drift.change((at - start) / 3600.0, np.zeros(at.size), rng)
        kind = np.where(rng.random(at.size) < drift.loops, _place(Kind.LOOP), _place(Kind.CHAT))
        return self._stream(at, kind, rng.normal(size=at.size) + unit * extra, rng, subjects=None)

    def _stream(
        self,
        at: Floats,
        kind: Rows,
        z: Floats,
        rng: np.random.Generator,
        *,
        subjects: Rows | None,
    ) -> Stream:
        row, summary = np.zeros(at.size, dtype=np.int64), np.empty((at.size, len(SIGNALS)))
        for name in Kind:
            mine = kind == _place(name)
            if mine.any():
                row[mine] = self.populations[name].draw(z[mine], rng)
                summary[mine] = self.populations[name].summary[row[mine]]
        return Stream(at=at, kind=kind, row=row, summary=summary, subjects=subjects)


@cache
def source(size: int = POPULATION_SIZE, *, keep_tokens: bool = False) -> Source:
    """Simulate the populations, once in a process."""
    return Source(
        populations={
            kind: simulate(
                kind,
                size=round(_SMALLER[kind] * size),
                seed=POPULATION_SEED,
                keep_tokens=keep_tokens,
            )
            for kind in Kind
        }
    )


def times(requests: int, per_check: int) -> Floats:
    """Evenly spaced times within each check, from a Monday midnight on."""
    number = np.arange(requests)
    within = (number % per_check + 0.5) / per_check
    return MONDAY + CHECK_SECONDS * (number // per_check + within)


def _kinds(regime: Regime, size: int, rng: np.random.Generator) -> Rows:
    if regime is not Regime.MIXED:
        return np.full(size, _place(Kind.CHAT))
    return rng.choice([_place(kind) for kind in _MIX], p=list(_MIX.values()), size=size)


def _latents(regime: Regime, at: Floats, rng: np.random.Generator, *, unit: float) -> Floats:
    if regime in {Regime.SESSIONS, Regime.SUBJECTS}:
        return np.repeat(rng.normal(size=at.size // SESSION + 1), SESSION)[: at.size]
    z = rng.normal(size=at.size)
    match regime:
        case Regime.DAILY:
            return z + 0.3 * unit * np.sin(2.0 * np.pi * at / SECONDS_PER_DAY)
        case Regime.DAYS_1:
            return z + 0.1 * unit * per_day(at, rng)
        case Regime.DAYS_2:
            return z + 0.2 * unit * per_day(at, rng)
        case Regime.BOTH:
            rhythm = 0.3 * unit * np.sin(2.0 * np.pi * at / SECONDS_PER_DAY)
            return z + rhythm + 0.2 * unit * per_day(at, rng)
        case _:
            return z


def per_day(at: Floats, rng: np.random.Generator) -> Floats:
    """Draw one number of N(0, 1) for each day and give every request ``(n,)`` its day's."""
    day = (at // SECONDS_PER_DAY).astype(np.int64)
    day -= day.min()
    return rng.normal(size=int(day.max()) + 1)[day]


def _place(kind: Kind) -> int:
    return list(Kind).index(kind)

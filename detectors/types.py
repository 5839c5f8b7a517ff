"""The inputs and outputs of every detector (:mod:`detectors.detector`).

A detector is a pure function of its arguments: no I/O, no clock, no logging, no
randomness. Times are UTC epoch seconds. Signals are columns; a value that was *not
measured* for a record is NaN ("absent"), which is not the same as a measured record whose
tokens are unusable (that one is counted by the signal ``missing``).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum

import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Flags = npt.NDArray[np.bool_]

SECONDS_PER_DAY = 86_400.0
HORIZON_SECONDS = 30.0 * SECONDS_PER_DAY
"""Budgets are stated per 30 days; this is the H of the evidence process."""


class Process(StrEnum):
    """The two evidence processes; they differ in what counts as "nothing happened"."""

    NOTICE = "notice"
    PAGE = "page"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Window:
    """Records of one adapter version over the half-open interval ``[start, end)``.

    ``signals`` maps a signal name to a float array ``(n,)`` in the order of ``at``;
    NaN marks "not measured for this record". ``subjects`` gives each record's cluster
    (user or session) as an integer code ``(n,)``, ``-1`` where none was given, or None
    when no record has one. ``entered`` is given where signals come later than their records:
    the ends of the windows that they were read in ``(n,)``; ``at`` may then lie before the
    window.
    """

    start: float
    end: float
    at: Floats
    signals: Mapping[str, Floats]
    subjects: npt.NDArray[np.int64] | None = None
    entered: Floats | None = None

    @property
    def seconds(self) -> float:
        return self.end - self.start

    def __len__(self) -> int:
        return int(self.at.size)


@dataclass(frozen=True, slots=True, kw_only=True)
class Budget:
    """One (adapter, detector)'s share of the accepted alarms per 30 days.

    ``page`` 0 means that it has no page process: its page evidence is ``-inf``, and it can never
    page.
    """

    notice: float
    page: float


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class State:
    """The state of an evidence process between windows: ``log M`` per process.

    ``log_m[process]`` has shape ``(L, K)``: L betting fractions, K scores; a fresh
    process is all ``-inf``. ``watermark`` is the end of the last window absorbed (epoch
    seconds): a window that does not start at or after it is refused as already seen.
    ``units`` counts the units absorbed since the last start of the process.
    """

    log_m: Mapping[Process, Floats] = field(default_factory=dict)
    watermark: float | None = None
    units: int = 0


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Score:
    """One detector's result for one window.

    value
        Effect size as people read it: 0 = same as the reference, larger = worse,
        for every detector.
    evidence_notice, evidence_page
        log10 of the e-process over its alarm line: ``>= 0`` is an alarm,
        ``-inf`` while there is none (or no such process).
    effect, interval
        The effect used for decisions and its 95 % interval, on the effect's own scale
        (Cliff's delta for ranks, difference of rates for rates, ratio - 1 for
        perplexity), oriented so that positive is worse. NaN where there is no data.
    n_reference, n_window
        Units (requests, or sessions) behind each side.
    minimum_detectable
        Smallest effect that would be seen within a day at this window's traffic,
        reference error included; ``inf`` when blind.
    winner
        Name of the score with the largest evidence (``mean_nll:up``), or None.
    increments
        Per process the ``(L, K)`` log increments of this window, kept 7 days by the
        caller for onset and recovery.
    details
        JSON-ready numbers for people: quantiles, tail ratios, KS p-value, counts.
    """

    value: float
    evidence_notice: float
    evidence_page: float
    effect: float
    interval: tuple[float, float]
    n_reference: int
    n_window: int
    minimum_detectable: float
    winner: str | None = None
    increments: Mapping[Process, Floats] = field(default_factory=dict)
    details: Mapping[str, object] = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class Effect:
    """How far a set of records has moved from the reference, with its uncertainty.

    value, lo, hi
        The effect and its 95 % interval, positive is worse (see :class:`Score`); NaN if there is no
        data.
    n
        Units behind it.
    shown
        The same comparison as :attr:`Score.value` shows it (KS distance for `logit_ks`).
    signal
        The signal that moved most, or None.
    records
        Records behind the units: a subject's records are one unit, however many.
    alone
        True if the failures are one subject's: other subjects' did not surely rise as well.
    """

    value: float
    lo: float
    hi: float
    n: int
    shown: float = 0.0
    signal: str | None = None
    records: int = 0
    alone: bool = False

    @classmethod
    def unknown(cls) -> Effect:
        """Return the effect of no data: NaN, so that no comparison with it holds."""
        return cls(value=math.nan, lo=math.nan, hi=math.nan, n=0)

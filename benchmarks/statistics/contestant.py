"""The product's own detectors behind two small classes, for anybody's stream.

Nothing is computed here: summaries come from ``monitor.capture.signals``, similarities from
``detectors.nearest`` and evidence from ``detectors``, by the functions the service calls.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from detectors.axes import Axes, coordinates, fit_axes
from detectors.day_effect import ALIKE, ASSUMED, DayEffect
from detectors.input_similarity import INPUT_SIMILARITY
from detectors.logit_ks import LOGIT_KS
from detectors.nearest import nearest
from detectors.rank_detector import RankDetector
from detectors.rank_reference import RankReference
from detectors.signals import SIMILARITY, TOPICS
from detectors.types import Budget, Floats, Process, State, Window
from monitor.capture.checks import Tokens
from monitor.capture.signals import token_signals

CHECK_SECONDS = 900.0
_MONDAY = 4 * 86_400.0
"""Hour 0 of a stream is a Monday midnight; the epoch began on a Thursday."""
_CALENDAR_HOURS = 87_600.0
"""Hours from here on (ten years) are taken to be hours since the epoch."""
_LIVE_PER_CHECK = 40
_WITHOUT_TIME_DAYS = 2.5
"""A reference without times spans less than the three days from which a rhythm is fitted."""


def summaries(requests: Sequence[npt.NDArray[Any]]) -> dict[str, Floats]:
    """Measure requests, each a 1-d array of token log-probabilities, as the service does.

    Returns the signals of ``logit_ks``, each ``(n,)``. A request with fewer than 4 finite
    tokens is NaN in all but its length; -inf counts as -30 nats.
    """
    with np.errstate(over="ignore"):
        answers = [Tokens(logprob=np.asarray(r, dtype=np.float32).ravel()) for r in requests]
    measured = token_signals(answers)
    length = np.log1p(np.array([answer.logprob.size for answer in answers], dtype=np.float64))
    kept = {name: measured[name] for name in ("mean_nll", "p95_nll", "near_certain")}
    # a record without usable tokens is counted by `missing`; here its length alone says nothing
    return {**kept, "log_length": np.where(measured["missing"] > 0.0, np.nan, length)}


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Index:
    """Training texts as the service keeps them: float16 vectors and their principal axes."""

    vectors: npt.NDArray[np.float16]
    axes: Axes

    @classmethod
    def of(cls, training: npt.NDArray[np.floating]) -> Index:
        """Take unit vectors ``(m, d)``."""
        vectors = np.asarray(training, dtype=np.float16)
        return cls(vectors=vectors, axes=fit_axes(vectors))

    def signals(self, vectors: npt.NDArray[np.floating]) -> dict[str, Floats]:
        """Compare requests ``(n, d)`` with the index as the service does, in what it stores.

        A request whose vector is not finite is NaN in all 13 signals.
        """
        queries = np.asarray(vectors, dtype=np.float16).reshape(-1, self.vectors.shape[1])
        usable = np.isfinite(queries).all(axis=1)
        found = np.full((len(queries), 1 + len(TOPICS)), np.nan)
        similar = nearest(self.vectors, queries[usable].astype(np.float32)).similarity
        found[usable, 0] = similar.astype(np.float32)
        found[usable, 1:] = coordinates(self.axes, queries[usable])
        return dict(zip((SIMILARITY, *TOPICS), found.T, strict=True))


@dataclass(frozen=True, slots=True, kw_only=True)
class Interval:
    """A window of the evidence, in seconds of the stream."""

    start: float
    end: float


@dataclass(slots=True, kw_only=True)
class Clock:
    """Turns the times of batches into windows that follow each other.

    The evidence counts elapsed time. Batches without times are 15 minutes each. A batch
    whose times lie inside the batch before it is that batch again; one from before it (a
    stream that starts again) lasts 15 minutes.
    """

    now: float = 0.0
    first: float = np.inf
    last: float = -np.inf

    def next(self, at: Floats | None) -> Interval:
        """Return the next window, or the last one where the batch is that one again."""
        elapsed = CHECK_SECONDS
        if at is not None and at.size:
            first, last = float(at.min()), float(at.max())
            if self.first <= first and last <= self.last:
                return Interval(start=self.now - CHECK_SECONDS, end=self.now)
            if last > self.last > -np.inf:
                elapsed = last - self.last
            self.first, self.last = first, last
        start, self.now = self.now, self.now + elapsed
        return Interval(start=start, end=self.now)


class Driftline:
    """The service's ``logit_ks`` detector, alone with all of a budget.

    Parameters
    ----------
    budget
        Accepted false alarms in 30 days.
    process
        ``"page"`` or ``"notice"``: which of the two evidence processes alarms.
    """

    needs_hours = True

    def __init__(self, budget: float = 1.0, process: str = "page") -> None:
        self._process = Process(process)
        self._budget = Budget(notice=budget, page=budget if self._process is Process.PAGE else 0.0)
        self._follower: _Follower | None = None

    def fit(
        self,
        reference_requests: Sequence[npt.NDArray[Any]],
        hours: Sequence[float] | None = None,
    ) -> Driftline:
        """Freeze a reference of at least 300 requests.

        ``hours`` is the time of each request: hours from a Monday midnight, or since the
        epoch. Without them neither a daily rhythm nor differing days can be known, and all
        days are taken to be alike.
        """
        times = _times(hours)
        at = _without_times(len(reference_requests)) if times is None else times
        self._follower = _Follower(
            detector=LOGIT_KS,
            budget=self._budget,
            reference=_fit(
                LOGIT_KS,
                at,
                summaries(reference_requests),
                days=ALIKE if times is None else ASSUMED,
            ),
            any_time=None if times is not None else float(at[0]),
        )
        return self

    def check(
        self, batch: Sequence[npt.NDArray[Any]], hours: Sequence[float] | None = None
    ) -> tuple[bool, float]:
        """Absorb a batch of new requests: whether it alarms, and log10 of the evidence.

        0 is the alarm line; after an alarm the process starts afresh. The same batch at the
        same hours again changes nothing.
        """
        return _fitted(self._follower).check(
            summaries(batch), _times(hours), size=len(batch), process=self._process
        )


class InputDrift:
    """The service's ``input_similarity`` detector: requests unlike the training, or another mix.

    Half of the capital is bet on the similarity to the nearest training text, half on the 12
    principal coordinates. Its notice process, as in the service: it never pages.
    """

    def __init__(self, budget: float = 1.0) -> None:
        self._budget = Budget(notice=budget, page=0.0)
        self._index: Index | None = None
        self._follower: _Follower | None = None

    def fit(
        self, training: npt.NDArray[np.floating], baseline: npt.NDArray[np.floating]
    ) -> InputDrift:
        """Take unit vectors ``(m, d)`` of training texts and ``(n, d)`` held out from them.

        The baseline's order is all that is known of its time: blocks of 8 neighbours are
        what the design effect looks at.
        """
        index = Index.of(training)
        return self.fit_measured(index, index.signals(baseline))

    def fit_measured(self, index: Index, baseline: dict[str, Floats]) -> InputDrift:
        """Take an index and what it said of the baseline."""
        self._index = index
        at = _without_times(len(baseline[SIMILARITY]), per_check=8)
        self._follower = _Follower(
            detector=INPUT_SIMILARITY,
            budget=self._budget,
            reference=_fit(INPUT_SIMILARITY, at, baseline, days=ALIKE),
            any_time=float(at[0]),
        )
        return self

    def check(self, batch: npt.NDArray[np.floating]) -> tuple[bool, float]:
        """Absorb 15 minutes of requests ``(n, d)``: alarm, and log10 of the evidence."""
        if self._index is None:
            raise NotFitted
        return self.check_measured(self._index.signals(batch))

    def check_measured(self, batch: dict[str, Floats]) -> tuple[bool, float]:
        """Absorb 15 minutes of requests by what the index said of them."""
        size = len(batch[SIMILARITY])
        return _fitted(self._follower).check(batch, None, size=size, process=Process.NOTICE)


class NotFitted(Exception):  # noqa: N818 - it says what happened
    """``check`` before ``fit``."""


@dataclass(slots=True, kw_only=True)
class _Follower:
    """A detector, its reference and what the evidence remembers.

    ``any_time`` is a time the reference has seen, where it had none of its own: then no
    hour of the day is new to it.
    """

    detector: RankDetector
    budget: Budget
    reference: RankReference
    any_time: float | None
    state: State = field(default_factory=State)
    clock: Clock = field(default_factory=Clock)

    def check(
        self, signals: dict[str, Floats], at: Floats | None, *, size: int, process: Process
    ) -> tuple[bool, float]:
        interval = self.clock.next(at)
        known = at if at is not None and self.any_time is None else None
        times = np.full(size, self.any_time or _MONDAY) if known is None else known
        window = Window(start=interval.start, end=interval.end, at=times, signals=signals)
        step = self.detector.follow(self.reference, window, self.state, self.budget)
        self.state = step.state
        evidence = step.evidence[process]
        return evidence >= 0.0 and not step.refused, evidence


def _fit(
    detector: RankDetector, at: Floats, signals: dict[str, Floats], *, days: DayEffect
) -> RankReference:
    start, end = float(at.min(initial=0.0)), float(np.nextafter(at.max(initial=0.0), np.inf))
    return detector.fit(Window(start=start, end=end, at=at, signals=signals), days=days)


def _times(hours: Sequence[float] | None) -> Floats | None:
    at = np.asarray([] if hours is None else hours, dtype=np.float64).ravel() * 3600.0
    finite = np.isfinite(at)
    if not finite.any():
        return None
    known = np.where(finite, at, at[finite].max())
    calendar = float(known.min()) >= _CALENDAR_HOURS * 3600.0
    return known if calendar else known + _MONDAY


def _without_times(size: int, *, per_check: int = _LIVE_PER_CHECK) -> Floats:
    spacing = min(CHECK_SECONDS / per_check, _WITHOUT_TIME_DAYS * 86_400.0 / max(size, 1))
    return _MONDAY + spacing * np.arange(size, dtype=np.float64)


def _fitted(follower: _Follower | None) -> _Follower:
    if follower is None:
        raise NotFitted
    return follower

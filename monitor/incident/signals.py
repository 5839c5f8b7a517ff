"""The signals of a version: effects with their intervals and margins, as people read them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Final

from alerts.words import often, percent
from detectors import DETECTORS, profile_of
from detectors.perplexity import PERPLEXITY
from detectors.profile import DetectorSide, EffectScale
from detectors.rank_detector import RankDetector
from detectors.signals import LOGPROBS, STATUS, TOP_LOGPROBS, main_signal
from detectors.words import name_words, plain_words
from monitor.domain import Interval
from monitor.evaluate.settings import EvaluateSettings
from monitor.store.evaluation import series
from monitor.store.evaluation.evaluations import ScoreRow

CERTAINTY: Final = "How sure its answers are"
ANSWERED: Final = "What it answers"
SERVED: Final = "How it is served"
FAMILIES: Final = (CERTAINTY, "What users ask", ANSWERED, SERVED, "What users say")
"""Titles of the groups in which people find signals."""
_OF_SIDE: Final = {
    DetectorSide.REQUESTS: "What users ask",
    DetectorSide.SERVING: SERVED,
    DetectorSide.FEEDBACK: "What users say",
}


def family_of(name: str) -> str:
    """Return the family of a detector, or of the probe, by what it measures."""
    if name == PERPLEXITY:
        return CERTAINTY
    detector = DETECTORS.get(name)
    main = None if detector is None else main_signal(detector)
    part = None if main is None else main.part
    if isinstance(detector, RankDetector) and part in (LOGPROBS, TOP_LOGPROBS):
        return CERTAINTY
    if part in (LOGPROBS, STATUS):
        return SERVED
    return _OF_SIDE.get(profile_of(name).side, ANSWERED)


FRESH: Final = timedelta(hours=1)
"""A number is of now if it is no older, nor older than a tenth of what a chart shows."""


class Scale(StrEnum):
    """How people read an effect.

    ``often``: Cliff's delta, as the share of comparisons of a new request with a normal one in
    which the new one shows more of it; 50 % is normal. ``share``: a rate of requests. ``points``:
    a rate whose normal value is not known, as a difference. ``change``: a ratio less one.
    """

    OFTEN = "often"
    SHARE = "share"
    POINTS = "points"
    CHANGE = "change"


_UNITS: Final = {
    Scale.OFTEN: "how often a new request shows it more than a normal one",
    Scale.SHARE: "share of requests",
    Scale.POINTS: "difference from the normal share of requests",
    Scale.CHANGE: "change against the approved model",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One detector's effect over time; positive is worse, unless both directions count.

    news
        What its newest window shows, in plain words; empty if it is not known.
    margin
        The smallest effect that may move traffic.
    usual
        The reference's rate, in [0, 1], of a ``share``.
    crossed
        True if the verdict rests on it.
    """

    name: str
    words: str
    news: str = ""
    margin: float
    scale: Scale
    usual: float | None = None
    crossed: bool
    at: Sequence[datetime]
    effect: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]

    @property
    def outside(self) -> bool:
        """True if the newest interval lies outside the margin as a whole."""
        return self.low[-1] > self.margin or self.high[-1] < -self.margin

    def shown(self, effect: float) -> str:
        """Write an effect as people read it.

        >>> often = Signal(name="entropy", words="token entropy", margin=0.15, crossed=False,
        ...     scale=Scale.OFTEN, at=[], effect=[], low=[], high=[])
        >>> often.shown(0.5), often.shown(0.0)
        ('75 %', '50 %')
        >>> change = Signal(name="perplexity", words="perplexity", margin=0.05, crossed=False,
        ...     scale=Scale.CHANGE, at=[], effect=[], low=[], high=[])
        >>> change.shown(3.26), change.shown(-2.3e-10)
        ('+326 %', '0 %')
        """
        match self.scale:
            case Scale.OFTEN:
                return f"{often(effect):.0f} %"
            case Scale.SHARE:
                return percent(min(1.0, max(0.0, (self.usual or 0.0) + effect)))
            case Scale.POINTS | Scale.CHANGE:
                unit = "%" if self.scale is Scale.CHANGE else "points"
                told = round(100 * effect, 2)  # less is the arithmetic of an engine
                return f"{told:+.3g} {unit}" if told else f"0 {unit}"

    @property
    def unit(self) -> str:
        """The unit of its axis."""
        return _UNITS[self.scale]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartMark:
    """An event on the time axis."""

    at: datetime
    kind: str
    """A verdict such as ``critical`` or ``drifting``, else ``route`` or ``declared``."""
    text: str
    until: datetime | None = None
    """The end of what lasts."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Unserved:
    """Since when a version answers nobody, because its traffic went to others."""

    version: str
    since: datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class Chart:
    """The content of a chart: ``signals`` from ``since`` to ``until``.

    unserved
        None: the version answers, was never asked, or there are several versions.
    """

    title: str
    since: datetime
    until: datetime
    onset: Interval | None
    signals: Sequence[Signal]
    marks: Sequence[ChartMark]
    unserved: Unserved | None = None

    @property
    def silence(self) -> str:
        """Say since when nobody is answered; empty: that is not so."""
        if self.unserved is None:
            return ""
        return f"no traffic since {self._clock(self.unserved.since)}"

    def newest(self, signal: Signal) -> str:
        """Write a signal's newest number, when it is of, and the normal one."""
        at, span = signal.at[-1], self.until - self.since
        when = "now" if self.until - at <= min(FRESH, span / 10) else f"at {self._clock(at)}"
        return f"{signal.shown(signal.effect[-1])} {when}, {signal.shown(0.0)} is normal"

    def _clock(self, at: datetime) -> str:
        """Write a time; with its day, unless all that is shown is of the last one."""
        today = self.until - min(at, self.since) <= timedelta(days=1)
        return f"{at.astimezone(UTC):{'%H:%M' if today else '%-d %b %H:%M'}}"


def newest_signals(scores: Iterable[ScoreRow], *, settings: EvaluateSettings) -> list[Signal]:
    """Return the newest number of each detector that has one, those outside their margin first."""
    found = [
        signal(
            series.Effects(
                detector=one.detector,
                at=[one.window.end],
                effect=[one.effect],
                low=[one.effect_low],
                high=[one.effect_high],
            ),
            settings=settings,
            crossed=(),
            score=one,
        )
        for one in scores
        if math.isfinite(one.effect)
    ]
    return sorted(found, key=lambda one: (not one.outside, place(one.name)))


def margin_of(detector: str, settings: EvaluateSettings) -> float:
    """Return the smallest effect of a detector that may move traffic."""
    if detector == PERPLEXITY:
        return settings.policy.action_perplexity
    return settings.margins.of(_scale(detector))


def _scale(detector: str) -> EffectScale:
    return DETECTORS[detector].scale if detector in DETECTORS else EffectScale.RATE


def signal(
    found: series.Effects,
    *,
    settings: EvaluateSettings,
    crossed: Sequence[str],
    score: ScoreRow | None,
) -> Signal:
    """Describe one detector's effects over time; ``score`` is its newest."""
    usual = _usual(score)
    return Signal(
        name=found.detector,
        words=name_words(found.detector),
        news=_news(found, score),
        margin=margin_of(found.detector, settings),
        scale=_shown_as(found.detector, usual),
        usual=usual,
        crossed=found.detector in crossed,
        at=found.at,
        effect=found.effect,
        low=found.low,
        high=found.high,
    )


def _news(found: series.Effects, score: ScoreRow | None) -> str:
    """Say what the newest window shows; a rate that rose is told as its requests do."""
    clause = profile_of(found.detector).clause
    if clause and found.effect[-1] > 0:
        return clause
    return plain_words(found.detector, score.winner) if score and score.winner else ""


def _usual(score: ScoreRow | None) -> float | None:
    """Return the reference's rate of the signal that a rate detector goes by."""
    known = score.details.get("signals") if score else None
    if score is None or not isinstance(known, dict):
        return None
    own = known.get((score.winner or "").partition(":")[0])
    only = next(iter(known.values())) if len(known) == 1 else None
    found = own or only
    return found.get("reference_rate") if isinstance(found, dict) else None


def _shown_as(detector: str, usual: float | None) -> Scale:
    if detector == PERPLEXITY:
        return Scale.CHANGE
    if _scale(detector) is EffectScale.RANK:
        return Scale.OFTEN
    return Scale.POINTS if usual is None else Scale.SHARE


def place(name: str) -> tuple[int, str]:
    """Return the key by which signals that did not cross stand in order."""
    return profile_of(name).rank, name

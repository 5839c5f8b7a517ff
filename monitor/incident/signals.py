"""Put a version's signals on one time axis: effects with their intervals and margins."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from itertools import islice
from types import MappingProxyType
from typing import Final

from sqlalchemy import Connection

from alerts.words import percent
from detectors import DETECTORS, profile_of
from detectors.perplexity import PERPLEXITY
from detectors.profile import DetectorSide, EffectScale
from detectors.rank_detector import RankDetector
from detectors.signals import LOGPROBS, STATUS, TOP_LOGPROBS, main_signal
from detectors.words import name_words, plain_words
from monitor.domain import Interval, Version, VersionId
from monitor.evaluate.settings import EvaluateSettings
from monitor.incident.reading import IncidentStory
from monitor.store.evaluation import evaluations, series, verdicts
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.people import changes
from monitor.store.traffic import routes
from monitor.store.traffic.routes import RouteRow

LONGEST: Final = timedelta(days=14)
SHORTEST: Final = timedelta(minutes=2)
MOST_SIGNALS: Final = 8
MOST_MEMBERS: Final = 6
MOST_MARKS: Final = 200

CERTAINTY: Final = "How sure its answers are"
ANSWERED: Final = "What it answers"
SERVED: Final = "How it is served"
FAMILIES: Final = (CERTAINTY, "What users ask", ANSWERED, SERVED, "What users say")
"""Titles of the groups in which people find signals."""
_OF_SIDE: Final = MappingProxyType(
    {
        DetectorSide.REQUESTS: "What users ask",
        DetectorSide.SERVING: SERVED,
        DetectorSide.FEEDBACK: "What users say",
    }
)


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
        """
        match self.scale:
            case Scale.OFTEN:
                return f"{50 * (1 + effect):.0f} %"
            case Scale.SHARE:
                return percent(min(1.0, max(0.0, (self.usual or 0.0) + effect)))
            case Scale.POINTS | Scale.CHANGE:
                unit = "%" if self.scale is Scale.CHANGE else "points"
                return f"{100 * effect:+.3g} {unit}" if effect else f"0 {unit}"

    @property
    def unit(self) -> str:
        """The unit of its axis."""
        match self.scale:
            case Scale.OFTEN:
                return "share of comparisons of a new request with a normal one"
            case Scale.SHARE:
                return "share of requests"
            case Scale.POINTS:
                return "difference from the normal share of requests"
            case Scale.CHANGE:
                return "change against the approved model"


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
class Chart:
    """The content of a chart: ``signals`` from ``since`` to ``until``."""

    title: str
    since: datetime
    until: datetime
    onset: Interval | None
    signals: Sequence[Signal]
    marks: Sequence[ChartMark]


def read_chart(
    tx: Connection, story: IncidentStory, *, settings: EvaluateSettings, now: datetime
) -> Chart:
    """Read an incident's signals, from some time before it began until its end or now.

    For a fleet incident, reads the first signal of each member. If there are more than fit, the
    title says how many are shown.
    """
    shown = shown_interval(story, now=now)
    if story.version is not None:
        found = _signals_of(
            tx,
            story.version.id,
            shown,
            settings=settings,
            crossed=story.crossed,
            scores=story.scores,
        )
        signals, of, what = found[:MOST_SIGNALS], len(found), "signals"
    else:
        leading = (
            replace(lead, words=f"{member.label}: {lead.words}")
            for member in story.members
            for lead in _signals_of(tx, member.version_id, shown, settings=settings)[:1]
        )
        signals, of = list(islice(leading, MOST_MEMBERS)), len(story.members)
        what = "members, those that moved first"
    some = f" · {len(signals)} of {of} {what}" if len(signals) < of else ""
    return Chart(
        title=f"#{story.row.id} {story.subject}{some}",
        since=shown.start,
        until=shown.end,
        onset=story.onset,
        signals=signals,
        marks=_marks(story, shown),
    )


def read_version_chart(
    tx: Connection,
    version: Version,
    shown: Interval,
    *,
    settings: EvaluateSettings,
    judged: VerdictRow | None,
) -> Chart:
    """Read all signals of a version, and the events of its adapter.

    A signal counts as crossed if the verdict rests on it, or rested on it in that interval:
    whoever looks after it was reset wants to see what moved.
    """
    latest = evaluations.latest_scores_of(tx, adapter_id=version.adapter_id)
    verdict = judged.verdict if judged else None
    raised = series.raised(tx, version_id=version.id, since=shown.start, until=shown.end)
    return Chart(
        title=version.label,
        since=shown.start,
        until=shown.end,
        onset=verdict.onset if verdict else None,
        signals=_signals_of(
            tx,
            version.id,
            shown,
            settings=settings,
            crossed=(*(verdict.detectors if verdict else ()), *raised),
            scores=[one for one in latest if one.version_id == version.id],
        ),
        marks=_events(tx, version, shown),
    )


def newest_signals(scores: Iterable[ScoreRow], *, settings: EvaluateSettings) -> list[Signal]:
    """Return the newest number of each detector that has one, those outside their margin first."""
    found = [
        _signal(
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
    return sorted(found, key=lambda one: (not one.outside, _place(one.name)))


def shown_interval(story: IncidentStory, *, now: datetime) -> Interval:
    """Return the chart's interval: half the incident's length before it, and some time after."""
    row = story.row
    began = min(row.opened_at, story.onset.start) if story.onset else row.opened_at
    over = now if row.closed_at is None else row.closed_at
    lasted = max(over - began, SHORTEST)
    end = min(now, over + lasted / 4)
    return Interval(start=max(began - lasted / 2, end - LONGEST), end=end)


def margin_of(detector: str, settings: EvaluateSettings) -> float:
    """Return the smallest effect of a detector that may move traffic."""
    if detector == PERPLEXITY:
        return settings.policy.action_perplexity
    return settings.margins.of(_scale(detector))


def _scale(detector: str) -> EffectScale:
    return DETECTORS[detector].scale if detector in DETECTORS else EffectScale.RATE


def _signals_of(
    tx: Connection,
    version_id: VersionId,
    shown: Interval,
    *,
    settings: EvaluateSettings,
    crossed: Sequence[str] = (),
    scores: Iterable[ScoreRow] = (),
) -> list[Signal]:
    found = series.effect_series(tx, version_id=version_id, since=shown.start, until=shown.end)
    latest = {one.detector: one for one in scores}
    signals = [
        _signal(one, settings=settings, crossed=crossed, score=latest.get(one.detector))
        for one in found
    ]
    return sorted(signals, key=lambda one: (not one.crossed, _place(one.name)))


def _signal(
    found: series.Effects,
    *,
    settings: EvaluateSettings,
    crossed: Sequence[str],
    score: ScoreRow | None,
) -> Signal:
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


def _place(name: str) -> tuple[int, str]:
    return profile_of(name).rank, name


def _events(tx: Connection, version: Version, shown: Interval) -> list[ChartMark]:
    """List changes of the version's verdict, routes, and declared changes, with their labels."""
    judged, moved = (
        verdicts.history(tx, adapter_id=version.adapter_id, since=shown.start, limit=MOST_MARKS),
        routes.history(tx, version.adapter, limit=MOST_MARKS),
    )
    declared = changes.change_list(
        tx, adapter=version.adapter, since=shown.start, until=shown.end, limit=MOST_MARKS
    )
    found = [
        *(
            ChartMark(at=one.at, kind=one.after.value, text=one.after.value)
            for one in judged
            if one.version == version.name
        ),
        *(ChartMark(at=one.route.since, kind="route", text=_arms(one)) for one in moved),
        *(
            ChartMark(
                at=max(one.begun_at, shown.start),
                until=one.ended_at or shown.end,
                kind="declared",
                text=f"{'change' if one.kind.value == 'other' else one.kind.value}: {one.title}",
            )
            for one in declared
        ),
    ]
    return [mark for mark in found if shown.start <= mark.at <= shown.end]


def _arms(changed: RouteRow) -> str:
    """Write who answers from then on.

    A route says it in full; a mark has room for the names.
    """
    arms = [arm for arm in changed.route.arms if arm.weight > 0]
    if len(arms) == 1:
        return f"to {arms[0].version}"
    return ", ".join(f"{arm.version} {100 * arm.weight:.3g} %" for arm in arms)


def _marks(story: IncidentStory, shown: Interval) -> list[ChartMark]:
    moments = [
        ChartMark(at=one.at, kind=one.label.split()[0], text=one.label)
        for one in story.timeline
        if one.label
    ]
    declared = [
        ChartMark(at=one.begun_at, kind="declared", text=f"{one.kind}: {one.title}")
        for one in story.changes
    ]
    return [mark for mark in (*moments, *declared) if shown.start <= mark.at <= shown.end]

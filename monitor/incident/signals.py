"""Put an incident's signals on one time axis: effects with their intervals and margins."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from detectors import DETECTORS, profile_of
from detectors.perplexity import PERPLEXITY
from detectors.profile import EffectScale
from detectors.words import name_words
from monitor.domain import Interval, VersionId
from monitor.evaluate.settings import EvaluateSettings
from monitor.incident.reading import IncidentStory
from monitor.store.evaluation import series

LONGEST: Final = timedelta(days=14)
SHORTEST: Final = timedelta(minutes=2)
MOST_SIGNALS: Final = 8
MOST_MEMBERS: Final = 6


@dataclass(frozen=True, slots=True, kw_only=True)
class Signal:
    """One detector's effect over time; positive is worse, unless both directions count.

    margin
        The smallest effect that may move traffic.
    share
        True if the effect is a difference of rates or a ratio less one, read as a percentage; else
        it is Cliff's delta in [-1, 1].
    crossed
        True if the verdict rests on it.
    """

    name: str
    words: str
    margin: float
    share: bool
    crossed: bool
    at: Sequence[datetime]
    effect: Sequence[float]
    low: Sequence[float]
    high: Sequence[float]


@dataclass(frozen=True, slots=True, kw_only=True)
class ChartMark:
    """An event on the time axis."""

    at: datetime
    kind: str
    """A verdict such as ``critical`` or ``drifting``, else ``route`` or ``declared``."""
    text: str


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
            crossed=story.judged.verdict.detectors if story.judged else (),
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
) -> list[Signal]:
    found = series.effect_series(tx, version_id=version_id, since=shown.start, until=shown.end)
    signals = [_signal(one, settings=settings, crossed=crossed) for one in found]
    return sorted(signals, key=lambda one: (not one.crossed, profile_of(one.name).rank, one.name))


def _signal(found: series.Effects, *, settings: EvaluateSettings, crossed: Sequence[str]) -> Signal:
    return Signal(
        name=found.detector,
        words=name_words(found.detector),
        margin=margin_of(found.detector, settings),
        share=_scale(found.detector) is not EffectScale.RANK,
        crossed=found.detector in crossed,
        at=found.at,
        effect=found.effect,
        low=found.low,
        high=found.high,
    )


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

"""Read the chart of an incident or of a version: its signals and events on one time axis."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import islice
from typing import Final

from sqlalchemy import Connection

from monitor.domain import Interval, Version, VersionId
from monitor.evaluate.settings import EvaluateSettings
from monitor.incident.reading import IncidentStory
from monitor.incident.signals import Chart, ChartMark, Signal, Unserved, place, signal
from monitor.incident.timeline import Moment, MomentKind, arms_label
from monitor.store.evaluation import evaluations, series, verdicts
from monitor.store.evaluation.evaluations import ScoreRow
from monitor.store.evaluation.verdicts import VerdictRow
from monitor.store.people import changes
from monitor.store.traffic import routes
from monitor.traffic.arms import effective

LONGEST: Final = timedelta(days=14)
SHORTEST: Final = timedelta(minutes=2)
MOST_SIGNALS: Final = 8
MOST_MEMBERS: Final = 6
MOST_MARKS: Final = 200


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
        unserved=_unserved(tx, story.version, shown),
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
        unserved=_unserved(tx, version, shown),
    )


def shown_interval(story: IncidentStory, *, now: datetime) -> Interval:
    """Return the chart's interval: half the incident's length before it, and some time after."""
    row = story.row
    began = min(row.opened_at, story.onset.start) if story.onset else row.opened_at
    over = now if row.closed_at is None else row.closed_at
    lasted = max(over - began, SHORTEST)
    end = min(now, over + lasted / 4)
    return Interval(start=max(began - lasted / 2, end - LONGEST), end=end)


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
        signal(one, settings=settings, crossed=crossed, score=latest.get(one.detector))
        for one in found
    ]
    return sorted(signals, key=lambda one: (*_strength(one, latest), place(one.name)))


def _strength(signal: Signal, latest: Mapping[str, ScoreRow]) -> tuple[bool, float]:
    """Place crossed signals first, by the evidence of their scores."""
    score = latest.get(signal.name)
    if not signal.crossed or score is None:
        return not signal.crossed, 0.0
    return False, -max(score.evidence_page, score.evidence_notice)


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
        *(ChartMark(at=one.route.since, kind="route", text=arms_label(one)) for one in moved),
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


def _unserved(tx: Connection, version: Version | None, shown: Interval) -> Unserved | None:
    """Read since when a version has had no traffic; before that it must have had some."""
    if version is None:
        return None
    since: datetime | None = None
    for row in routes.history(tx, version.adapter, limit=MOST_MARKS):
        found = effective(row.route, shown.end) if since is None else row.route
        if found.since > shown.end:
            continue
        if any(arm.version == version.name and arm.weight > 0 for arm in found.arms):
            return Unserved(version=version.name, since=since) if since else None
        since = found.since
    return None


def _kind(moment: Moment) -> str:
    return "route" if moment.kind is MomentKind.ROUTE else moment.label


def _marks(story: IncidentStory, shown: Interval) -> list[ChartMark]:
    moments = [
        ChartMark(at=one.at, kind=_kind(one), text=one.label) for one in story.timeline if one.label
    ]
    declared = [
        ChartMark(at=one.begun_at, kind="declared", text=f"{one.kind}: {one.title}")
        for one in story.changes
    ]
    return [mark for mark in (*moments, *declared) if shown.start <= mark.at <= shown.end]

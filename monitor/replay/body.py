"""A story as JSON: the output of ``--json`` and the data of the chart."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from monitor.domain import Interval
from monitor.replay.replaying import ReplayOutcome
from monitor.replay.running import Crossed, VerdictChange
from monitor.replay.story import BudgetLine, DetectorStory, Point, Story
from monitor.replay.tally import Bad, Tally

Body = dict[str, Any]


def body_of(outcome: ReplayOutcome, *, points: bool = False) -> Body:
    """Return an outcome as plain JSON types; ``points`` adds every detector's series."""
    log, base = outcome.log, outcome.baseline
    return {
        "file": file_body(str(log.path), log.tally),
        "baseline": None if base is None else file_body(str(base.path), base.tally),
        "versions": [_story(one, points=points) for one in outcome.stories],
        "failed": dict(outcome.failed),
    }


def file_body(path: str, tally: Tally) -> Body:
    """Return how the lines of a log were taken, as plain JSON types."""
    return {
        "path": path,
        "lines": tally.lines,
        "bad": tally.n_bad,
        "first_bad": [_bad(one) for one in tally.bad],
        "passed_over": dict(tally.passed_over),
    }


def _bad(one: Bad) -> Body:
    file = {} if one.file is None else {"file": one.file}
    return file | {"line": one.line, "reason": one.reason}


def _story(story: Story, *, points: bool) -> Body:
    traffic, reference, verdict = story.traffic, story.reference, story.verdict
    return {
        "name": story.label,
        "worst_verdict": story.worst.value,
        "verdict": None if verdict is None else verdict.kind.value,
        "reason": None if verdict is None else verdict.reason,
        "records": traffic.records,
        "first_at": _time(traffic.first_at),
        "last_at": _time(traffic.last_at),
        "days": traffic.days,
        "other_settings": traffic.other_settings,
        "reference": {
            "records": reference.n_baseline,
            "days": reference.span_days,
            "provisional": reference.provisional,
            "approved_by": reference.approved_by,
            "other_settings": story.n_other_strata,
            "training": reference.n_training,
            "held_out": story.held_out,
            "encoder": reference.encoder,
        },
        "measured": {one.name: one.measured for one in story.sources},
        "detectors": [_detector(one, points=points) for one in story.detectors],
        "transitions": [_change(one) for one in story.changes],
        "messages": _budget(story.budget),
        "budgets": [_budget(one) for one in story.budgets],
        "examples": list(story.examples),
    }


def _detector(one: DetectorStory, *, points: bool) -> Body:
    body: Body = {
        "name": one.name,
        "absent": one.absent,
        "notice": _maybe(one.notice),
        "page": _maybe(one.page),
        "crossings": one.crossings,
        "highest_notice_evidence": one.highest,
        "value": one.value,
        "minimum_detectable": one.detectable,
    }
    return body | {"points": [_point(point) for point in one.points]} if points else body


def _maybe(one: Crossed | None) -> Body | None:
    return None if one is None else crossed_of(one)


def crossed_of(one: Crossed) -> Body:
    """Return a crossing as plain JSON types."""
    crossing = one.crossing
    return {
        "at": _time(crossing.at),
        "onset": _interval(crossing.onset),
        "requests": one.n,
        "requests_since_onset": [one.n_after, one.n_since_onset],
        "winner": crossing.winner,
        "evidence": crossing.evidence,
        "effect": crossing.effect,
        "interval": [crossing.effect_low, one.high],
        "n": crossing.n,
    }


def _change(one: VerdictChange) -> Body:
    return {
        "at": _time(one.at),
        "before": one.before.value,
        "after": one.after.kind.value,
        "blame": one.after.blame.value,
        "requests": one.n,
        "reason": one.after.reason,
    }


def _budget(one: BudgetLine) -> Body:
    return {
        "budget": one.budget,
        "tickets": one.tickets,
        "pages": one.pages,
        "tickets_per_30_days": one.monthly(one.tickets),
        "pages_per_30_days": one.monthly(one.pages),
    }


def _point(one: Point) -> Body:
    return {"at": _time(one.at), "value": one.value, "notice": one.notice, "page": one.page}


def _interval(interval: Interval) -> list[str]:
    return [_time(interval.start), _time(interval.end)]


def _time(at: datetime) -> str:
    return at.isoformat(timespec="seconds")


def words_of(body: Mapping[str, Any]) -> str:
    """Describe a detector's crossing in one line, as the terminal and the page do."""
    low, high = body["interval"]
    effect = "" if body["effect"] is None else f", effect {body['effect']:+.2f}"
    known = "" if low is None or high is None else f" ({low:+.2f} … {high:+.2f})"
    return f"{body['winner']}{effect}{known}"

"""A score that goes over its threshold and back, by the detectors, rules and incidents that run."""

from collections import Counter
from collections.abc import Iterable
from datetime import timedelta

import pytest

import alerts.types as words
from alerts import incident
from alerts.incident import IncidentState, Observed
from alerts.types import Severity
from monitor.replay.story import Story
from tests.replay.conftest import Talk, Write
from tests.replay.test_replaying import BEGIN, DAY, Lines, baseline, one, replayed

PER_DAY = 250


def flapping(*, days: float, period: timedelta, shift: float, seed: int) -> Lines:
    """Half of each period answers are worse by ``shift`` sd, then they are as they were."""
    talk = Talk(seed=seed, adapter="support", version="v7")
    lines, begin, worse = [], BEGIN + 15 * DAY, False
    end = begin + days * DAY
    count = round(PER_DAY * (period / 2) / DAY)
    while begin < end:
        lines += talk.records(count, begin=begin, over=period / 2, shift=shift * worse)
        begin, worse = begin + period / 2, not worse
    return lines


def pages(story: Story) -> list[str]:
    """Days of pages: incidents opened, reopened or worsened to one."""
    state, told = IncidentState(), []
    for change in story.changes:
        seen = incident.conditions(words.VerdictKind(change.after.kind.value))[words.Kind.DRIFT]
        state, tells = incident.step(state, Observed(condition=seen), change.at)
        told += [
            f"{change.at:%m-%d}"
            for tell in tells
            if tell.severity is Severity.PAGE and tell.status is not words.Status.RECOVERED
        ]
    return told


def busiest(days: Iterable[str]) -> int:
    return max(Counter(days).values(), default=0)


def test_a_score_that_flaps_for_days_pages_once_a_day_at_most(write: Write) -> None:
    lines = flapping(days=2.5, period=DAY, shift=2.0, seed=5)
    told = pages(one(replayed(write, lines, baseline())))
    assert told, "it is worse every other half day"
    assert busiest(told) <= 1


@pytest.mark.slow
@pytest.mark.parametrize(("hours", "shift"), [(2, 2.0), (12, 1.0), (24, 1.0), (48, 0.5)])
def test_a_score_that_flaps_for_thirty_days_pages_once_a_day_at_most(
    write: Write, hours: float, shift: float
) -> None:
    """Measured: one page each in 30 days, with 3 or 4 changes of the verdict."""
    period = timedelta(hours=hours)
    lines = flapping(days=30, period=period, shift=shift, seed=9)
    story = one(replayed(write, lines, baseline()))
    told = pages(story)
    print(f"{hours} h, {shift} sd: {len(told)} pages, {len(story.changes)} changes")
    assert busiest(told) <= 1

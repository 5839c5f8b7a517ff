"""Work out what a message about drift says of the requests, before the verdict is locked.

Counting them, clustering them and finding the least similar takes .4 s for the requests of
a day, so it is done without a lock, for the judgement expected. If the judgement under the
lock differs, :class:`monitor.evaluate.commit.Unexplained` ends the transaction, and the new
judgement is explained.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

import scipy
from sqlalchemy import Connection

from alerts.message import MOST_IDS, NewRequests, Unlike
from detectors.signals import TOPICS
from monitor.domain import Interval, Reference
from monitor.evaluate.newness import DETECTOR, LONGEST, SIGNAL, unlike_below, what_is_new
from monitor.evaluate.reading import Reading
from monitor.policy import Judgement
from monitor.store.records import samples
from monitor.store.records.samples import ComparedWith, Similar

USUAL: Final = 0.01
"""A request counts as unlike training below the similarity that this share of the baseline has."""


@dataclass(frozen=True, slots=True, kw_only=True)
class About:
    """The facts of a judgement on which the message about the requests depends."""

    detectors: tuple[str, ...]
    onset: Interval | None
    by_similarity: bool

    @classmethod
    def of(cls, judgement: Judgement) -> About:
        crossings = [c for c in judgement.memory.crossings if c.detector == DETECTOR]
        won = {crossing.winner.partition(":")[0] for crossing in crossings}
        by_topics = bool(won) and won <= set(TOPICS)  # coordinates of the embedding alone
        return cls(
            detectors=judgement.verdict.detectors,
            onset=judgement.verdict.onset,
            by_similarity=DETECTOR in judgement.verdict.detectors and not by_topics,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Explained:
    """The part of a message that describes the requests; ``about`` None: none is needed."""

    about: About | None = None
    unlike: Unlike | None = None
    new: NewRequests | None = None
    examples: tuple[str, ...] = ()

    def answers(self, judgement: Judgement) -> bool:
        """Whether this explains the given judgement; a calm one needs no explanation."""
        return not judgement.verdict.detectors or self.about == About.of(judgement)


def explain(tx: Connection, reading: Reading, judgement: Judgement, *, examples: int) -> Explained:
    """Count the requests unlike training since the onset, group them, show the least similar.

    ``examples`` is the number of prompts shown, with words typical of new ones; 0: no text.
    """
    about = About.of(judgement)
    onset, until = about.onset, reading.interval.end
    since = onset.start if onset else reading.interval.start
    unlike = _unlike_training(tx, reading, about, since=since, until=until)
    shown: Sequence[Similar] = ()
    if unlike or DETECTOR in about.detectors:
        shown = _similar(tx, reading, since=since, until=until, most=examples)
    return Explained(
        about=about,
        unlike=unlike,
        new=_largest_group(tx, reading, words=examples > 0, since=since, until=until)
        if unlike
        else None,
        # none unless the operator stores text
        examples=tuple(similar.prompt for similar in shown if similar.prompt),
    )


def _unlike_training(
    tx: Connection, reading: Reading, about: About, *, since: datetime, until: datetime
) -> Unlike | None:
    """Count the requests unlike training; None where nothing drifts.

    If answers or the mix of known topics drift, but not the similarity, the count must
    surely be above the usual one: answers often show new questions first, and the usual few
    are no news.
    """
    calibrated = reading.calibrated
    if calibrated is None or not about.detectors:
        return None
    reference = calibrated.by_detector.get(DETECTOR)
    # it crossed before a re-freeze without similarities, or by coordinates alone
    if reference is None or SIGNAL not in reference.signals:
        return None
    below = unlike_below(reference, share=USUAL)
    of = _compared(reading, calibrated.reference, since=since, until=until)
    count, compared = samples.count_below(tx, of, similarity=below)
    if not about.by_similarity and not _surely_more(count, compared):
        return None
    named = _similar(tx, reading, since=since, until=until, most=min(count, MOST_IDS))
    ids = tuple(one.record_id for one in named)
    return Unlike(count=count, of=compared, below=below, usual=USUAL, ids=ids)


def _surely_more(count: int, of: int) -> bool:
    """Whether the lower 95 % limit of the share (Clopper-Pearson) is above the usual one."""
    return count > 0 and float(scipy.special.betaincinv(count, of - count + 1, 0.025)) > USUAL


def _largest_group(
    tx: Connection, reading: Reading, *, words: bool, since: datetime, until: datetime
) -> NewRequests | None:
    """Return the largest group of drifting inputs, with words only if asked for."""
    calibrated = reading.calibrated
    if calibrated is None:
        return None
    found = what_is_new(
        tx,
        reading.version,
        calibrated.reference,
        calibrated.by_detector[DETECTOR],
        since=max(since, until - LONGEST),
        until=until,
    )
    if not found.groups:
        return None
    largest = max(found.groups, key=lambda group: group.count)
    return NewRequests(
        count=largest.count,
        of=found.compared,
        subjects=largest.subjects,
        words=largest.words if words else (),
    )


def _similar(
    tx: Connection, reading: Reading, *, since: datetime, until: datetime, most: int
) -> Sequence[Similar]:
    """Return the requests least similar to training."""
    if not most or reading.calibrated is None:
        return ()
    of = _compared(reading, reading.calibrated.reference, since=since, until=until)
    return samples.least_similar(tx, of, limit=most)


def _compared(
    reading: Reading, reference: Reference, *, since: datetime, until: datetime
) -> ComparedWith:
    return ComparedWith(version=reading.version, reference_id=reference.id, start=since, end=until)

"""A few requests that show what an incident is about, beside the nearest training examples.

The interval ends when the incident opened and texts are read as they are stored, so the same
requests are shown at every look, for as long as records are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.evaluate.neighbours import RequestBeside, beside_training
from monitor.incident.reading import IncidentStory
from monitor.store.records.examples import examples, list_order
from monitor.store.records.requests import RequestOrder

MOST_EXAMPLES: Final = 5
LONGEST: Final = timedelta(hours=24)
"""At most so long before the incident opened requests are looked at."""
WITHOUT_ONSET: Final = timedelta(hours=1)
"""The same of an incident whose onset is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllRequests:
    """The list of all requests since an incident began, in the order that shows it best."""

    since: datetime
    order: RequestOrder
    failed: bool


def read_examples(tx: Connection, story: IncidentStory) -> Sequence[RequestBeside]:
    """Read the requests; none for a fleet incident, which is about many versions."""
    version, row = story.version, story.row
    if version is None:
        return ()
    rows = examples(
        tx,
        version,
        detector=_detector(story),
        start=_start(story),
        end=row.opened_at,
        limit=MOST_EXAMPLES,
    )
    return beside_training(tx, rows, [version])


def all_requests(story: IncidentStory) -> AllRequests:
    """Return the list that goes on where the examples end; of errors, the failed ones."""
    order = list_order(_detector(story))
    since = story.onset.start if story.onset else story.row.opened_at - WITHOUT_ONSET
    return AllRequests(since=since, order=order, failed=order is RequestOrder.NEWEST)


def _start(story: IncidentStory) -> datetime:
    opened = story.row.opened_at
    if story.onset is None:
        return opened - WITHOUT_ONSET
    return max(min(story.onset.start, opened - WITHOUT_ONSET), opened - LONGEST)


def _detector(story: IncidentStory) -> str | None:
    """Return the detector that says most: the strongest of those that the verdict rests on."""
    named = story.crossed
    strongest = (one.detector for one in story.scores if one.detector in named)
    return next(strongest, next(iter(named), None))

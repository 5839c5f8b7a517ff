"""A few requests that show what an incident is about, beside the nearest training examples.

The interval ends when the incident opened and texts are read as they are stored, so the same
requests are shown at every look, for as long as records are kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy import Connection

from monitor.evaluate.newness import Neighbour, nearest_training
from monitor.incident.reading import IncidentStory
from monitor.store.records.examples import ExampleRow, examples
from monitor.store.references import references

MOST_EXAMPLES: Final = 5
LONGEST: Final = timedelta(hours=24)
"""At most so long before the incident opened requests are looked at."""
WITHOUT_ONSET: Final = timedelta(hours=1)
"""The same of an incident whose onset is not known."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Example:
    """A request, and its nearest training example where both are known."""

    request: ExampleRow
    nearest: Neighbour | None


def read_examples(tx: Connection, story: IncidentStory) -> Sequence[Example]:
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
    reference = references.current(tx, version.id)
    if reference is None:
        return [Example(request=one, nearest=None) for one in rows]
    compared = [one for one in rows if one.vector and one.reference_id == reference.id]
    vectors = [np.frombuffer(one.vector or b"", dtype="<f2").astype(np.float32) for one in compared]
    found = nearest_training(tx, reference.id, np.stack(vectors), most=1) if vectors else []
    near = {one.id: of[0] for one, of in zip(compared, found, strict=True) if of}
    return [Example(request=one, nearest=near.get(one.id)) for one in rows]


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

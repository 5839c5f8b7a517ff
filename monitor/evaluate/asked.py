"""What is new about a version: as people ask for it, and as the ticket about it says."""

from __future__ import annotations

from datetime import datetime, timedelta
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection

from alerts.message import NewRequests
from detectors import DETECTORS
from detectors.rank_reference import RankReference
from monitor.domain import Reference, Version
from monitor.evaluate.newness import Newness, what_is_new, with_neighbours
from monitor.evaluate.unlike import DETECTOR, SIGNAL
from monitor.policy import Judgement
from monitor.store import calibrations, references
from monitor.store.verdicts import current

if TYPE_CHECKING:
    from monitor.evaluate.commit import Outcome

USUAL: Final = timedelta(hours=24)
LONGEST: Final = timedelta(days=30)
"""As much again before it is read for growth."""


class NotCompared(LookupError):  # noqa: N818 - it is a fact about the version, not a fault
    """Nothing says what would be new; the message is the reason."""


def new_since(tx: Connection, version: Version, *, now: datetime) -> datetime:
    """Give the onset that the verdict's drifting inputs have, at most 30 days ago, or a day ago."""
    judged = current(tx, version_id=version.id)
    drifting = judged is not None and DETECTOR in judged.verdict.detectors
    if judged is None or not drifting or judged.verdict.onset is None:
        return now - USUAL
    return max(judged.verdict.onset.start, now - LONGEST)


def read_newness(tx: Connection, version: Version, *, since: datetime, until: datetime) -> Newness:
    """Find what is new about a version, with each group's nearest training examples.

    Raises
    ------
    NotCompared
        The version has no reference, or one that measured no similarities.
    """
    reference = references.current(tx, version.id)
    if reference is None:
        raise NotCompared(f"{version.label} has no reference yet")
    calibration = _similarities(tx, reference)
    found = what_is_new(tx, version, reference, calibration, since=since, until=until)
    return with_neighbours(tx, reference, found)


def largest_group(
    tx: Connection, outcome: Outcome, judgement: Judgement, *, words: bool
) -> NewRequests | None:
    """Give the largest group since the onset of drifting inputs; its words only if asked for.

    This is the one place where an evaluation looks for groups: in the transaction that opens
    a ticket, once, .4 s for the requests of a day.
    """
    calibrated, onset = outcome.reading.calibrated, judgement.verdict.onset
    until = outcome.window.end
    if calibrated is None:
        return None
    start = onset.start if onset else outcome.window.start
    found = what_is_new(
        tx,
        outcome.reading.version,
        calibrated.reference,
        calibrated.by_detector[DETECTOR],
        since=max(start, until - LONGEST),
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


def _similarities(tx: Connection, reference: Reference) -> RankReference:
    stored = calibrations.read(tx, reference.id).get(DETECTOR)
    if stored is None or stored.body is None:
        why = stored and stored.absent_reason
        raise NotCompared(
            f"generation {reference.generation} has no similarities to training"
            + (f": {why}" if why else "")
        )
    loaded = DETECTORS[DETECTOR].load(stored.body)
    if not isinstance(loaded, RankReference) or SIGNAL not in loaded.signals:
        raise NotCompared(f"generation {reference.generation} has no similarities to training")
    return loaded

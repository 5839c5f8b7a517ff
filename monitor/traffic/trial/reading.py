"""Read what both arms answered since a step began."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

import numpy as np
from sqlalchemy import Connection

from alerts.words import clock_time
from detectors.trial import Failures
from monitor.domain import AdapterId, Traffic, VersionId
from monitor.store.records import contexts, counting, records
from monitor.store.records.columns import RecordColumns
from monitor.store.traffic import trials
from monitor.traffic.trial.columns import Column
from monitor.traffic.trial.guards import FEEDBACK, HARD, Guard
from monitor.traffic.trial.measure import Sides

EXPECTED: Final = 50
"""With this many records expected of both arms and none seen, the canary counts as blind."""

_DAY, _SECOND = timedelta(days=1), timedelta(seconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trial:
    """The two versions of a canary, and the times between which their records are read.

    ``usual_until`` ends the day whose traffic predicts the canary's, until it has some.
    """

    adapter_id: AdapterId
    version_id: VersionId
    control_id: VersionId
    since: datetime
    usual_until: datetime
    last_look: datetime
    end: datetime
    shadow: bool


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class SidesRead:
    """Both sides, this look's failures by hard guardrail, and the reason for being blind."""

    sides: Sides
    failures: Mapping[str, Failures]
    silent: str | None


def read(tx: Connection, trial: Trial, guards: Sequence[Guard]) -> SidesRead:
    """Read both arms of a trial; requests with settings that only one arm had are left out.

    Failures count with any settings: a failed request may have none.

    Cost: as two windows of the step's length.
    """
    names = _named(guards)
    failures = _failures(tx, trial)
    sides = _paired(tx, trial, names) if trial.shadow else _beside(tx, trial, names)
    return SidesRead(sides=sides, failures=failures, silent=_silent(tx, trial))


def _named(guards: Sequence[Guard]) -> list[str]:
    return [g.name.removeprefix(FEEDBACK) for g in guards if g.name.startswith(FEEDBACK)]


def answered(
    tx: Connection, trial: Trial, guards: Sequence[Guard]
) -> tuple[int, dict[str, Column]]:
    """Read the answers of the version in charge alone, with any settings, and their number."""
    found = sorted(_strata(tx, trial, trial.control_id))
    return _arm(
        tx,
        trial,
        trial.control_id,
        names=_named(guards),
        strata=found,
        context_ids=contexts.of_strata(tx, found),
    )


def _beside(tx: Connection, trial: Trial, names: Sequence[str]) -> Sides:
    both = _common_strata(tx, trial)
    ids = contexts.of_strata(tx, both)
    one, other = (
        _arm(tx, trial, version_id, names=names, strata=both, context_ids=ids)
        for version_id in (trial.version_id, trial.control_id)
    )
    return Sides(trial=one[1], control=other[1], trial_requests=one[0], control_requests=other[0])


def _common_strata(tx: Connection, trial: Trial) -> list[str]:
    one, other = (_strata(tx, trial, version) for version in (trial.version_id, trial.control_id))
    return sorted(one.keys() & other.keys())


def _strata(tx: Connection, trial: Trial, version_id: VersionId) -> dict[str, int]:
    return counting.strata(
        tx, version_id=version_id, adapter_id=trial.adapter_id, start=trial.since, end=trial.end
    )


def _arm(
    tx: Connection,
    trial: Trial,
    version_id: VersionId,
    *,
    names: Sequence[str],
    strata: Sequence[str],
    context_ids: Sequence[int],
) -> tuple[int, dict[str, Column]]:
    window = records.read_window(
        tx,
        version_id=version_id,
        adapter_id=trial.adapter_id,
        start=trial.since,
        end=trial.end,
        strata=strata,
    )
    columns = {
        name: Column(values=values, subjects=window.subjects)
        for name, values in window.signals.items()
    }
    given = trials.feedback(
        tx,
        adapter_id=trial.adapter_id,
        version_id=version_id,
        start=trial.since,
        end=trial.end,
        names=names,
        context_ids=context_ids,
    )
    for name, one in given.items():
        columns[f"{FEEDBACK}{name}"] = Column(values=one.values, subjects=one.subjects)
    return len(window), columns


def _paired(tx: Connection, trial: Trial, names: Sequence[str]) -> Sides:
    found = trials.pairs(
        tx,
        adapter_id=trial.adapter_id,
        version_id=trial.version_id,
        control_id=trial.control_id,
        start=trial.since,
        end=trial.end,
        names=names,
    )
    one, other = (
        {
            (f"{FEEDBACK}{name}" if name in names else name): Column(
                values=values, subjects=found.subjects
            )
            for name, values in side.items()
        }
        for side in (found.trial, found.control)
    )
    return Sides(
        trial=one, control=other, trial_requests=found.n, control_requests=found.n, pairs=True
    )


def _failures(tx: Connection, trial: Trial) -> dict[str, Failures]:
    one, other = (
        records.read_window(
            tx,
            version_id=version_id,
            adapter_id=trial.adapter_id,
            start=trial.last_look,
            end=trial.end,
        )
        for version_id in (trial.version_id, trial.control_id)
    )
    return {name: _counted(name, one, other) for name in HARD}


def _counted(name: str, one: RecordColumns, other: RecordColumns) -> Failures:
    counts = []
    for side in (one, other):
        values = side.signals[name]
        known = values[np.isfinite(values)]
        counts.append((int(known.size), int((known > 0).sum())))
    (trial_requests, trial_failures), (control_requests, control_failures) = counts
    return Failures(
        trial_requests=trial_requests,
        control_requests=control_requests,
        trial_failures=trial_failures,
        control_failures=control_failures,
    )


def _silent(tx: Connection, trial: Trial) -> str | None:
    """Say that records of both arms were expected, but none came.

    The expected number follows from the rate since the step began, or, before its first
    record, from the rate of the day before.
    """
    own = _traffic(tx, trial, trial.version_id, trial.since, trial.end)
    beside = _traffic(tx, trial, trial.control_id, trial.since, trial.end)
    times = [one.last_at for one in (own, beside) if one.last_at is not None]
    if times:
        last, count, over = max(times), own.count + beside.count, max(times) - trial.since
    else:
        last, over, usual = trial.since, _DAY, trial.usual_until
        count = _traffic(tx, trial, trial.control_id, usual - _DAY, usual).count
    expected = count * ((trial.end - last) / max(over, _SECOND))
    if expected < EXPECTED or count < EXPECTED:
        return None
    at = clock_time(last, now=trial.end)
    return f"the last record came at {at}, {expected:.0f} more were due"


def _traffic(
    tx: Connection, trial: Trial, version_id: VersionId, start: datetime, end: datetime
) -> Traffic:
    return counting.traffic(
        tx, version_id=version_id, adapter_id=trial.adapter_id, start=start, end=end
    )

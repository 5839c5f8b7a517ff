"""Make a reference of a window of live records."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import Connection

from monitor.domain import Interval, Reference, ReferenceId, Version
from monitor.reference.baseline import common_settings
from monitor.reference.calibrate import SMALLEST_BASELINE
from monitor.store.records import counting
from monitor.store.references import references
from monitor.store.references.references import ReferenceSource


@dataclass(frozen=True, slots=True, kw_only=True)
class Usable:
    """The usable records of a window: those of common settings, out of all."""

    records: int
    in_all: int

    @property
    def enough(self) -> bool:
        """True if they suffice for a reference."""
        return self.records >= SMALLEST_BASELINE

    @property
    def text(self) -> str:
        """The count in words."""
        if self.records == self.in_all:
            return f"{self.records} records"
        return f"{self.records} records of common settings ({self.in_all} in all)"


def usable(tx: Connection, version: Version, window: Interval) -> Usable:
    """Count a window's live records that the builder would keep; one index range."""
    counts = counting.strata(
        tx, version_id=version.id, adapter_id=version.adapter_id, start=window.start, end=window.end
    )
    kept = sum(counts[stratum] for stratum in common_settings(counts))
    return Usable(records=kept, in_all=sum(counts.values()))


def open_generation(
    tx: Connection,
    *,
    version: Version,
    window: Interval,
    cause: str,
    created_by: str,
    training: ReferenceId | None = None,
    source: ReferenceSource = ReferenceSource.FREEZE,
    after: int | None = None,
    append: bool = False,
    feedback: ReferenceId | None = None,
) -> Reference:
    """Open a generation whose baseline is the version's live records of a window.

    Until it is ready the reference in force counts as provisional.

    Parameters
    ----------
    training
        The reference whose training index is copied. None means that of the reference in force or,
        without one, an index of the window's early half; the later half then carries the similarity
        baseline, without subjects and texts of the early one.
    after
        Freeze only if this is the version's newest generation (0 for none).
    append
        The early half of the window's records joins the copied index, and the later half carries
        the similarity baseline.
    feedback
        The reference whose feedback is reused if the window has too little of its own.

    Raises
    ------
    ValueError
        The window ends before it starts.
    Conflict
        Another generation was created meanwhile.
    """
    if window.end <= window.start:
        raise ValueError(f"the window ends {window.end} before it starts {window.start}")
    claim = references.create(
        tx,
        version_id=version.id,
        source=source,
        cause=cause,
        created_by=created_by,
        after=after,
        request={
            "start": window.start.isoformat(),
            "end": window.end.isoformat(),
            "training": training or references.current_index(tx, version.id),
            **({"append": True} if append else {}),
            **({"feedback": feedback} if feedback is not None else {}),
        },
    )
    return references.seal(tx, claim)

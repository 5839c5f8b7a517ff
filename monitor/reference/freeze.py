"""A window of live records as a reference."""

from __future__ import annotations

from sqlalchemy import Connection

from monitor.domain import Interval, Reference, ReferenceId, Version
from monitor.store import references
from monitor.store.database import Database
from monitor.store.references import ReferenceSource


def freeze(
    database: Database,
    *,
    version: Version,
    window: Interval,
    cause: str,
    created_by: str,
    training: ReferenceId | None = None,
    source: ReferenceSource = ReferenceSource.FREEZE,
    after: int | None = None,
) -> Reference:
    """Open a generation whose baseline is the version's live records of a window.

    Until it is ready the reference in force counts as provisional.

    Parameters
    ----------
    training
        The reference whose training index is taken over. None: that of the reference in
        force, or, where there is none, an index of the window's early half; the later half
        then carries the similarity baseline, without subjects and texts of the early one.

    after
        Freeze only if this is the version's newest generation (0: it has none).

    Raises
    ------
    ValueError
        The window ends before it starts.
    Conflict
        Another generation was made meanwhile.
    """
    if window.end <= window.start:
        raise ValueError(f"the window ends {window.end} before it starts {window.start}")

    return database.run(
        lambda tx: open_generation(
            tx,
            version=version,
            window=window,
            cause=cause,
            created_by=created_by,
            training=training,
            source=source,
            after=after,
        )
    )


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
) -> Reference:
    """Do the same in the caller's transaction.

    ``append``: the early half of the window's records joins the index that is taken over,
    and the later half carries the similarity baseline.
    """
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
        },
    )
    return references.seal(tx, claim)

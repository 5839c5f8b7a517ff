"""List the declared changes near an onset, as messages and people read them."""

from __future__ import annotations

from datetime import datetime, timedelta

from sqlalchemy import Connection

from alerts.message import NearbyChange
from alerts.words import change_words
from monitor.domain import Interval
from monitor.store.people import changes


def changes_about(
    tx: Connection,
    adapter: str | None,
    *,
    base: str | None = None,
    interval: Interval,
    margin: timedelta,
    now: datetime,
    is_onset: bool = True,
) -> tuple[NearbyChange, ...]:
    """List the changes declared for an adapter, or for the adapters on a base, near an interval.

    Changes declared for the whole fleet are always included.

    Parameters
    ----------
    margin
        Widens the interval on both sides. One live interval is right: an onset is located to whole
        windows, and people declare a change a little before or after it happens.
    is_onset
        True if a change began within the interval; the text then says whether each declared change
        came before or after it.
    """
    onset = interval.start + (interval.end - interval.start) / 2 if is_onset else None
    return tuple(
        NearbyChange(
            kind=found.kind.value,
            title=found.title,
            begun_at=found.begun_at,
            ended_at=found.ended_at,
            author=found.author,
            text=change_words(
                found.kind.value,
                found.title,
                begun_at=found.begun_at,
                ended_at=found.ended_at,
                onset=onset,
                now=now,
            ),
        )
        for found in changes.overlapping(tx, adapter, base=base, interval=interval, margin=margin)
    )

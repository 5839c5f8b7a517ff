"""Callers' times, limited to those that UTC and calendar arithmetic can represent."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Latest time used: a later bound means "to the last", one before 1970 "from the first on"."""


def storable(at: datetime) -> datetime:
    """Return a time in UTC; ``ValueError`` for one that UTC cannot hold, or before 1970."""
    if at < EARLIEST:
        raise ValueError("lies before 1970")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies after the year 9999") from error


def bounded(at: datetime) -> datetime:
    """Return the nearest usable time, in UTC.

    >>> bounded(datetime.fromisoformat("0001-01-01T00:00:00+14:00")).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return min(max(at, EARLIEST), LATEST).astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(storable)]
"""A time in a body: when something is, was or will be."""

Bound = Annotated[AwareDatetime, AfterValidator(bounded)]
"""A time in a query: the start or the end of a range."""

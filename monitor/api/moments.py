"""Times that callers give, as ones that can be written in UTC and that years can be taken from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Nothing here is older or later: beyond these a bound means "from the first on", "to the last"."""


def storable(at: datetime) -> datetime:
    """Give a time in UTC; ``ValueError`` for one that has none there, or lies before 1970."""
    if at < EARLIEST:
        raise ValueError("lies before 1970")
    try:
        return at.astimezone(UTC)
    except OverflowError as error:
        raise ValueError("lies after the year 9999") from error


def bounded(at: datetime) -> datetime:
    """Give the nearest time that is counted with here, in UTC.

    >>> bounded(datetime.fromisoformat("0001-01-01T00:00:00+14:00")).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return min(max(at, EARLIEST), LATEST).astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(storable)]
"""Of a body: when something is, was or shall be."""

Bound = Annotated[AwareDatetime, AfterValidator(bounded)]
"""Of a query: from when on, or until when."""

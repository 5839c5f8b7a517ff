"""Times that callers give: those that can be written in UTC, and from which a year can be taken."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)


def storable(at: datetime) -> datetime:
    """Give a time in UTC; ``ValueError`` outside of what is counted with here.

    >>> storable(datetime.fromisoformat("2026-03-04T01:00:00+02:00")).isoformat()
    '2026-03-03T23:00:00+00:00'
    """
    if not EARLIEST <= at < LATEST:
        raise ValueError(f"lies outside of the years {EARLIEST.year} to {LATEST.year - 1}")
    return at.astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(storable)]

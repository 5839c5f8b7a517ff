"""Times that callers give, as ones that can be written in UTC and that years can be taken from."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Final

from pydantic import AfterValidator, AwareDatetime

EARLIEST: Final = datetime(1970, 1, 1, tzinfo=UTC)
LATEST: Final = datetime(9000, 1, 1, tzinfo=UTC)
"""Nothing here is older or later: beyond these a time means "from the first on", "to the last"."""


def bounded(at: datetime) -> datetime:
    """Give the nearest time that is counted with here, in UTC.

    >>> bounded(datetime.fromisoformat("0001-01-01T00:00:00+14:00")).isoformat()
    '1970-01-01T00:00:00+00:00'
    """
    return min(max(at, EARLIEST), LATEST).astimezone(UTC)


Moment = Annotated[AwareDatetime, AfterValidator(bounded)]

"""Times as people write them on the command line, read alike by every option."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Final

HELP: Final = "in UTC unless it has an offset, as 2026-11-01, 2026-11-01T09:30 or …T09:30:00Z"


def moment(text: str) -> datetime:
    """Read an ISO 8601 time of any precision; it is in UTC unless it has an offset.

    >>> moment("2026-11-01").isoformat(), moment("2026-11-01T09:30:00+02:00").isoformat()
    ('2026-11-01T00:00:00+00:00', '2026-11-01T09:30:00+02:00')

    Raises
    ------
    ValueError
        The text is no time.
    """
    try:
        at = datetime.fromisoformat(text.strip())
    except ValueError:
        raise ValueError(f"{text!r} is no time; write one {HELP}") from None
    return at if at.tzinfo else at.replace(tzinfo=UTC)

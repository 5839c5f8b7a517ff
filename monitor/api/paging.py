"""Cursors: the start of the next page, opaque to clients and checked when they return it."""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Annotated, Final, TypeVar

from fastapi import Query

from monitor.api.moments import bounded
from monitor.api.problems import Problem
from monitor.capture.surrogates import is_whole
from monitor.views.shape import Page

Row = TypeVar("Row")
Shown = TypeVar("Shown")

DEFAULT_LIMIT: Final = 100
LARGEST_LIMIT: Final = 1000
LONGEST_CURSOR: Final = 4096
"""Holds the longest id of a record, escaped."""

Limit = Annotated[int, Query(ge=1, le=LARGEST_LIMIT, description="Most items of one page.")]
Cursor = Annotated[
    str | None,
    Query(max_length=LONGEST_CURSOR, description="`next` of the page before, as it came."),
]


def encode(*parts: str | int) -> str:
    """Write a cursor.

    >>> decode(encode("2026-01-01T00:00:00+00:00", 7), kinds=(str, int))
    ['2026-01-01T00:00:00+00:00', 7]
    """
    packed = json.dumps(parts, separators=(",", ":")).encode()
    return base64.urlsafe_b64encode(packed).rstrip(b"=").decode()


def decode(cursor: str, *, kinds: Sequence[type]) -> list[str | int]:
    """Read a cursor that :func:`encode` wrote; anything else is a 422."""
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        parts = json.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
    except (ValueError, binascii.Error, RecursionError) as error:
        raise refused() from error
    if not isinstance(parts, list) or [type(part) for part in parts] != list(kinds):
        raise refused()
    if not all(map(_fits, parts)):
        raise refused()
    return parts


def page(
    rows: Sequence[Row],
    limit: int,
    write: Callable[[Row], Shown],
    *,
    place: Callable[[Row], tuple[str | int, ...]],
) -> Page[Shown]:
    """Return the first ``limit`` of the rows, one more of which was read to detect a next page."""
    return Page(
        items=[write(row) for row in rows[:limit]],
        next=encode(*place(rows[limit - 1])) if len(rows) > limit else None,
    )


def before_id(cursor: str | None) -> int | None:
    """Read a cursor that is one id."""
    return None if cursor is None else int(decode(cursor, kinds=(int,))[0])


def after_incident(cursor: str | None) -> tuple[int, int] | None:
    """Read a cursor of a list of incidents."""
    if cursor is None:
        return None
    severity, number = decode(cursor, kinds=(int, int))
    return int(severity), int(number)


def moment(text: str | int) -> datetime:
    """Read an aware time out of a cursor."""
    try:
        return bounded(datetime.fromisoformat(str(text)))
    except (ValueError, TypeError) as error:  # TypeError: a time without an offset
        raise refused() from error


def value(text: str | int) -> float:
    """Read a number that sorts out of a cursor."""
    try:
        return float(text)
    except ValueError as error:
        raise refused() from error


def _fits(part: str | int) -> bool:
    """Whether the database can hold this part of a cursor."""
    if isinstance(part, str):
        return "\0" not in part and is_whole(part)
    return 0 <= part < 2**63


def refused() -> Problem:
    """Return the 422 for a cursor of nothing, or of another list."""
    detail = "not a cursor of this list; leave it out for the first page"
    return Problem(
        422,
        f"cursor: {detail}",
        kind="invalid-request",
        errors=[{"detail": detail, "parameter": "cursor"}],
    )

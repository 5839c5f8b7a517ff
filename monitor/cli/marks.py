"""How people judged an incident, in words."""

from __future__ import annotations

from typing import Final

MARKS: Final = {"false_page": "false alarm", "accepted": "accepted as normal"}


def judged(mark: str) -> str:
    """Return a person's judgement as pages write it.

    >>> judged("false_page"), judged("accepted")
    ('false alarm', 'accepted as normal')
    """
    return MARKS.get(mark, mark.replace("_", " "))

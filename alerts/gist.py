"""The gist of a reason: what it says without its numbers."""

from __future__ import annotations

import re
from typing import Final


def gist(reason: str) -> str:
    """Leave out the numbers of a reason that a verdict gave.

    >>> gist("answers less certain, sure enough for a page: 612 requests, effect +0.41 (at least"
    ...      " +0.33), evidence 1.8 beyond its alert threshold; to support@v6")
    'answers less certain, sure enough for a page; to support@v6'
    """
    return _NUMBERS.sub("", reason)


_NUMBERS: Final = re.compile(r": (?:[\d,]+ requests|effect at least)[^;]*")

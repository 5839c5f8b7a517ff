"""In what form an answer comes: JSON, code, a list, prose. Pure, by structure alone."""

from __future__ import annotations

import re
from typing import Final

from detectors.answer_format import FORMATS

LOOKED_AT: Final = 4_096
"""Characters of an answer that are looked at."""
HALF: Final = 0.5
FEWEST: Final = 2
"""Lines of code or of a list that make it one."""

_JSON: Final = re.compile(r"(?:```(?:json)?\s*)?(?:\{\s*[\"}]|\[\s*(?:[\[\]{\"]|-?[\d.]+\s*,))")
_CODE: Final = re.compile(
    r"(?:def|class|import|from|return|async|public|private|static|func|fn|const|let|var|if|for|"
    r"while|#include|SELECT|INSERT|CREATE)\b.*[:;{}()=,]$|.*[;{}]$"
)
_ITEM: Final = re.compile(r"(?:[-*+•|]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s?\S")


def answer_format(text: str) -> float:
    r"""Give the place of an answer's form in ``FORMATS``; NaN where the answer is blank.

    An answer that is cut off keeps its form: how it begins tells JSON, what most lines are tells
    code and lists.

    >>> [FORMATS[int(answer_format(text))] for text in (
    ...     '{"size": "XL"', "def f(x):\n    return x;", "- tea\n- milk", "Good morning!")]
    ['json', 'code', 'list', 'prose']
    """
    text = text[:LOOKED_AT].strip()
    if not text:
        return float("nan")
    return float(FORMATS.index(_form(text)))


def _form(text: str) -> str:
    if _JSON.match(text):
        return "json"
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if "```" in text or _most(_CODE, lines):
        return "code"
    return "list" if _most(_ITEM, lines) else "prose"


def _most(pattern: re.Pattern[str], lines: list[str]) -> bool:
    """Whether at least two lines, and half of all, are of a kind."""
    found = sum(pattern.match(line) is not None for line in lines)
    return found >= FEWEST and found >= HALF * len(lines)

"""Classify an answer's format by its structure: JSON, code, a list or prose. Pure."""

from __future__ import annotations

import re
from typing import Final

from detectors.signals import FORMATS

LOOKED_AT: Final = 4_096
"""The characters of an answer that are read."""
HALF: Final = 0.5
FEWEST: Final = 2
"""The fewest lines of code or of a list that count as one."""

_JSON: Final = re.compile(r"(?:```(?:json)?\s*)?(?:\{\s*[\"}]|\[\s*(?:[\[\]{\"]|-?[\d.]+\s*,))")
_CODE: Final = re.compile(
    r"(?:def|class|import|from|return|async|public|private|static|func|fn|const|let|var|if|for|"
    r"while|#include|SELECT|INSERT|CREATE)\b.*[:;{}()=,]$|.*[;{}]$"
)
_ITEM: Final = re.compile(r"(?:[-*+•|]|\(?\d{1,3}[.)]|\(?[a-zA-Z][.)])\s?\S")


def answer_format(text: str) -> float:
    r"""Return the index of an answer's format in ``FORMATS``; NaN if the answer is blank.

    A truncated answer keeps its format: its beginning tells JSON, most of its lines tell code and
    lists.

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
    """True if at least two lines, and half of all, match."""
    found = sum(pattern.match(line) is not None for line in lines)
    return found >= FEWEST and found >= HALF * len(lines)

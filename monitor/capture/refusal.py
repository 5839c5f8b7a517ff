"""Does an answer refuse? Patterns of many languages over how it begins.

A pattern is RE2 (linear in the text, whatever the text and the pattern are), matched without
regard to case anywhere in the first :data:`BEGINNING` characters, where a word begins. In it a
space stands for any white space and ``'`` for any apostrophe.

The lists of the languages are files beside this module, one pattern a line; a line that begins
with ``#`` is a comment.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from importlib.resources import files
from typing import Any, Final

import re2

from monitor.capture.checks import clean

BEGINNING: Final = 320
"""Characters of an answer that are looked at: refusals come first, and say so shortly."""
ENDINGS: Final = frozenset({"content_filter", "refusal"})
"""Ends of an answer (``finish_reason``) that are refusals whatever the text says."""

_MOST_THOUGHTS: Final = 65_536
_WORD_BEGINS: Final = r"(?:^|[^\p{Latin}\p{Cyrillic}\p{Arabic}\p{Devanagari}\p{N}])"
_SPACE: Final = r"[\s\p{Z}]+"
_APOSTROPHE: Final = "['\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}]"


def refuses(answer: str) -> bool:
    """Tell whether an answer begins with a refusal; a leading block of thoughts is skipped.

    Cost: 3 to 6 microseconds; the first call compiles the patterns in a fifth of a second.

    >>> refuses("I'm sorry, but I can't help with that.")
    True
    >>> refuses("I'm sorry, there are no tables left at eight.")
    False
    """
    return _pattern().search(_beginning(answer)) is not None


def languages() -> list[str]:
    """Codes of the languages that have a list."""
    return sorted(file.name.removesuffix(".txt") for file in _lists())


@cache
def _pattern() -> Any:
    lines = [line for file in _lists() for line in file.read_text("utf-8").splitlines()]
    patterns = [_translated(line) for line in lines if line and not line.startswith("#")]
    return re2.compile(f"{_WORD_BEGINS}(?:{'|'.join(patterns)})", options=_options())


def _lists() -> Iterable[Any]:
    folder = files("monitor.capture") / "refusals"
    return sorted((f for f in folder.iterdir() if f.name.endswith(".txt")), key=lambda f: f.name)


def _translated(pattern: str) -> str:
    return f"(?:{pattern.replace(' ', _SPACE).replace(chr(39), _APOSTROPHE)})"


def _options() -> Any:
    options = re2.Options()
    options.case_sensitive = False
    options.log_errors = False
    options.never_capture = True
    options.max_mem = 64 << 20
    return options


def _beginning(answer: str) -> str:
    said = answer[:_MOST_THOUGHTS].lstrip()
    if said.startswith("<think>"):
        said = said.partition("</think>")[2].lstrip()
    return clean(said[:BEGINNING])  # a lone surrogate has no UTF-8, which RE2 reads

"""Detect refusals: patterns of many languages over an answer's beginning.

A pattern is RE2 (linear in the text, for any pattern), matched case-insensitively at any word start
in the first :data:`BEGINNING` characters. In a pattern, a space matches any white space and ``'``
any apostrophe.

The lists of the languages are files in this package, one pattern a line; a line that begins with
``#`` is a comment. Files of the same form can be added.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any, Final

import re2

from monitor.capture.checks import clean

BEGINNING: Final = 320
"""Characters of an answer that are read: refusals come first, and are short."""
ENDINGS: Final = frozenset({"content_filter", "refusal"})
"""Values of ``finish_reason`` that are refusals whatever the text says."""

_MOST_THOUGHTS: Final = 65_536
_WORD_BEGINS: Final = r"(?:^|[^\p{Latin}\p{Cyrillic}\p{Arabic}\p{Devanagari}\p{N}])"
_SPACE: Final = r"[\s\p{Z}]+"
_APOSTROPHE: Final = "['\N{RIGHT SINGLE QUOTATION MARK}\N{MODIFIER LETTER APOSTROPHE}]"


def refuses(answer: str) -> bool:
    """True if an answer begins with a refusal; a leading block of thoughts is skipped.

    Cost: 3 to 6 microseconds; the first call compiles the patterns in a fifth of a second.

    >>> refuses("I'm sorry, but I can't help with that.")
    True
    >>> refuses("I'm sorry, there are no tables left at eight.")
    False
    """
    return _pattern().search(_beginning(answer)) is not None


class PatternUnfit(ValueError):  # noqa: N818 - it is a fact about one line
    """A file of patterns cannot be used; the text names the file, the line and the reason."""


Refuses = Callable[[str], bool]
"""True if an answer begins with a refusal."""


def refusing(extra: Sequence[Path]) -> Refuses:
    """Return :func:`refuses` with the patterns of more files added to the built-in ones.

    Raises
    ------
    PatternUnfit
        A file cannot be read, or a line is not a pattern, or matches an empty answer and so every
        answer.
    """
    if not extra:
        return refuses
    added = [line for path in extra for line in _added(path)]
    try:
        pattern = _compiled([*_built_in(), *added])
    except re2.error as error:
        named = ", ".join(map(str, extra))
        raise PatternUnfit(f"{named}: too large together: {_said(error)}") from None
    return lambda answer: pattern.search(_beginning(answer)) is not None


def _added(path: Path) -> list[str]:
    try:
        lines = path.read_text("utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        reason = error.strerror if isinstance(error, OSError) else "it is not text in UTF-8"
        raise PatternUnfit(f"{path}: {reason}") from None
    numbered = [(number, line.strip()) for number, line in enumerate(lines, start=1)]
    kept = [(number, line) for number, line in numbered if line and not line.startswith("#")]
    for number, line in kept:
        _check(line, where=f"{path}, line {number}")
    return [line for _, line in kept]


def _check(line: str, *, where: str) -> None:
    try:
        alone = re2.compile(_translated(line), options=_options())
    except re2.error as error:
        raise PatternUnfit(f"{where}: no pattern: {_said(error)}") from None
    if alone.search("") is not None:
        raise PatternUnfit(f"{where}: it matches an empty answer, and so every answer")


def _said(error: Exception) -> str:
    said = error.args[0] if error.args else ""
    return said.decode("utf-8", "replace") if isinstance(said, bytes) else str(said)


def languages() -> list[str]:
    """Return the codes of the languages that have a list."""
    return sorted(file.name.removesuffix(".txt") for file in _lists())


@cache
def _pattern() -> Any:
    return _compiled(_built_in())


def _built_in() -> list[str]:
    lines = [line for file in _lists() for line in file.read_text("utf-8").splitlines()]
    return [line for line in lines if line and not line.startswith("#")]


def _compiled(lines: Iterable[str]) -> Any:
    patterns = map(_translated, lines)
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
    return clean(said[:BEGINNING])  # RE2 reads UTF-8, which has no lone surrogates

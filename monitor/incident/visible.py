"""Escape characters in users' texts that hide or reorder other characters."""

from __future__ import annotations

import unicodedata
from typing import Final

_HIDDEN: Final = frozenset({"Cc", "Cf", "Cs", "Co", "Zl", "Zp"})
_LAST_SHORT: Final = 0xFFFF


def visible(text: str) -> str:
    r"""Write control, formatting and bidi characters as escapes.

    >>> visible("safe\u202etxt.exe")
    'safe\\u202etxt.exe'
    """
    if text.isascii() and text.isprintable():
        return text
    return "".join(map(_shown, text))


def _shown(character: str) -> str:
    if unicodedata.category(character) not in _HIDDEN:
        return character
    code = ord(character)
    return f"\\u{code:04x}" if code <= _LAST_SHORT else f"\\U{code:08x}"

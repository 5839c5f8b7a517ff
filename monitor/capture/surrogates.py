r"""Text that is none: halves of characters, which JSON can write and nothing can store.

Python reads ``"\ud800"`` without a word, and fails where the text is encoded again: in an
answer, a hash, a database. So it is looked for once, where JSON comes in.
"""

from __future__ import annotations

from typing import Any


def whole(value: Any) -> Any:
    r"""Replace lone surrogates in a JSON tree by U+FFFD, and join proper pairs.

    >>> whole({"a\ud800": ["\ud83d\ude00", 1]})
    {'a�': ['😀', 1]}
    """
    match value:
        case str():
            return value if value.isascii() else _joined(value)
        case dict():
            return {whole(name): whole(item) for name, item in value.items()}
        case list():
            return [whole(item) for item in value]
        case _:
            return value


def is_whole(value: Any) -> bool:
    r"""True if no text or name in a JSON tree has a lone surrogate.

    >>> is_whole({"a": ["é", 1]}), is_whole({"a": [{"\udfff": 1}]})
    (True, False)
    """
    left = [value]  # not by calls: a tree may be deeper than Python's stack
    while left:
        match left.pop():
            case str() as text:
                if not _is_whole_text(text):
                    return False
            case dict() as tree:
                left += [*tree, *tree.values()]
            case list() as items:
                left += items
            case _:
                pass
    return True


def _is_whole_text(text: str) -> bool:
    return text.isascii() or not any("\ud800" <= letter <= "\udfff" for letter in text)


def _joined(text: str) -> str:
    return text.encode("utf-16", "surrogatepass").decode("utf-16", "replace")

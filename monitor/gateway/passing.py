"""Which requests go on to the engines: those that clients are for, and what the config names. Pure.

Engines answer administrators under the same address: they load and unload weights, pause,
forget caches, run code. New ones come with each release, so what is not known ends here.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from types import MappingProxyType
from typing import Final
from urllib.parse import unquote

MODELS: Final = "/v1/models"
CHAT: Final = "/v1/chat/completions"
PLAIN: Final = "/v1/completions"
RESPONSES: Final = "/v1/responses"

ASKED: Final = frozenset(
    {CHAT, PLAIN, RESPONSES, "/v1/embeddings", "/tokenize", "/detokenize", "/v1/moderations"}
)
"""What takes a JSON object by POST."""

READ: Final = frozenset({MODELS, "/health", "/ping", "/version"})
"""What is read by GET."""

_READING: Final = ("GET", "HEAD", "OPTIONS")
CLIENTS: Final[Mapping[str, Collection[str]]] = MappingProxyType(
    dict.fromkeys(ASKED, ("POST", "OPTIONS")) | dict.fromkeys(READ, _READING)
)


def passes(method: str, raw_path: bytes, more: Sequence[str]) -> bool:
    """Whether a request goes on; ``more`` is the config's ``gateway.passes``.

    Paths are compared as they were written: whoever writes a letter of one in escapes means
    to be read in two ways.

    >>> passes("POST", b"/v1/chat/completions", ()), passes("POST", b"/v1/pause", ())
    (True, False)
    >>> passes("POST", b"/v1/rerank", ["/v1/rerank"]), passes("GET", b"/v1/a/../b", ["/v1/a/"])
    (True, False)
    """
    path = raw_path.decode("latin-1")
    methods = CLIENTS.get(path)
    if methods is not None:
        return method in methods
    if path.startswith(f"{MODELS}/"):
        return method in _READING and _is_plain(path)
    return any(path == one or (one.endswith("/") and path.startswith(one)) for one in more) and (
        _is_plain(path)
    )


def _is_plain(path: str) -> bool:
    """Whether no reader finds another path in it: nothing goes up, or is decoded twice."""
    try:
        once = unquote(path, errors="strict") if path.isascii() else "%"
    except UnicodeDecodeError:
        return False
    return not ("%" in once or "\\" in once or {"", ".", ".."} & set(once[1:].split("/")))

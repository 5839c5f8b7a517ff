"""Decide which requests reach the engines: the known client paths and configured ones. Pure.

Engines serve administration on the same address: loading weights, pausing, clearing caches, running
code. Each release adds more, so unknown paths are refused.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Final
from urllib.parse import unquote

from monitor.gateway import headers

MODELS: Final = "/v1/models"
CHAT: Final = "/v1/chat/completions"
PLAIN: Final = "/v1/completions"
RESPONSES: Final = "/v1/responses"

ASKED: Final = frozenset(
    {CHAT, PLAIN, RESPONSES, "/v1/embeddings", "/tokenize", "/detokenize", "/v1/moderations"}
)
"""Paths that take a JSON object by POST."""

READ: Final = frozenset({MODELS, "/health", "/ping", "/version"})
"""Paths that are read by GET."""

_READING: Final = ("GET", "HEAD", "OPTIONS")
CLIENTS: Final[Mapping[str, Collection[str]]] = dict.fromkeys(
    ASKED, ("POST", "OPTIONS")
) | dict.fromkeys(READ, _READING)


def passes(method: str, raw_path: bytes, more: Sequence[str]) -> bool:
    """True if a request may pass; ``more`` is the config's ``gateway.passes``.

    Paths are compared as written: a path with escaped letters may be meant to be read in two ways.

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


def is_preflight(method: str, sent: Sequence[tuple[bytes, bytes]]) -> bool:
    """True for a browser's question whether a page may ask: it can send no key, and has no body."""
    if method != "OPTIONS":
        return False
    asks = (headers.find(sent, b"origin"), headers.find(sent, b"access-control-request-method"))
    length, coded = (headers.find(sent, one) for one in (b"content-length", b"transfer-encoding"))
    return None not in asks and coded is None and length in {None, b"0"}


def _is_plain(path: str) -> bool:
    """True if all readers see the same path: no parent steps, no double decoding."""
    try:
        once = unquote(path, errors="strict") if path.isascii() else "%"
    except UnicodeDecodeError:
        return False
    return not ("%" in once or "\\" in once or {"", ".", ".."} & set(once[1:].split("/")))

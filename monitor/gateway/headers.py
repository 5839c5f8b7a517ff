"""Choose which headers are passed on. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

RawHeaders = Iterable[tuple[bytes, bytes]]

SUBJECT: Final = b"x-driftline-subject"
ADAPTER: Final = b"x-driftline-adapter"
VERSION: Final = b"x-driftline-version"
ARM: Final = b"x-driftline-arm"
RECORD: Final = b"x-driftline-record"
AT: Final = b"x-driftline-at"

HOP_BY_HOP: Final = frozenset(
    {
        b"connection",
        b"keep-alive",
        b"proxy-authenticate",
        b"proxy-authorization",
        b"proxy-connection",
        b"te",
        b"trailer",
        b"transfer-encoding",
        b"upgrade",
    }
)
"""Headers of one connection, not of the message (RFC 9110, 7.6.1)."""

_OURS: Final = b"x-driftline-"
_MADE_ANEW: Final = frozenset({b"host", b"content-length", b"expect"})


def to_engine(
    headers: RawHeaders,
    *,
    engine_key: str = "",
    own_keys: bool = False,
    encoding: str | None = None,
    traceparent: str | None = None,
) -> list[tuple[str, str]]:
    """Return the headers of a request to the engine, from the client's headers.

    Parameters
    ----------
    engine_key
        Replaces ``Authorization`` if not empty.
    own_keys
        ``Authorization`` has a key of the gateway, which no engine gets.
    encoding
        Replaces ``Accept-Encoding``.
    traceparent
        Replaces ``traceparent``.
    """
    replaced = {b"authorization"} if engine_key or own_keys else set()
    if encoding is not None:
        replaced.add(b"accept-encoding")
    if traceparent is not None:
        replaced.add(b"traceparent")
    kept = [
        (name.decode("latin-1"), value.decode("latin-1"))
        for name, value in end_to_end(headers)
        if name not in _MADE_ANEW and name not in replaced
    ]
    if engine_key:
        kept.append(("authorization", f"Bearer {engine_key}"))
    if encoding is not None:
        kept.append(("accept-encoding", encoding))
    if traceparent is not None:
        kept.append(("traceparent", traceparent))
    return kept


def to_client(headers: RawHeaders, added: Mapping[bytes, bytes]) -> list[tuple[bytes, bytes]]:
    """Return the headers for the client: the engine's, and ``added``."""
    return [*end_to_end(headers), *added.items()]


def end_to_end(headers: RawHeaders) -> list[tuple[bytes, bytes]]:
    """Drop headers of one connection, and names that are the gateway's own.

    >>> end_to_end([(b"Connection", b"close, X-Mine"), (b"X-Mine", b"1"), (b"Accept", b"*/*")])
    [(b'accept', b'*/*')]
    """
    lowered = [(name.lower(), value) for name, value in headers]
    dropped = HOP_BY_HOP
    for name, value in lowered:
        if name == b"connection":
            dropped |= {token.strip().lower() for token in value.split(b",")}
    return [
        (name, value)
        for name, value in lowered
        if name not in dropped and not name.startswith(_OURS)
    ]


def find(headers: RawHeaders, wanted: bytes) -> bytes | None:
    """Return the first value of a header, named in lower case."""
    for name, value in headers:
        if name.lower() == wanted:
            return value
    return None

"""Decode a request's content encoding, in bounded memory."""

from __future__ import annotations

import zlib
from typing import Final

from monitor.capture.errors import Malformed, TooLarge, Unsupported

MAX_BODY: Final = 8 * 1024 * 1024
"""Bytes that a request may have after decompression."""

MOST_MEMBERS: Final = 1_000
"""Of one gzip body: loggers that append write several; an empty one costs as much as a full one."""

_MAX_RATIO: Final = 100
_RATIO_FROM: Final = 1024 * 1024
_STEP: Final = 64 * 1024
_GZIP: Final = 31  # zlib's code for a gzip container


def decode(body: bytes, content_encoding: str | None, *, limit: int = MAX_BODY) -> bytes:
    """Return the plain body.

    Raises ``TooLarge`` as soon as more than ``limit`` bytes come out, or more than 1 MiB at over a
    hundred times the size sent; ``Unsupported`` for any encoding but gzip.
    """
    encoding = (content_encoding or "identity").strip().lower()
    if encoding in {"identity", ""}:
        if len(body) > limit:
            raise TooLarge(f"the body has {len(body)} bytes; at most {limit} are read")
        return body
    if encoding not in {"gzip", "x-gzip"}:
        raise Unsupported(f"content encoding {encoding[:40]!r} is not read; use gzip or none")
    return _gunzip(body, limit)


def _gunzip(body: bytes, limit: int) -> bytes:
    """Decompress in steps, because zlib copies the rest of its input after each member."""
    parts: list[bytes] = []
    size, members = 0, 0
    member = None
    try:
        for begin in range(0, len(body), _STEP):
            rest = body[begin : begin + _STEP]
            while rest:
                if member is None or member.eof:
                    members += 1
                    if members > MOST_MEMBERS:
                        raise TooLarge(f"the gzip body has more than {MOST_MEMBERS} members")
                    member = zlib.decompressobj(_GZIP)
                parts.append(member.decompress(rest, _STEP))
                rest = member.unused_data if member.eof else member.unconsumed_tail
                size += len(parts[-1])
                _refuse_bomb(size, len(body), limit)
        if member is not None and not member.eof:
            parts.append(member.decompress(b"", _STEP))
    except zlib.error as error:
        raise Malformed(f"the body is not gzip: {error}") from error
    if member is not None and not member.eof:
        raise Malformed("the gzip body ends too early")
    return b"".join(parts)


def _refuse_bomb(size: int, sent: int, limit: int) -> None:
    if size > limit:
        raise TooLarge(f"the body has more than {limit} bytes when decompressed")
    if size > _RATIO_FROM and size > _MAX_RATIO * sent:
        raise TooLarge(f"the body grows more than {_MAX_RATIO} times when decompressed")

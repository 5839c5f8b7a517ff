"""What the daemon and a model worker say to each other over two pipes.

A frame is a 4-byte big-endian length and a msgpack body: data only, so neither side can
make the other run anything.
"""

from __future__ import annotations

from typing import Final

import msgspec

LENGTH_BYTES: Final = 4
LONGEST_FRAME: Final = 256 * 1024 * 1024


class Open(msgspec.Struct, tag="open", frozen=True, kw_only=True):
    """Load a model; the first request of a worker's life."""

    model: str
    dtype: str
    batch_tokens: int
    threads: int


class Embed(msgspec.Struct, tag="embed", frozen=True, kw_only=True):
    """Turn texts into unit vectors, in order."""

    texts: list[str]


class Search(msgspec.Struct, tag="search", frozen=True, kw_only=True):
    """Find the nearest rows of an index file for unit vectors, float32, row-major.

    The file holds float16 unit vectors ``(rows, dimension)`` from ``offset`` on.
    """

    path: str
    offset: int
    rows: int
    dimension: int
    queries: bytes


class Opened(msgspec.Struct, tag="opened", frozen=True, kw_only=True):
    """The model is loaded. ``encoder`` names its weights and arithmetic exactly."""

    encoder: str
    dimension: int


class Vectors(msgspec.Struct, tag="vectors", frozen=True, kw_only=True):
    """Unit vectors ``(count, dimension)``, float16, row-major."""

    count: int
    dimension: int
    body: bytes


class Found(msgspec.Struct, tag="found", frozen=True, kw_only=True):
    """Cosine (float32) and row (int64) of each query's nearest example."""

    similarity: bytes
    row: bytes


class Failure(msgspec.Struct, tag="failure", frozen=True, kw_only=True):
    """The worker lives on but could not answer."""

    reason: str
    missing: bool
    permanent: bool


Request = Open | Embed | Search
Reply = Opened | Vectors | Found | Failure

_ENCODER: Final = msgspec.msgpack.Encoder()
_REQUESTS: Final = msgspec.msgpack.Decoder(Request)
_REPLIES: Final = msgspec.msgpack.Decoder(Reply)


def frame(message: Request | Reply) -> bytes:
    """Encode a message as it goes over the pipe."""
    body = _ENCODER.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_length(head: bytes) -> int:
    """Read a frame's length; a senseless one means that the stream is broken."""
    length = int.from_bytes(head, "big")
    if length > LONGEST_FRAME:
        raise ValueError(f"a frame of {length} bytes, at most {LONGEST_FRAME} are allowed")
    return length


def request(body: bytes) -> Request:
    """Decode what the daemon asked."""
    asked: Request = _REQUESTS.decode(body)
    return asked


def reply(body: bytes) -> Reply:
    """Decode what the worker answered."""
    answered: Reply = _REPLIES.decode(body)
    return answered

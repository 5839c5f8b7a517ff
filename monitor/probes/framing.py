"""How messages go over a pipe: a 4-byte big-endian length and a msgpack body.

Data only, so neither side can make the other run anything.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Generic, TypeVar

import msgspec

LENGTH_BYTES: Final = 4
LONGEST_FRAME: Final = 256 * 1024 * 1024

_ENCODER: Final = msgspec.msgpack.Encoder()

Opened = TypeVar("Opened", bound=msgspec.Struct)


class Failure(msgspec.Struct, tag="failure", frozen=True, kw_only=True):
    """The worker lives on but could not answer."""

    reason: str
    missing: bool
    permanent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue(Generic[Opened]):
    """What a daemon and one kind of worker say to each other.

    module
        What the worker's process runs.
    opened
        Its answer to the first request: which model it holds.
    replies
        Decodes every answer, among them ``opened`` and :class:`Failure`.
    """

    module: str
    opened: type[Opened]
    replies: msgspec.msgpack.Decoder[msgspec.Struct]


def frame(message: object) -> bytes:
    """Encode a message, a :class:`msgspec.Struct`, as it goes over the pipe."""
    body = _ENCODER.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_length(head: bytes) -> int:
    """Read a frame's length; a senseless one means that the stream is broken."""
    length = int.from_bytes(head, "big")
    if length > LONGEST_FRAME:
        raise ValueError(f"a frame of {length} bytes, at most {LONGEST_FRAME} are allowed")
    return length

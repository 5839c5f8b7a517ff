"""Frame messages for a pipe: a 4-byte big-endian length and a msgpack body.

Frames hold data only, so neither side can make the other run code.
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
    """The worker could not answer, but goes on."""

    reason: str
    missing: bool
    permanent: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Dialogue(Generic[Opened]):
    """The messages between a daemon and one kind of worker.

    module
        The module that the worker's process runs.
    opened
        The worker's answer to the first request, describing its model.
    replies
        The decoder of all answers, including ``opened`` and :class:`Failure`.
    """

    module: str
    opened: type[Opened]
    replies: msgspec.msgpack.Decoder[msgspec.Struct]


def frame(message: object) -> bytes:
    """Encode a message, a :class:`msgspec.Struct`, for the pipe."""
    body = _ENCODER.encode(message)
    return len(body).to_bytes(LENGTH_BYTES, "big") + body


def body_length(head: bytes) -> int:
    """Read a frame's length; an implausible one means that the stream is broken."""
    length = int.from_bytes(head, "big")
    if length > LONGEST_FRAME:
        raise ValueError(f"a frame of {length} bytes, at most {LONGEST_FRAME} are allowed")
    return length

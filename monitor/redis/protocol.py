"""The part of Redis's protocol (RESP2) that one script and one key need.

A client library would connect past the guard of :mod:`alerts.outgoing`. Commands are lists
of byte strings, and only the kinds read here can come as answers.

https://redis.io/docs/latest/develop/reference/protocol-spec/
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final, Protocol

LARGEST: Final = 1024 * 1024
_LONGEST_LINE: Final = 64 * 1024
_PIECE: Final = 16 * 1024
_END: Final = b"\r\n"


class ServerRefused(Exception):  # noqa: N818 (named as the outcome)
    """The server answered with an error; ``code`` is its first word, such as ``NOAUTH``."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Nonsense(Exception):  # noqa: N818 (named as the outcome)
    """The server does not speak the protocol, or its answer is larger than any valid one."""


class Stream(Protocol):
    """The part of a connection that is used here."""

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes: ...
    def write(self, buffer: bytes, timeout: float | None = None) -> None: ...


class Conversation:
    """Commands and their answers over one connection, one after another."""

    def __init__(self, stream: Stream) -> None:
        self._stream = stream
        self._got = b""

    def ask(self, *words: str | bytes | int) -> bytes | int | None:
        """Send a command and wait for its answer.

        Raises
        ------
        Refused, Nonsense
            And what the connection raises.
        """
        self._stream.write(command(words))
        line = self._line()
        kind, rest = line[:1], line[1:]
        match kind:
            case b"+":
                return rest
            case b":":
                return _number(rest)
            case b"$":
                return self._bulk(_number(rest))
            case b"-":
                raise ServerRefused(_code(rest))
            case _:
                raise Nonsense

    def _bulk(self, size: int) -> bytes | None:
        if size == -1:
            return None
        if not 0 <= size <= LARGEST:
            raise Nonsense
        while len(self._got) < size + len(_END):
            self._more()
        body, rest = self._got[:size], self._got[size:]
        if not rest.startswith(_END):
            raise Nonsense
        self._got = rest.removeprefix(_END)
        return body

    def _line(self) -> bytes:
        while _END not in self._got:
            if len(self._got) > _LONGEST_LINE:
                raise Nonsense
            self._more()
        line, _, self._got = self._got.partition(_END)
        return line

    def _more(self) -> None:
        piece = self._stream.read(_PIECE)
        if not piece:
            raise Nonsense
        self._got += piece


def command(words: Sequence[str | bytes | int]) -> bytes:
    r"""Write a command.

    >>> command(["GET", "k"])
    b'*2\r\n$3\r\nGET\r\n$1\r\nk\r\n'
    """
    texts = [word if isinstance(word, bytes) else str(word).encode() for word in words]
    parts = [b"*%d" % len(texts)]
    for text in texts:
        parts += [b"$%d" % len(text), text]
    return _END.join([*parts, b""])


def _number(text: bytes) -> int:
    digits = text.removeprefix(b"-")
    if not (digits.isdigit() and len(digits) < 20):  # noqa: PLR2004 (64 bits have 19)
        raise Nonsense
    return int(text)


def _code(text: bytes) -> str:
    """Return the first word of an error, which is in capitals; the rest may quote what was sent."""
    word = text.split(b" ", 1)[0].decode("ascii", "replace")
    return word if word.isalnum() and word.isupper() else "ERR"

"""Cut a stream of bytes into lines, in bounded memory. Pure."""

from __future__ import annotations


class LineSplitter:
    """Yields the complete lines of a stream; None for one longer than ``longest`` bytes."""

    def __init__(self, *, longest: int) -> None:
        self._longest = longest
        self._rest = b""
        self._too_long = False

    def feed(self, chunk: bytes) -> list[bytes | None]:
        """Take the next bytes and return the lines that ended in them."""
        *lines, self._rest = (self._rest + chunk).split(b"\n")
        ended = [self._line(line) for line in lines]
        if len(self._rest) > self._longest:
            self._too_long, self._rest = True, b""
        return ended

    def end(self) -> list[bytes | None]:
        """Return the last line, if it had no line end."""
        if not self._rest and not self._too_long:
            return []
        line, self._rest = self._rest, b""
        return [self._line(line)]

    def _line(self, line: bytes) -> bytes | None:
        too_long = self._too_long or len(line) > self._longest
        self._too_long = False
        return None if too_long else line

"""Lines of a file, plain or gzip, in bounded memory and with their numbers."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, Final

from driftline.formats.lines import Unreadable
from monitor.capture.checks import RecordRefused
from monitor.reference.lines import read_object
from monitor.reference.upload import LineSplitter
from monitor.replay.errors import ReplayFailed
from monitor.replay.watch import Watch

LONGEST_LINE: Final = 16 * 1024 * 1024
_CHUNK: Final = 1 << 20


def lines(path: Path, watch: Watch, *, stage: str) -> Iterator[tuple[int, bytes | None]]:
    """Yield each non-blank line with its number from 1; None for a line of over 16 MiB.

    Raises
    ------
    ReplayFailed
        The file cannot be read.
    """
    try:
        watch.begin(stage, path.stat().st_size)
        with path.open("rb") as raw:
            stream = gzip.GzipFile(fileobj=raw) if path.suffix == ".gz" else raw
            yield from _numbered(stream.read, raw, watch)
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ReplayFailed(f"{path}: {said}") from error


def object_of(line: bytes | None) -> dict[str, Any]:
    """Decode a line; raises Unreadable."""
    if line is None:
        raise Unreadable(f"longer than {LONGEST_LINE >> 20} MiB")
    try:
        return read_object(line, such_as='{"adapter": ..., "id": ...}')
    except RecordRefused as refused:
        raise Unreadable(str(refused)) from refused


def _numbered(
    read: Callable[[int], bytes], raw: BinaryIO, watch: Watch
) -> Iterator[tuple[int, bytes | None]]:
    splitter, number = LineSplitter(longest=LONGEST_LINE), 0
    while chunk := read(_CHUNK):
        for line in splitter.feed(chunk):
            number += 1
            if line is None or line.strip():
                yield number, line
        watch.reach(raw.tell())
    for line in splitter.end():
        number += 1
        if line is None or line.strip():
            yield number, line

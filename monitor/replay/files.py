"""Lines of a file, plain, gzip or Parquet, in bounded memory and with their numbers."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable, Iterator
from datetime import date
from pathlib import Path
from typing import Any, BinaryIO, Final

from driftline.formats.lines import Unreadable
from monitor.capture.checks import RecordRefused
from monitor.reference.lines import read_object
from monitor.reference.upload import LineSplitter
from monitor.replay.errors import ReplayFailed
from monitor.replay.watch import Watch

LONGEST_LINE: Final = 16 * 1024 * 1024
_PARQUET: Final = ".parquet"
_CHUNK: Final = 1 << 20
_ROWS: Final = 1_024

Numbered = Iterator[tuple[int, bytes | None]]


def lines(path: Path, watch: Watch, *, stage: str) -> Numbered:
    """Yield each non-blank line with its number from 1; None for a line of over 16 MiB.

    A row of a Parquet file is a line: an object of its columns without those that are null.

    Raises
    ------
    ReplayFailed
        The file cannot be read.
    """
    try:
        watch.begin(stage, path.stat().st_size)
        with path.open("rb") as raw:
            yield from lines_of(raw, str(path), watch)
    except OSError as error:
        raise ReplayFailed(f"{path}: {error.strerror or error}") from error


def lines_of(raw: BinaryIO, name: str, watch: Watch) -> Numbered:
    """Yield the lines of an open file as :func:`lines` does; its name says how to read it.

    Raises
    ------
    ReplayFailed
        It is not what its name says, or cannot be read further.
    """
    try:
        if name.endswith(_PARQUET):
            yield from _rows(raw, name)
        else:
            # of a gzip that breaks off, read1 gives what comes before
            read = gzip.GzipFile(fileobj=raw).read1 if name.endswith(".gz") else raw.read
            yield from _numbered(read, raw, watch)
    except (OSError, EOFError, zlib.error) as error:
        said = getattr(error, "strerror", None) or str(error)
        raise ReplayFailed(f"{name}: {said}") from error


def object_of(line: bytes | None) -> dict[str, Any]:
    """Decode a line; raises Unreadable."""
    if line is None:
        raise Unreadable(f"longer than {LONGEST_LINE >> 20} MiB")
    try:
        return read_object(line, such_as='{"adapter": ..., "id": ...}')
    except RecordRefused as refused:
        raise Unreadable(str(refused)) from refused


def _rows(raw: BinaryIO, name: str) -> Numbered:
    try:
        import pyarrow as pa  # noqa: PLC0415 (it may be missing here)
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError:
        raise ReplayFailed(
            f"{name}: Parquet needs pyarrow, which `pip install 'driftline[ray]'` brings"
        ) from None
    number = 0
    try:
        for batch in parquet.ParquetFile(raw).iter_batches(_ROWS):
            for row in batch.to_pylist():
                number += 1
                line = json.dumps(_without_nulls(row), default=_plain).encode()
                yield number, line if len(line) <= LONGEST_LINE else None
    except pa.ArrowException as error:
        raise ReplayFailed(f"{name}: cannot be read as Parquet: {error}") from error


def _plain(value: object) -> str:
    """Write a value that JSON has no form for as people write it."""
    if isinstance(value, date):  # times, those of pandas included
        return value.isoformat()
    return value.decode(errors="replace") if isinstance(value, bytes) else str(value)


def _without_nulls(value: Any) -> Any:
    """Leave out keys that a row has only because other rows have them."""
    if isinstance(value, dict):
        return {key: _without_nulls(one) for key, one in value.items() if one is not None}
    return [_without_nulls(one) for one in value] if isinstance(value, list) else value


def _numbered(read: Callable[[int], bytes], raw: BinaryIO, watch: Watch) -> Numbered:
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

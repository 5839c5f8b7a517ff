"""Read one safetensors file strictly.

    8 bytes: length n of the header | n bytes: JSON | the numbers, without gaps

Every statement of the header is checked against the file's size before any number is read: types,
shapes, and that tensors follow each other without gap or overlap to the last byte. Reads are
bounded, whatever the file claims.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Final

import msgspec
import numpy as np

from monitor.probes.weights.errors import damaged, unsupported
from monitor.probes.weights.files import WeightFile
from monitor.probes.weights.numbers import DECODERS, SIZES, Numbers

LARGEST_HEADER: Final = 16 << 20
"""Bytes; an adapter of 224 modules has 60 kB. The format itself ends at 100 MB."""
LARGEST_NAME: Final = 1024
MOST_DIMENSIONS: Final = 8
BLOCK: Final = 1 << 20
"""Numbers read at once."""
_LENGTH: Final = 8
_METADATA: Final = "__metadata__"


_Whole = Annotated[int, msgspec.Meta(ge=0, le=2**63 - 1)]


class _Entry(msgspec.Struct, forbid_unknown_fields=True):
    """The header's entry for one tensor."""

    dtype: str
    shape: Annotated[list[_Whole], msgspec.Meta(max_length=MOST_DIMENSIONS)]
    data_offsets: tuple[_Whole, _Whole]


_NAMES: Final = msgspec.json.Decoder(dict[str, msgspec.Raw])
_ENTRY: Final = msgspec.json.Decoder(_Entry)
_TEXTS: Final = msgspec.json.Decoder(dict[str, str])


@dataclass(frozen=True, slots=True, kw_only=True)
class Tensor:
    """The place of a tensor in its file; numbers are read on demand."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    file: WeightFile
    begin: int

    @property
    def rows(self) -> int:
        """The first dimension; the others together are the columns."""
        return self.shape[0] if self.shape else 1

    @property
    def columns(self) -> int:
        return math.prod(self.shape[1:])

    @property
    def empty(self) -> bool:
        """True if it has no numbers, however large its other dimensions are."""
        return 0 in self.shape

    def by_rows(self) -> Iterator[Numbers]:
        """Yield blocks of whole rows ``(<= m, columns)``, of about ``BLOCK`` numbers."""
        at_once = max(1, BLOCK // max(1, self.columns))
        if self.empty:
            return
        for first in range(0, self.rows, at_once):
            count = min(at_once, self.rows - first)
            numbers = self._numbers(first * self.columns, count * self.columns)
            yield numbers.reshape(count, self.columns)

    def by_columns(self) -> Iterator[Numbers]:
        """Yield blocks of columns, transposed: ``(<= n, rows)``."""
        at_once = max(1, BLOCK // max(1, self.rows))
        if self.empty:
            return
        if at_once >= self.columns:
            yield self._numbers(0, self.rows * self.columns).reshape(self.rows, -1).T
            return
        for first in range(0, self.columns, at_once):
            yield self._columns(first, min(at_once, self.columns - first))

    def flat(self) -> Iterator[Numbers]:
        """Yield all numbers in order, ``BLOCK`` at a time."""
        total = math.prod(self.shape)
        for first in range(0, total, BLOCK):
            yield self._numbers(first, min(BLOCK, total - first))

    def _columns(self, first: int, count: int) -> Numbers:
        parts = [self._numbers(row * self.columns + first, count) for row in range(self.rows)]
        return np.stack(parts, axis=1)

    def _numbers(self, first: int, count: int) -> Numbers:
        decode = DECODERS.get(self.dtype)
        if decode is None:
            raise unsupported(f"{self.name}: {self.dtype} is no float type; it is quantised")
        size = SIZES[self.dtype]
        return decode(self.file.read(self.begin + first * size, count * size))


def tensors_of(file: WeightFile) -> dict[str, Tensor]:
    """Check a file against the format and return its tensors by name.

    Raises
    ------
    WeightsRefused
        The file violates the format; the message names the first fault found.
    """
    start, header = _header(file)
    found = {
        name: _tensor(file, name, entry, start=start) for name, entry in _entries(file, header)
    }
    _refuse_holes(file, found.values(), start=start)
    return found


def _header(file: WeightFile) -> tuple[int, bytes]:
    """Return the offset of the numbers, and the bytes of the header."""
    if file.size < _LENGTH:
        raise damaged(f"{file.name}: {file.size} bytes are too few for safetensors")
    first = file.read(0, _LENGTH)
    _refuse_pickle(file, first)
    length = int.from_bytes(first, "little")
    if length > file.size - _LENGTH:
        raise damaged(
            f"{file.name}: says that its header has {length:,} bytes; the file has {file.size:,}"
        )
    if length > LARGEST_HEADER:
        raise damaged(
            f"{file.name}: its header has {length:,} bytes; at most {LARGEST_HEADER:,} are read"
        )
    return _LENGTH + length, file.read(_LENGTH, length)


def _refuse_pickle(file: WeightFile, first: bytes) -> None:
    """Name the commonest mistake; any other file fails as a header."""
    if first.startswith((b"PK\x03\x04", b"\x80\x02", b"\x80\x03", b"\x80\x04", b"\x80\x05")):
        kind = "a zip archive or a pickle, as torch.save writes"
        raise damaged(f"{file.name}: is {kind}, not safetensors; it was not opened as one")


def _entries(file: WeightFile, header: bytes) -> Iterator[tuple[str, _Entry]]:
    if not header.startswith(b"{"):
        raise damaged(f"{file.name}: its header does not begin with '{{'")
    try:
        header.decode()
        raw = _NAMES.decode(header)
        _TEXTS.decode(raw.pop(_METADATA, msgspec.Raw(b"{}")))
        entries = [(name, _ENTRY.decode(entry)) for name, entry in raw.items()]
        # only now: what is checked is small, and no deeper than a header is
        json.loads(header, object_pairs_hook=_refuse_twice)
    except (ValueError, RecursionError) as error:  # msgspec's errors are ValueErrors
        raise damaged(f"{file.name}: its header is not one of safetensors: {error}") from None
    yield from entries


def _refuse_twice(pairs: list[tuple[str, Any]]) -> None:
    seen = set()
    for name, _ in pairs:
        if name in seen:
            raise ValueError(f"{name[:80]!r} stands in it twice")
        seen.add(name)


def _tensor(file: WeightFile, name: str, entry: _Entry, *, start: int) -> Tensor:
    if not name or len(name) > LARGEST_NAME or not name.isprintable():
        raise damaged(f"{file.name}: the tensor name {name[:80]!r} is not printable text")
    label = f"{file.name}: {name}"
    size = SIZES.get(entry.dtype)
    if size is None:
        raise damaged(f"{label} has the unknown type {entry.dtype[:40]!r}")
    begin, end = entry.data_offsets
    if not begin <= end <= file.size - start:
        raise damaged(f"{label} lies at bytes {begin} to {end}, outside the file")
    if end - begin != math.prod(entry.shape) * size:
        raise damaged(
            f"{label} has {end - begin} bytes, which {entry.dtype} numbers of shape"
            f" {entry.shape} do not fill"
        )
    return Tensor(
        name=name, dtype=entry.dtype, shape=tuple(entry.shape), file=file, begin=start + begin
    )


def _refuse_holes(file: WeightFile, tensors: Any, *, start: int) -> None:
    """Require every byte to belong to exactly one tensor, so that nothing hides in gaps."""
    reached = start
    for tensor in sorted(tensors, key=lambda tensor: (tensor.begin, math.prod(tensor.shape))):
        if tensor.begin != reached:
            what = "overlaps the tensor before it" if tensor.begin < reached else "follows a gap"
            raise damaged(f"{file.name}: {tensor.name} {what}")
        reached += math.prod(tensor.shape) * SIZES[tensor.dtype]
    if reached != file.size:
        raise damaged(f"{file.name}: {file.size - reached:,} bytes at its end belong to no tensor")


def total_bytes(tensors: Mapping[str, Tensor]) -> int:
    """Return the bytes of all numbers."""
    return sum(math.prod(tensor.shape) * SIZES[tensor.dtype] for tensor in tensors.values())

"""Read files of a model folder, trusting neither their type nor their links.

Files are read, never mapped: one that shrinks while it is mapped would kill the process.
"""

from __future__ import annotations

import hashlib
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from monitor.probes.weights.errors import damaged, missing

CHUNK: Final = 1 << 20
LARGE: Final = 1 << 30
"""From this size on, unwritten bytes are checked for: reading zeros takes minutes."""
SPARSE: Final = 16
"""A large file with less than this fraction of its size on disk holds no weights."""
_BLOCK: Final = 512  # unit of st_blocks, on any file system


@dataclass(frozen=True, slots=True, kw_only=True)
class WeightFile:
    """A regular file open for reading; ``size`` is its size when opened."""

    name: str
    descriptor: int
    size: int

    def read(self, offset: int, count: int) -> bytes:
        """Return exactly ``count`` bytes; refused if the file no longer has them."""
        found = bytearray()
        while len(found) < count:
            part = os.pread(self.descriptor, count - len(found), offset + len(found))
            if not part:
                raise damaged(f"{self.name}: became shorter while it was read")
            found += part
        return bytes(found)

    def sha256(self) -> str:
        """Hash its contents, as ``sha256sum`` prints it."""
        total = hashlib.sha256()
        for offset in range(0, self.size, CHUNK):
            total.update(self.read(offset, min(CHUNK, self.size - offset)))
        return total.hexdigest()


@contextmanager
def opened(folder: Path, name: str) -> Iterator[WeightFile]:
    """Open a file of a folder by its plain name.

    Raises
    ------
    WeightsRefused
        It is missing, unreadable, outside the folder, not a regular file, or nearly all hole.
    """
    path = _inside(folder, name)
    try:
        # a FIFO without a writer would block for ever; the path is resolved, so a link here is new
        descriptor = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOFOLLOW)
    except OSError as error:
        raise missing(f"{name}: {error.strerror}") from None
    try:
        found = os.fstat(descriptor)
        if not stat.S_ISREG(found.st_mode):
            raise damaged(f"{name}: is not a regular file")
        refuse_hole(name, found)
        yield WeightFile(name=name, descriptor=descriptor, size=found.st_size)
    except OSError as error:
        raise missing(f"{name}: {error.strerror}") from None
    finally:
        os.close(descriptor)


def refuse_hole(name: str, found: os.stat_result) -> None:
    """Refuse a sparse file: weights fill theirs, and no file system compresses them to 1/16."""
    written = found.st_blocks * _BLOCK
    if found.st_size >= LARGE and written * SPARSE < found.st_size:
        raise damaged(
            f"{name}: has {found.st_size:,} bytes, of which {written:,} were ever written"
        )


def read_small(folder: Path, name: str, *, limit: int) -> bytes:
    """Read a whole file of at most ``limit`` bytes."""
    with opened(folder, name) as file:
        if file.size > limit:
            raise damaged(f"{name}: has {file.size:,} bytes; at most {limit:,} are read")
        return file.read(0, file.size)


def exists(folder: Path, name: str) -> bool:
    """True if the folder has an entry of this name, of any kind."""
    try:
        return os.path.lexists(folder / name)
    except OSError:
        return False


def _inside(folder: Path, name: str) -> Path:
    if not name.isprintable() or name in {"", ".", ".."} or "/" in name or "\\" in name:
        raise damaged(f"{name!r}: is not a plain file name")
    try:
        home = folder.resolve(strict=True)
        path = (home / name).resolve(strict=True)
    except (OSError, RuntimeError) as error:  # RuntimeError: links in a circle
        reason = error.strerror if isinstance(error, OSError) else "links to itself"
        raise missing(f"{name}: {reason}") from None
    if not any(path.is_relative_to(root) for root in _homes(home)):
        raise damaged(f"{name}: leads out of the folder")
    return path


def _homes(folder: Path) -> list[Path]:
    """List where the folder's links may lead: a hub cache stores contents beside its snapshots."""
    in_cache = folder.parent.name == "snapshots"
    return [folder, *([folder.parent.parent / "blobs"] if in_cache else [])]

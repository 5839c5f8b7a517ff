"""Room on the disk of an embedded server: a reserve, and when it is given up.

PostgreSQL that finds no room for its log ends, and needs some to start again. So a file of
zeros lies beside the cluster. When the disk runs short it is deleted: the server has that
much then to come up and to write what people must be told, while whoever uses it takes
nothing more in. It is made anew when there is room for it and as much again.
"""

from __future__ import annotations

import contextlib
import os
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import structlog

MIB: Final = 1 << 20
LARGEST: Final = 64 * MIB
"""Bytes of the reserve on a disk of a gigabyte or more."""
SHARE: Final = 16
"""On a smaller disk it is this part of all."""
MOST_WAL: Final = 1024
LEAST_WAL: Final = 32
"""MiB of log; PostgreSQL needs two files of 16."""

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Reserve:
    """The reserve of a server's folder."""

    root: Path

    @property
    def path(self) -> Path:
        """The file of zeros; its absence says that the disk ran short."""
        return self.root / "reserve"

    def short(self) -> bool:
        """Whether nothing more should be taken in; costs a look at the file system.

        Once the reserve is gone, the disk is short until it fits in again.
        """
        try:
            disk = shutil.disk_usage(self.root)
        except OSError:  # before the folder is made, or after it is gone
            return False
        size = _size(disk.total)
        return disk.free < (size if self.path.exists() else 3 * size)

    def keep(self) -> None:
        """Give the reserve up where the disk is short, make it where there is room."""
        try:
            disk = shutil.disk_usage(self.root)
        except OSError:
            return
        size = _size(disk.total)
        if disk.free < size and self.path.exists():
            self.path.unlink(missing_ok=True)
            log.error("disk_short", folder=str(self.root), free=disk.free, given_up=size)
        elif disk.free >= 3 * size and not self.path.exists():
            _fill(self.path, size)


def wal_size(root: Path) -> str:
    """How much log may be kept on this disk, as ``postgresql.conf`` says it."""
    mib = shutil.disk_usage(root).total // SHARE // MIB
    return f"{max(LEAST_WAL, min(MOST_WAL, mib))}MB"


def _size(total: int) -> int:
    return min(LARGEST, total // SHARE)


def _fill(path: Path, size: int) -> None:
    """Take the room; of several processes one does."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

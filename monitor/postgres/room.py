"""Keep a disk reserve for an embedded server, and release it when space runs short.

PostgreSQL ends when it has no space for its log, and needs some to start again. So a file of zeros
lies beside the cluster. When the disk runs short it is deleted: the server can then start and write
messages to people, while its users take in no more records. It is created again once there is space
for it and as much again.
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
"""On a smaller disk the reserve is this fraction of the whole."""
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
        """The file of zeros; if it is missing, the disk ran short."""
        return self.root / "reserve"

    def short(self) -> bool:
        """True if no more records should be taken in; costs a look at the file system.

        Once the reserve is gone, the disk counts as short until it fits again.
        """
        try:
            disk = shutil.disk_usage(self.root)
        except OSError:  # before the folder is created, or after it was deleted
            return False
        size = _size(disk.total)
        return disk.free < (size if self.path.exists() else 3 * size)

    def keep(self) -> None:
        """Delete the reserve if the disk is short, create it if there is space."""
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
    """Return the limit of the log on this disk, in the form of ``postgresql.conf``."""
    mib = shutil.disk_usage(root).total // SHARE // MIB
    return f"{max(LEAST_WAL, min(MOST_WAL, mib))}MB"


def _size(total: int) -> int:
    return min(LARGEST, total // SHARE)


def _fill(path: Path, size: int) -> None:
    """Create the reserve; of several processes one does."""
    with contextlib.suppress(OSError):
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        try:
            os.posix_fallocate(descriptor, 0, size)
        except OSError:
            path.unlink(missing_ok=True)
        finally:
            os.close(descriptor)

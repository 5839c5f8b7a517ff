"""Files in which the gateway keeps what the service told it, over restarts of either."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import msgspec
import structlog

_LOG: Final = structlog.get_logger(__name__)

Kept = TypeVar("Kept")


def read_cached(path: Path | None, read: Callable[[bytes], Kept], *, what: str) -> Kept | None:
    """Read what an earlier run kept; None, logged, if the file is unusable, or if there is none."""
    if path is None:
        return None
    try:
        return read(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError) as error:
        _LOG.warning(f"kept_{what}_unusable", error=type(error).__name__)
        return None


def replace_cached(path: Path | None, told: object, *, what: str) -> None:
    """Keep what is in force already; a failure, which is logged, only shows after a restart."""
    if path is None:
        return
    try:
        _replace(path, msgspec.json.encode(told))
    except OSError as error:
        _LOG.warning(f"{what}_not_kept", error=error.strerror)


def _replace(path: Path, body: bytes) -> None:
    """Replace a file atomically: a reader, or a crash, sees the old file or the new one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(body)
            file.flush()
            os.fsync(file.fileno())
        Path(name).replace(path)
    except BaseException:
        Path(name).unlink(missing_ok=True)
        raise

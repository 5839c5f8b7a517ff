"""Copy an adapter's files in a process of its own: a client that hangs or grows harms nobody."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import timedelta
from enum import StrEnum
from pathlib import Path
from typing import Final

import msgspec

from monitor.environment import without_settings

QUIET: Final = {"HF_HUB_DISABLE_TELEMETRY": "1", "DO_NOT_TRACK": "1"}


class CopyKind(StrEnum):
    """The tasks of the process."""

    FETCH = "fetch"
    """Copy what is at an address into a folder."""
    PUT = "put"
    """Copy a folder to an address."""
    HASH = "hash"
    """Hash the files at an address, as a dataset."""


class CopyAsked(msgspec.Struct, frozen=True, kw_only=True):
    """One task; ``most`` is the number of bytes of all files."""

    kind: CopyKind
    address: str
    folder: str = ""
    most: int = 0


class CopyDone(msgspec.Struct, frozen=True, kw_only=True):
    """The outcome; an empty ``error`` is success. ``missing``: there is nothing at the address."""

    error: str = ""
    missing: bool = False
    sha256: str = ""


class CopyFailed(Exception):  # noqa: N818 (named as the outcome)
    """Nothing was copied; the message names no secret."""

    def __init__(self, reason: str, *, missing: bool = False) -> None:
        super().__init__(reason)
        self.missing = missing


def fetch(address: str, folder: Path, *, most: int, timeout: timedelta) -> None:
    """Copy an adapter's files into a folder; raises CopyFailed."""
    asked = CopyAsked(kind=CopyKind.FETCH, address=address, folder=str(folder), most=most)
    _ask(asked, timeout)


def put(folder: Path, address: str, *, timeout: timedelta) -> None:
    """Copy a folder's files to an address; raises CopyFailed."""
    _ask(CopyAsked(kind=CopyKind.PUT, address=address, folder=str(folder)), timeout)


def dataset_at(address: str, *, timeout: timedelta) -> str:
    """Hash the files at an address as :func:`described.dataset_hash` does; raises CopyFailed."""
    return _ask(CopyAsked(kind=CopyKind.HASH, address=address), timeout).sha256


def _ask(asked: CopyAsked, timeout: timedelta) -> CopyDone:
    seconds = timeout.total_seconds()
    # credentials of clouds are in their own variables
    inherited = without_settings(os.environ)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "monitor.artifacts"],
            input=msgspec.json.encode(asked),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=inherited | QUIET,
            timeout=seconds,
            check=True,
        )
        said = _DONE.decode(done.stdout)
    except subprocess.TimeoutExpired:
        raise CopyFailed(f"it took longer than {seconds:.0f} s") from None
    except subprocess.CalledProcessError as error:
        raise CopyFailed(f"the process that copies ended with {error.returncode}") from None
    except msgspec.DecodeError:
        raise CopyFailed("the process that copies was not understood") from None
    if said.error:
        raise CopyFailed(said.error, missing=said.missing)
    return said


_DONE: Final = msgspec.json.Decoder(CopyDone)

"""A folder of adapters by their identity, of limited size."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Final, NamedTuple

import msgspec
import structlog

from monitor.artifacts.wanted import WANTED
from monitor.probes.weights.adapter_folder import opened_adapter
from monitor.probes.weights.errors import damaged

_LOG: Final = structlog.get_logger(__name__)
_PART: Final = ".part-"
_ABANDONED: Final = 86_400.0
"""Seconds after which nobody copies into a folder any more."""


class KeptArtifact(msgspec.Struct, frozen=True, kw_only=True):
    """An adapter of the cache: its identity, and the hash of its weights file alone."""

    identity: str
    sha256: str


class ArtifactCache:
    """Adapters by identity, and which address each was fetched from. Any number of processes.

    The files of an adapter lie in ``identity`` and never change; ``.places`` holds a file for each
    address. Those used longest ago go when the files are larger than ``most_bytes`` together.
    """

    def __init__(self, folder: Path, *, most_bytes: int) -> None:
        self._folder = folder
        self._most_bytes = most_bytes

    def find(self, address: str, *, sha256: str | None) -> Path | None:
        """Return the folder of a version that was fetched, by its hash or else by its address."""
        known = self._known(address) if address else None
        if sha256 is not None and (known is None or sha256 not in {known.identity, known.sha256}):
            known = KeptArtifact(identity=sha256, sha256="")
        if known is None or not known.identity.isalnum():
            return None
        found = self._folder / known.identity
        if not _whole(found):
            return None
        with suppress(OSError):  # another user's, or just dropped
            os.utime(found)
        return found

    @contextmanager
    def room(self) -> Iterator[Path]:
        """Provide an empty folder to copy files into; it is gone afterwards unless it was kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        self._tidy()
        made = Path(tempfile.mkdtemp(prefix=_PART, dir=self._folder))
        try:
            yield made
        finally:
            shutil.rmtree(made, ignore_errors=True)

    def keep(self, files: Path, address: str, *, sha256: str | None) -> Path:
        """Verify copied files, and keep them.

        Raises
        ------
        WeightsRefused
            They are no adapter, or another one than ``sha256`` says.
        """
        with opened_adapter(files) as adapter:
            kept = KeptArtifact(identity=adapter.identity, sha256=adapter.sha256)
        if sha256 not in {None, kept.identity, kept.sha256}:
            raise damaged(
                f"the files at its address are {kept.identity[:12]}…, not those of its registration"
            )
        target = self._folder / kept.identity
        if target.exists() and not _whole(target):
            _remove(target)
        files.chmod(0o755)
        try:
            files.rename(target)
        except OSError:
            if not _whole(target):
                raise
            os.utime(target)  # another process was sooner
        if address:
            self._note(address, kept)
        self._shrink(besides=target)
        return target

    def _known(self, address: str) -> KeptArtifact | None:
        try:
            return _KEPT.decode(self._place(address).read_bytes())
        except (OSError, msgspec.DecodeError):
            return None

    def _note(self, address: str, kept: KeptArtifact) -> None:
        place = self._place(address)
        place.parent.mkdir(exist_ok=True)
        with tempfile.NamedTemporaryFile(dir=place.parent, prefix=".part-", delete=False) as part:
            part.write(msgspec.json.encode(kept))
        Path(part.name).replace(place)

    def _place(self, address: str) -> Path:
        name = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()
        return self._folder / ".places" / name

    def _shrink(self, *, besides: Path) -> None:
        entries = [found for one in self._folder.iterdir() if (found := _entry(one)) is not None]
        total = sum(one.size for one in entries)
        for oldest in sorted(entries, key=lambda one: one.used_at):
            if total <= self._most_bytes:
                return
            if oldest.folder != besides:
                _remove(oldest.folder)
                total -= oldest.size
                _LOG.info("artifact_dropped", identity=oldest.folder.name, bytes=oldest.size)

    def _tidy(self) -> None:
        """Remove what processes left that were killed while they copied."""
        for one in self._folder.glob(f"{_PART}*"):
            with suppress(OSError):
                if one.stat().st_mtime < time.time() - _ABANDONED:
                    shutil.rmtree(one, ignore_errors=True)


class _Entry(NamedTuple):
    folder: Path
    size: int
    used_at: float


def _entry(folder: Path) -> _Entry | None:
    if not folder.name.isalnum():
        return None
    try:
        size = sum(file.stat().st_size for file in folder.iterdir())
        return _Entry(folder, size, folder.stat().st_mtime)
    except OSError:  # another process has just removed it
        return None


def _remove(folder: Path) -> None:
    """Take a folder away whole, so that nobody finds half of it."""
    aside = folder.with_name(f"{_PART}{folder.name}-{os.getpid()}")
    with suppress(OSError):
        folder.rename(aside)
    shutil.rmtree(aside, ignore_errors=True)


def _whole(folder: Path) -> bool:
    return all((folder / name).is_file() for name in WANTED)


_KEPT: Final = msgspec.json.Decoder(KeptArtifact)

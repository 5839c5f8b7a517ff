"""A folder of adapters by their identity, of limited size."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import msgspec
import structlog

from monitor.probes.weights.adapter_folder import opened_adapter
from monitor.probes.weights.errors import damaged

_LOG: Final = structlog.get_logger(__name__)


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
        known = self._known(address)
        if sha256 is not None and (known is None or sha256 not in {known.identity, known.sha256}):
            known = KeptArtifact(identity=sha256, sha256="")
        if known is None or not known.identity.isalnum():
            return None
        found = self._folder / known.identity
        if not found.is_dir():
            return None
        os.utime(found)
        return found

    @contextmanager
    def room(self) -> Iterator[Path]:
        """Provide an empty folder to copy files into; it is gone afterwards unless it was kept."""
        self._folder.mkdir(parents=True, exist_ok=True)
        made = Path(tempfile.mkdtemp(prefix=".part-", dir=self._folder))
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
        files.chmod(0o755)
        try:
            files.rename(target)
        except OSError:  # another process was sooner
            if not target.is_dir():
                raise
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
        part = place.with_suffix(f".{os.getpid()}")
        part.write_bytes(msgspec.json.encode(kept))
        part.replace(place)

    def _place(self, address: str) -> Path:
        name = hashlib.sha256(address.encode("utf-8", "surrogateescape")).hexdigest()
        return self._folder / ".places" / name

    def _shrink(self, *, besides: Path) -> None:
        entries = [one for one in self._folder.iterdir() if one.name.isalnum() and one.is_dir()]
        sizes = {one: sum(file.stat().st_size for file in one.iterdir()) for one in entries}
        total = sum(sizes.values())
        for oldest in sorted(sizes, key=lambda one: one.stat().st_mtime):
            if total <= self._most_bytes:
                return
            if oldest != besides:
                shutil.rmtree(oldest, ignore_errors=True)
                total -= sizes[oldest]
                _LOG.info("artifact_dropped", identity=oldest.name, bytes=sizes[oldest])


_KEPT: Final = msgspec.json.Decoder(KeptArtifact)

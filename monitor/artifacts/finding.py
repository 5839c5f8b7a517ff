"""Find a version's files: in its folder, in the cache, at its address, or in the store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Protocol

import structlog

from monitor.artifacts import copying
from monitor.artifacts.cache import ArtifactCache
from monitor.artifacts.copying import CopyFailed
from monitor.artifacts.settings import STORED, ArtifactSettings
from monitor.artifacts.stores import AdapterStore
from monitor.probes.asking import LOCAL, local_folder
from monitor.probes.weights.errors import unsupported

_LOG: Final = structlog.get_logger(__name__)
_IDENTITY: Final = re.compile(r"[0-9a-f]{64}")


class RegisteredFiles(Protocol):
    """The registered facts about a version's files."""

    @property
    def label(self) -> str: ...
    @property
    def uri(self) -> str | None: ...
    @property
    def sha256(self) -> str | None: ...


class Artifacts:
    """Finds adapters' files. ``at_hand`` asks nobody; ``fetched`` may take minutes."""

    def __init__(
        self, settings: ArtifactSettings, cache: ArtifactCache, store: AdapterStore | None = None
    ) -> None:
        self._settings = settings
        self._cache = cache
        self._store = store

    @property
    def readable(self) -> tuple[str, ...]:
        """Beginnings of the addresses of versions that may be read here."""
        stored = (STORED,) if self._store is not None else ()
        return (*LOCAL, *self._settings.sources, *stored)

    def at_hand(self, version: RegisteredFiles) -> Path | None:
        """Return the folder of a version's files on this machine; None: they are elsewhere.

        A registered folder is returned even where this machine has no such folder.
        """
        folder = local_folder(version.uri or "")
        if folder is not None and folder.is_dir():
            return folder
        try:
            found = self._cache.find(self._place(version), sha256=version.sha256)
        except OSError:
            return folder
        return found or folder

    def fetched(self, version: RegisteredFiles) -> Path | None:
        """Return the folder, after fetching the files if they are elsewhere.

        None, or a folder that is not there: nothing is known of where they are.

        Raises
        ------
        WeightsRefused
            They cannot be fetched, are no adapter, or are not those of the registration.
        """
        folder = self.at_hand(version)
        if folder is not None and folder.is_dir():
            return folder
        try:
            return self._from_address(version) or self._from_store(version) or folder
        except OSError as error:
            _LOG.warning("artifact_not_kept", version=version.label, reason=error.strerror)
            raise unsupported(f"its files could not be kept here: {error.strerror}") from None
        except CopyFailed as failed:
            _LOG.warning("artifact_not_fetched", version=version.label, reason=str(failed))
            raise unsupported(f"its files could not be fetched: {failed}") from None

    def _place(self, version: RegisteredFiles) -> str:
        """Return a version's address, if it may be fetched; else an empty text."""
        address = version.uri or ""
        return address if self._settings.allows(address) else ""

    def _from_address(self, version: RegisteredFiles) -> Path | None:
        """Fetch the files from their address; None: it is none of the sources."""
        address = self._place(version)
        if not address:
            return None
        most, timeout = self._settings.largest, self._settings.timeout
        with self._cache.room() as room:
            try:
                copying.fetch(address, room, most=most, timeout=timeout)
            except CopyFailed as failed:
                if found := self._from_store(version):
                    return found
                raise failed from None
            return self._kept(version, room)

    def _from_store(self, version: RegisteredFiles) -> Path | None:
        """Take the files from the store; None: there is none, or it does not have them."""
        identity = version.sha256 or ""
        if self._store is None or not _IDENTITY.fullmatch(identity):
            return None
        with self._cache.room() as room:
            try:
                self._store.get(identity, room)
            except CopyFailed as failed:
                if failed.missing:
                    return None
                raise
            return self._kept(version, room)

    def _kept(self, version: RegisteredFiles, room: Path) -> Path:
        found = self._cache.keep(room, self._place(version), sha256=version.sha256)
        _LOG.info("artifact_fetched", version=version.label, identity=found.name)
        return found

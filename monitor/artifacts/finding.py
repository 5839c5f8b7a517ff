"""Find a version's files: in its folder, in the cache, at its address, or in the store."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Final, Protocol

import structlog

from monitor.artifacts import copying
from monitor.artifacts.cache import ArtifactCache
from monitor.artifacts.copying import CopyFailed
from monitor.artifacts.settings import ArtifactSettings
from monitor.artifacts.stores import AdapterStore
from monitor.probes.asking import local_folder
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

    def at_hand(self, version: RegisteredFiles) -> Path | None:
        """Return the folder of a version's files on this machine; None: they are elsewhere.

        A registered folder is returned even where this machine has no such folder.
        """
        folder = local_folder(version.uri or "")
        if folder is not None and folder.is_dir():
            return folder
        return self._cache.find(version.uri or "", sha256=version.sha256) or folder

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
        address, sha256 = version.uri or "", version.sha256 or ""
        try:
            if self._settings.allows(address):
                return self._fetch(version, address)
            if self._store is not None and _IDENTITY.fullmatch(sha256):
                return self._take(version, self._store, sha256)
        except CopyFailed as failed:
            _LOG.warning("artifact_not_fetched", version=version.label, reason=str(failed))
            raise unsupported(f"its files could not be fetched: {failed}") from None
        return folder

    def _fetch(self, version: RegisteredFiles, address: str) -> Path:
        with self._cache.room() as room:
            copying.fetch(
                address, room, most=self._settings.largest, timeout=self._settings.timeout
            )
            return self._kept(version, room)

    def _take(self, version: RegisteredFiles, store: AdapterStore, identity: str) -> Path | None:
        with self._cache.room() as room:
            try:
                store.get(identity, room)
            except CopyFailed as failed:
                if failed.missing:
                    return local_folder(version.uri or "")
                raise
            return self._kept(version, room)

    def _kept(self, version: RegisteredFiles, room: Path) -> Path:
        found = self._cache.keep(room, version.uri or "", sha256=version.sha256)
        _LOG.info("artifact_fetched", version=version.label, identity=found.name)
        return found

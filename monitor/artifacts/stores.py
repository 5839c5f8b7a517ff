"""Stores of adapters by their identity: objects or a folder, or a Redis or Valkey."""

from __future__ import annotations

import math
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, Protocol

import msgspec

from alerts.outgoing import OutgoingClient
from monitor.artifacts import copying
from monitor.artifacts.copying import CopyFailed
from monitor.artifacts.settings import REDIS, ArtifactSettings
from monitor.artifacts.wanted import WANTED
from monitor.redis import LARGEST, Conversation, RedisFailed, RedisServer, place

PART: Final = LARGEST // 2
"""Bytes of a value; a file is several."""


class AdapterStore(Protocol):
    """Holds adapters' files under their identity. Methods raise CopyFailed."""

    def get(self, identity: str, folder: Path) -> None:
        """Copy the files into a folder; ``missing`` if there are none."""
        ...

    def put(self, identity: str, folder: Path) -> None:
        """Store a folder's files, in place of what is stored."""
        ...


def open_store(settings: ArtifactSettings, client: OutgoingClient) -> AdapterStore | None:
    """Return the store of the settings; None if they name none."""
    if not settings.store:
        return None
    if settings.store.startswith(REDIS):
        server = RedisServer(
            place=place(settings.store),
            client=client,
            username=settings.store_username,
            password=settings.store_password,
            timeout=settings.timeout,
        )
        return RedisStore(server, most=settings.largest)
    return FilesStore(settings.store, most=settings.largest, timeout=settings.timeout)


class FilesStore:
    """A folder of this machine, or of an object store: one folder for each identity."""

    def __init__(self, root: str, *, most: int, timeout: timedelta) -> None:
        self._root = root.rstrip("/")
        self._most = most
        self._timeout = timeout

    def get(self, identity: str, folder: Path) -> None:
        """See `AdapterStore`."""
        copying.fetch(self._at(identity), folder, most=self._most, timeout=self._timeout)

    def put(self, identity: str, folder: Path) -> None:
        """See `AdapterStore`."""
        copying.put(folder, self._at(identity), timeout=self._timeout)

    def _at(self, identity: str) -> str:
        return f"{self._root}/{identity}"


class StoredFiles(msgspec.Struct, frozen=True, kw_only=True):
    """The value of an adapter's own key: the bytes of each file."""

    files: dict[str, int]


class RedisStore:
    """Files in parts, each a value; the adapter's own key comes last, and names them."""

    def __init__(self, server: RedisServer, *, most: int) -> None:
        self._server = server
        self._most = most

    def get(self, identity: str, folder: Path) -> None:
        """See `AdapterStore`."""
        self._talk(lambda server: self._read(server, identity, folder))

    def put(self, identity: str, folder: Path) -> None:
        """See `AdapterStore`."""
        self._talk(lambda server: self._write(server, identity, folder))

    def _read(self, server: Conversation, identity: str, folder: Path) -> None:
        found = server.ask("GET", _key(identity))
        if found is None:
            raise CopyFailed("the store has no such adapter", missing=True)
        contents = _contents(found)
        if sum(contents.files.values()) > self._most:
            raise CopyFailed(f"it has more than {self._most:,} bytes")
        for name, size in contents.files.items():
            with (folder / name).open("wb") as file:
                for number in range(math.ceil(size / PART)):
                    part = server.ask("GET", _key(identity, name, number))
                    if not isinstance(part, bytes):
                        raise CopyFailed(f"the store has lost a part of {name}")
                    file.write(part)
                if file.tell() != size:
                    raise CopyFailed(f"{name} has {file.tell():,} bytes in place of {size:,}")

    def _write(self, server: Conversation, identity: str, folder: Path) -> None:
        files: dict[str, int] = {}
        for name in WANTED:
            if not (folder / name).is_file():
                continue
            with (folder / name).open("rb") as file:
                number = 0
                while part := file.read(PART):
                    server.ask("SET", _key(identity, name, number), part)
                    number += 1
                files[name] = file.tell()
        server.ask("SET", _key(identity), msgspec.json.encode(StoredFiles(files=files)))

    def _talk(self, say: Any) -> None:
        try:
            self._server.talk(say)
        except RedisFailed as failed:
            raise CopyFailed(str(failed)) from None


def _contents(found: object) -> StoredFiles:
    try:
        read = msgspec.json.decode(found if isinstance(found, bytes) else b"", type=StoredFiles)
    except (msgspec.DecodeError, ValueError):
        raise CopyFailed("the store's entry is not one of Driftline's") from None
    wrong = [name for name, size in read.files.items() if not 0 <= size <= WANTED.get(name, -1)]
    if wrong:
        raise CopyFailed("the store's entry names files that no adapter has")
    return read


def _key(identity: str, *parts: str | int) -> str:
    return ":".join(["driftline", "adapter", identity, *map(str, parts)])

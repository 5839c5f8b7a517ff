"""The settings of adapters' files; each field is a key of ``[artifacts]`` in the config."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Final

from monitor.redis import place

SCHEMES: Final = ("hf://", "s3://", "gs://")
OBJECTS: Final = ("s3://", "gs://")
STORED: Final = "store:"
"""Begins the address of a version whose files are in the store alone."""
_ODD: Final = re.compile(r"::|[%?#\\\s\x00-\x1f\x7f]")
REDIS: Final = ("redis://", "rediss://")


@dataclass(frozen=True, slots=True, kw_only=True)
class ArtifactSettings:
    """Where files may be fetched from, and where they are kept.

    sources
        Beginnings of addresses that are fetched, such as ``hf://acme/`` and ``s3://models/``.
    cache
        A folder; empty: ``adapters`` in the data folder. Engines that load from it must read it.
    cache_bytes
        Of all files in it; those used longest ago go first.
    largest
        The most bytes of one adapter.
    timeout
        For copying one adapter.
    store
        Where adapters are kept by their identity: ``redis://host:6379/0``, ``s3://bucket/adapters``,
        ``gs://bucket/adapters`` or a folder; empty: nowhere.
    store_username, store_password
        Of a Redis or Valkey.
    """

    sources: tuple[str, ...] = ()
    cache: str = ""
    cache_bytes: int = 20 << 30
    largest: int = 4 << 30
    timeout: timedelta = timedelta(minutes=10)
    store: str = ""
    store_username: str = ""
    store_password: str = field(default="", repr=False)

    @property
    def problems(self) -> list[str]:
        """List what cannot work, each with its key."""
        found = [
            f"sources: {one!r:.80}: expected {', '.join(SCHEMES)}, a name, and a slash at the end"
            for one in self.sources
            if one in SCHEMES or not (one.startswith(SCHEMES) and one.endswith("/"))
        ]
        if not 0 < self.largest <= self.cache_bytes:
            found.append("largest: must be above 0, and at most `cache_bytes`")
        if self.timeout <= timedelta():
            found.append("timeout: must be longer than 0")
        if self.store.startswith(REDIS):
            try:
                place(self.store)
            except ValueError as error:
                found.append(f"store: {error}")
        elif self.store and (self.store in OBJECTS or not self.store.startswith(("/", *OBJECTS))):
            found.append("store: expected redis://…, s3://BUCKET/…, gs://BUCKET/… or /FOLDER")
        return found

    def allows(self, address: str) -> bool:
        """True if an address may be fetched: it begins as a source does, and means what it says.

        It climbs nowhere, chains no file systems, and names no pull request of a hub: anybody may
        open one.
        """
        odd = _ODD.search(address) or ".." in address.split("/") or "@refs/" in address
        return address.startswith(self.sources) and not odd

"""Find the adapter and version that a record belongs to."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final, NamedTuple

from monitor.capture.checks import NotRegistered
from monitor.domain import AdapterId, ArmKind, VersionId
from monitor.store.database import Database
from monitor.store.people.keys import may_send_for
from monitor.store.registry import directory
from monitor.store.registry.directory import ArmVersions

_FRESH_FOR: Final = 5.0
_AGAIN_AFTER: Final = 0.5


class Resolved(NamedTuple):
    """A record's adapter, version and arm; None for what cannot be told."""

    adapter_id: AdapterId
    version_id: VersionId | None
    arm: ArmKind | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A sender, named by its key's id; ``match`` is :attr:`monitor.store.people.keys.Key.match`."""

    name: str = ""
    match: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def may_name(self, adapter: str) -> bool:
        """False if no adapter of this name can be one that the sender may send for."""
        return adapter in self.match.get("adapter", (adapter,))


Resolve = Callable[[str, str | None, str | None, Sender], Resolved]
"""Maps the names of adapter, version and arm to their ids; raises ``NotRegistered``."""


def resolve_in(
    listings: Mapping[str, ArmVersions],
    adapter: str,
    version: str | None,
    arm: str | None,
    sender: Sender,
) -> Resolved:
    """Find adapter and version by name, among those that the sender may send for.

    A version that is not named is the one that the route's arm serves (the stable arm, if no arm is
    named), or the only one registered. An arm that is not named is the one that serves the version.
    Raises ``NotRegistered`` for other names; an adapter of others is told like one that is not
    there, whatever its versions.
    """
    listing = listings.get(adapter)
    if listing is None or not may_send_for(sender.match, listing.facts):
        theirs = ", or one that this key may not send for" if sender.match else ""
        raise NotRegistered(
            f"adapter: unknown adapter {adapter!r}{theirs};"
            f" register it with PUT /v1/adapters/{adapter}"
        )
    wanted = ArmKind(arm) if arm else None
    name = version or listing.arms.get(wanted or ArmKind.STABLE) or _only(listing)
    if name is None:
        return Resolved(listing.adapter_id, None, wanted)
    version_id = listing.versions.get(name)
    if version_id is None:
        raise NotRegistered(
            f"version: unknown version {name!r} of adapter {adapter!r};"
            f" register it with PUT /v1/adapters/{adapter}/versions/{name}"
        )
    return Resolved(listing.adapter_id, version_id, wanted or _arm_of(listing, name))


class Directory:
    """The listings for :func:`resolve_in`, read from the store at most every five seconds.

    An unknown name triggers another read at once (at most twice a second), so that a record may
    follow its version's registration immediately.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._listings: Mapping[str, ArmVersions] = {}
        self._read_at = float("-inf")

    def resolve(
        self, adapter: str, version: str | None, arm: str | None, sender: Sender
    ) -> Resolved:
        """Find adapter and version by name; see :func:`resolve_in`."""
        try:
            return resolve_in(self._current(_FRESH_FOR), adapter, version, arm, sender)
        except NotRegistered:
            return resolve_in(self._current(_AGAIN_AFTER), adapter, version, arm, sender)

    def _current(self, fresh_for: float) -> Mapping[str, ArmVersions]:
        with self._lock:
            if time.monotonic() - self._read_at > fresh_for:
                self._listings = self._database.run(directory.read)
                self._read_at = time.monotonic()
            return self._listings


def _only(listing: ArmVersions) -> str | None:
    return next(iter(listing.versions)) if len(listing.versions) == 1 else None


def _arm_of(listing: ArmVersions, version: str) -> ArmKind | None:
    return next((arm for arm, name in listing.arms.items() if name == version), None)

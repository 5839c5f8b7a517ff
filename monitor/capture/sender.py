"""The sender of records: its part of the queue, and the adapters it may send for."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.capture.checks import RecordRefused
from monitor.capture.directory import Resolved
from monitor.store.people.keys import may_send_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A sender, named by its key's id; ``match`` is :attr:`monitor.store.people.keys.Key.match`."""

    name: str = ""
    match: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def may_name(self, adapter: str) -> bool:
        """False if no adapter of this name can be one that the sender may send for."""
        return adapter in self.match.get("adapter", (adapter,))

    def check(self, adapter: str, found: Resolved) -> None:
        """Raise ``Refused`` if the sender may not send for this adapter."""
        if not may_send_for(self.match, found.facts):
            raise RecordRefused(f"adapter: this key may not send for {adapter!r}")

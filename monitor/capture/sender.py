"""Who sends records: what it may take of the queue, and for which adapters it may speak."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from monitor.capture.checks import Refused
from monitor.capture.directory import Resolved
from monitor.store.keys import may_send_for


@dataclass(frozen=True, slots=True, kw_only=True)
class Sender:
    """A key of its own, named by its id; ``match`` as :class:`monitor.store.keys.Key` has it."""

    name: str = ""
    match: Mapping[str, Sequence[str]] = field(default_factory=dict)

    def check(self, adapter: str, found: Resolved) -> None:
        """Raise ``Refused`` where it may not send for this adapter."""
        if not may_send_for(self.match, found.facts):
            raise Refused(f"adapter: this key may not send for {adapter!r}")

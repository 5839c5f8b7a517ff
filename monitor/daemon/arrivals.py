"""Register the adapters that engines list, as they appear."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any, Final

import structlog
from sqlalchemy import Connection

from monitor.capture.telemetry.names import TelemetrySettings
from monitor.config.sections import LONGEST
from monitor.domain import FIRST_VERSION
from monitor.probes.cards import ModelCard
from monitor.probes.declared import Declarations, DeclaredAdapter
from monitor.probes.engines import Engines
from monitor.store import audit, clock
from monitor.store.database import Database
from monitor.store.errors import Conflict
from monitor.store.registry import adapters, versions
from monitor.traffic import table

_LOG: Final = structlog.get_logger(__name__)

EVERY: Final = timedelta(seconds=15)
MOST: Final = 10_000
"""Names that are looked at while the process runs: an engine that makes them up fills no disk."""
_ACTOR: Final = "driftline"
_REFUSED: Final = "refused: "


@dataclass(kw_only=True)
class Arrivals:
    """Registers served adapters whose names match the pattern; any number of workers may.

    A model without a parent is a base, and a name that does not match is somebody else's.
    """

    database: Database
    engines: Engines
    names: TelemetrySettings
    declarations: Declarations = field(default_factory=lambda: Declarations(()))
    _done: dict[str, str] = field(default_factory=dict)
    """By served name, the result; one that was refused is tried again."""

    def turn(self) -> bool:
        """Register what is new; one that cannot be registered keeps no other from it."""
        cards = self.engines.adapters()
        declared: Mapping[str, DeclaredAdapter] = {}
        if any(card.id not in self._done for card in cards):
            declared = self.declarations.read()
        for card in cards:
            known = self._done.get(card.id)
            if known is None and len(self._done) >= MOST:
                continue
            if known is None or known.startswith(_REFUSED):
                self._done[card.id] = self._arrived(card, declared.get(card.id))
        return False

    @property
    def results(self) -> Mapping[str, str]:
        """Say of each served adapter: new, already registered, refused, or no match."""
        return self._done

    def _arrived(self, card: ModelCard, told: DeclaredAdapter | None) -> str:
        named = self.names.split(card.id)
        if named is None or not all(_fits(name) for name in named if name is not None):
            return "its name does not match capture.telemetry.pattern"
        adapter, version = named[0], named[1] or FIRST_VERSION
        try:
            done = self.database.run(lambda tx: _register(tx, card, adapter, version, told))
        except Conflict as error:
            done = f"{_REFUSED}{error}"
            if self._done.get(card.id) != done:
                _LOG.warning("adapter_refused", model=card.id, reason=str(error))
        return done


def _facts(told: DeclaredAdapter | None) -> dict[str, Any]:
    """Return an adapter's facts from the labels of its resource."""
    if told is None:
        return {}
    facts = {"owner": told.owner, "tier": told.tier}
    return {name: value for name, value in facts.items() if value} | {"labels": dict(told.others)}


def _fits(name: str) -> bool:
    return 1 <= len(name) <= LONGEST and "\x00" not in name


def _register(
    tx: Connection, card: ModelCard, adapter: str, version: str, told: DeclaredAdapter | None
) -> str:
    """Register one served adapter, with what its cluster declares of it, unless it is known."""
    if known := versions.served_as(tx, card.id):
        return f"already, as {known[0].label}"
    owner = adapters.fetch(tx, adapter) or adapters.put(tx, name=adapter, **_facts(told))
    found = versions.put(
        tx,
        adapter=owner,
        name=version,
        model=card.id,
        uri=(told.uri if told else None) or card.folder,
        base_model=card.parent or (told.base if told else None),
    )
    table.start(tx, found, actor=_ACTOR, now=clock.now(tx))
    audit.append(tx, actor=_ACTOR, act="version.found", subject=found.label)
    _LOG.info("adapter_found", version=found.label, model=card.id, base=card.parent)
    return "new"

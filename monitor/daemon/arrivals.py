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
from monitor.domain import FIRST_VERSION, Adapter, Version
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
_UNREAD: Final = "; what its cluster declares is not read yet"
_UNMATCHED: Final = "its name does not match capture.telemetry.pattern"
_UNNAMED: Final = "; nor do labels driftline/adapter and driftline/version of its resource name it"
_ENGINE: Final = "engine"
_CLUSTER: Final = "cluster"


@dataclass(kw_only=True)
class Arrivals:
    """Registers served adapters whose names match the pattern; any number of workers may.

    Labels of its resource count over the name, since names of Kubernetes' objects have no ``@``. A
    model without a parent is a base, and a name that does not match is somebody else's.
    """

    database: Database
    engines: Engines
    names: TelemetrySettings
    declarations: Declarations = field(default_factory=lambda: Declarations(()))
    _done: dict[str, str] = field(default_factory=dict)
    """By served name, the result; one that was refused, or is not read of yet, is tried again."""

    def turn(self) -> bool:
        """Register what is new; one that cannot be registered keeps no other from it."""
        waiting = [card for card in self.engines.adapters() if self._waits(card.id)]
        declared = self.declarations.read() if waiting else {}
        for card in waiting:
            if card.id in self._done or len(self._done) < MOST:
                self._done[card.id] = self._arrived(card, declared.get(card.id))
        return False

    def _waits(self, name: str) -> bool:
        known = self._done.get(name)
        return known is None or known.startswith(_REFUSED) or known.endswith((_UNREAD, _UNNAMED))

    @property
    def results(self) -> Mapping[str, str]:
        """Say of each served adapter: new, already registered, refused, or no match."""
        return self._done

    def _arrived(self, card: ModelCard, told: DeclaredAdapter | None) -> str:
        named = (told and told.version) or self.names.split(card.id)
        if named is None or not all(_fits(name) for name in named if name is not None):
            return self._left_alone(card)
        adapter, version = named[0], named[1] or FIRST_VERSION
        try:
            done, bare = self.database.run(lambda tx: _register(tx, card, adapter, version, told))
            done += _UNREAD if bare and not self.declarations.whole else ""
        except Conflict as error:
            done = f"{_REFUSED}{error}"
            if self._done.get(card.id) != done:
                _LOG.warning("adapter_refused", model=card.id, reason=str(error))
        return done

    def _left_alone(self, card: ModelCard) -> str:
        if (before := self._done.get(card.id)) is not None:
            return before
        if known := self.database.run(lambda tx: versions.served_as(tx, card.id)):
            return f"already, as {known[0].label}"
        why = _UNMATCHED + (_UNNAMED if self.declarations.namespaces else "")
        _LOG.info("adapter_left_alone", model=card.id, reason=why)
        return why


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
) -> tuple[str, bool]:
    """Register one served adapter, with what its cluster declares of it, unless it is known.

    One that is known from its engine alone is given what its cluster declares. Return what was
    done, and whether nobody but the engine has told of it yet.
    """
    known = next(iter(versions.served_as(tx, card.id)), None)
    by_engine = known is None or _of_engine(known, adapter, version)
    bare = by_engine and told is None
    if known is not None and (told is None or not by_engine):
        return f"already, as {known.label}", bare
    owner = adapters.fetch(tx, adapter)
    if owner is None or (known is not None and _bare(owner)):
        owner = adapters.put(tx, name=adapter, **_facts(told))
    source = _CLUSTER if told else _ENGINE
    found = versions.put(
        tx,
        adapter=owner,
        name=version,
        model=card.id,
        uri=(told.uri if told else None) or card.folder,
        base_model=card.parent or (told.base if told else None),
        metadata={versions.FOUND_BY: source},
    )
    details = {versions.FOUND_BY: source}
    audit.append(tx, actor=_ACTOR, act="version.found", subject=found.label, details=details)
    if known is not None:
        return f"already, as {known.label}", bare
    table.start(tx, found, actor=_ACTOR, now=clock.now(tx))
    _LOG.info("adapter_found", version=found.label, model=card.id, base=card.parent)
    return "new", bare


def _of_engine(known: Version, adapter: str, version: str) -> bool:
    """Whether an engine alone has told of this version."""
    same = (known.adapter, known.name) == (adapter, version)
    return same and known.metadata.get(versions.FOUND_BY) == _ENGINE


def _bare(adapter: Adapter) -> bool:
    """Whether nothing is said of an adapter."""
    said = (adapter.owner, adapter.runbook, adapter.mode, *adapter.labels)
    return not any(said) and adapter.tier == "standard"

"""Served adapters as versions of the registry."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from monitor.cli.client import Service, place, read
from monitor.cli.failures import CommandFailed
from monitor.domain import FIRST_VERSION
from monitor.views.adapter import AdapterDetail, AdapterSummary

if TYPE_CHECKING:
    from monitor.probes.cards import ModelCard

LARGEST_PAGE = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class Named:
    """A served adapter under the name that the service will use."""

    card: ModelCard
    adapter: str
    version: str


def named(card: ModelCard) -> Named:
    """Split a served name at its last ``@``.

    ``support@v7`` is version v7 of `support`; ``support`` is its version v1.
    """
    adapter, at, version = card.id.rpartition("@")
    if not at or not adapter or not version:
        return Named(card=card, adapter=card.id, version=FIRST_VERSION)
    return Named(card=card, adapter=adapter, version=version)


def register(service: Service, wanted: Named, known: dict[str, str]) -> str:
    """Register a version unless its model is known; return the result, or why it failed."""
    if label := known.get(wanted.card.id):
        return f"already, as {label}"
    path = place("adapters", wanted.adapter, "versions", wanted.version)
    try:
        service.put(path, _body(wanted.card))
    except CommandFailed as error:
        return f"refused: {error}"
    return "new"


def registered(service: Service) -> dict[str, str]:
    """Return the service's adapter@version for each served name."""
    found: dict[str, str] = {}
    for item in service.pages("/adapters", AdapterSummary, limit=LARGEST_PAGE):
        detail = read(service.get(place("adapters", item.adapter)), AdapterDetail)
        for version in detail.versions:
            found[version.model] = f"{item.adapter}@{version.version}"
    return found


def _body(card: ModelCard) -> dict[str, Any]:
    """Use a folder of the engine's machine as the version's address, but not a hub id."""
    folder = card.folder
    body = {"model": card.id, "uri": folder, "base_model": card.parent}
    return body | ({"sha256": _identity(Path(folder))} if folder and card.parent else {})


def _identity(folder: Path) -> str | None:
    """Return the identity of an adapter whose files this machine can read."""
    from monitor.probes.weights.adapter_folder import opened_adapter
    from monitor.probes.weights.errors import WeightsRefused

    try:
        with opened_adapter(folder) as adapter:
            return adapter.identity
    except WeightsRefused:
        return None

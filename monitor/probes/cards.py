"""Read the models that an engine serves: the cards of ``/v1/models``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any, Final

from alerts.outgoing import OutgoingError
from monitor.probes.errors import ProbeFailed
from monitor.probes.perplexity import Http
from monitor.served_names import plain_name

MOST_CARDS: Final = 10_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ModelCard:
    """One served model.

    parent
        The served base model of an adapter; None for a base model, and in engines that do not tell.
    root
        Where the engine loaded the weights from: a folder on *its* machine, or a hub id.
    owner
        The engine's name for itself: ``vllm``, ``sglang``, ``llamacpp``.
    """

    id: str
    parent: str | None
    root: str | None
    owner: str | None = None

    @property
    def folder(self) -> str | None:
        """The root if it is a folder of the engine's machine, and no id of a hub."""
        return self.root if self.root and self.root.startswith("/") else None


def one_version(card: ModelCard, other: ModelCard) -> bool:
    """True if two names mean one version: ``support`` may stand for ``support@v7``.

    Sharing a folder is not enough: an engine may have loaded a neighbour's by mistake.
    """
    if card.id == other.id:
        return True
    short, long = sorted((plain_name(card.id), plain_name(other.id)), key=len)
    alike = short == long or long.startswith(f"{short}@")
    return alike and card.root is not None and card.root == other.root


def first_names(cards: Iterable[ModelCard]) -> Mapping[str, ModelCard]:
    """Return cards by name, without the second one that KServe gives each model."""
    found = {card.id: card for card in cards}
    return {
        name: card
        for name, card in found.items()
        if (plain := plain_name(name)) == name or plain not in found
    }


def list_models(url: str, *, http: Http, headers: Mapping[str, str]) -> tuple[ModelCard, ...]:
    """Ask an engine for its models, with or without ``/v1`` in its address.

    Raises
    ------
    ProbeFailed
        The engine is out of reach, or answers something else; the message says which.
    """
    place = f"{url.rstrip('/').removesuffix('/v1')}/v1/models"
    try:
        reply = http.get(place, headers=headers)
    except OutgoingError as error:
        raise ProbeFailed(f"the engine is out of reach: {error}", permanent=False) from error
    if reply.status in {HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN}:
        reason = f"the engine wants another key (HTTP {reply.status}); see `serving.api_key_env`"
        raise ProbeFailed(reason, permanent=True)
    try:
        cards = json.loads(reply.body_start)["data"]
        return tuple(_card(card) for card in cards[:MOST_CARDS])
    except (KeyError, TypeError, ValueError, AttributeError, RecursionError) as error:
        reason = f"/v1/models of the engine is no list of models (HTTP {reply.status})"
        raise ProbeFailed(reason, permanent=False) from error


def _card(card: Mapping[str, Any]) -> ModelCard:
    return ModelCard(
        id=str(card["id"]),
        parent=_text(card.get("parent")),
        root=_text(card.get("root")),
        owner=_text(card.get("owned_by")),
    )


def _text(value: object) -> str | None:
    return value if isinstance(value, str) and value else None

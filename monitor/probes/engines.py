"""Find the engines that serve a model, and the replica that a probe asks next."""

from __future__ import annotations

import itertools
import threading
import time
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum
from typing import Final
from urllib.parse import urlsplit

import structlog

from alerts.outgoing import OutgoingError, redacted
from monitor.engine_addresses import NO_ADDRESS, EngineAddresses
from monitor.probes.cards import ModelCard, first_names, list_models, one_version
from monitor.probes.engine_metrics import resident_adapters
from monitor.probes.errors import ModelNotServed, ProbeFailed
from monitor.probes.perplexity import Http
from monitor.probes.restraint import Restraint
from monitor.probes.share import Purpose

_LOG = structlog.get_logger(__name__)

REMEMBERED: Final = timedelta(seconds=2)
_PASSED_OVER: Final = 2
"""Turns that a replica may lose to one with the adapter loaded, before it gets its own."""


class EngineKind(StrEnum):
    """Engines that are asked in their own way; all others are asked like vLLM."""

    VLLM = "vllm"
    SGLANG = "sglang"
    LLAMA_CPP = "llamacpp"
    OTHER = "other"


_KINDS: Final = {kind.value: kind for kind in EngineKind}


@dataclass(frozen=True, slots=True, kw_only=True)
class _Answered:
    """An engine's last answer; ``at`` is on the monotonic clock."""

    cards: Mapping[str, ModelCard] | None
    error: str
    at: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ReplicaListing:
    """Replicas by their answer about a model; addresses without credentials and paths."""

    holding: tuple[str, ...] = ()
    lacking: tuple[str, ...] = ()
    silent: tuple[str, ...] = ()
    nowhere: bool = False
    """True if engines are listed elsewhere, and no address of any is known."""

    @property
    def everywhere(self) -> bool:
        """True if every engine that answers lists the model, and at least one does.

        A version that only some replicas hold would give some clients a 404.
        """
        return bool(self.holding) and not self.lacking


@dataclass(frozen=True, slots=True, kw_only=True)
class Replica:
    """An engine that serves a model; ``parent`` is None if the model is a base.

    ``name`` is the address without credentials.
    """

    url: str
    name: str
    parent: str | None
    kind: EngineKind


class Engines:
    """The served models, their replicas and their bases.

    ``/v1/models`` of each engine is cached for two seconds, since deciding about a route asks
    several times in a row. An engine that does not answer counts as serving nothing.
    """

    def __init__(
        self,
        urls: Sequence[str] | EngineAddresses,
        http: Http,
        *,
        headers: Mapping[str, str],
        restraint: Restraint | None = None,
    ) -> None:
        self.restraint: Final = restraint or Restraint()
        self._addresses = urls if isinstance(urls, EngineAddresses) else EngineAddresses(urls)
        self._http = http
        self._headers = dict(headers)
        self._known: dict[str, _Answered] = {}
        self._lock = threading.Lock()
        self._turn = itertools.count(1)
        self._asked: dict[tuple[str, str], int] = {}
        self._passed: dict[tuple[str, str], int] = {}

    def listing(self, model: str) -> ReplicaListing:
        """Group replicas by whether they list the model; asks again those that lacked it."""
        found: dict[str, list[str]] = {"holding": [], "lacking": [], "silent": []}
        urls = self._addresses.now()
        for url in urls:
            cards = self._cards(url, having=model)
            kind = "silent" if cards is None else "holding" if model in cards else "lacking"
            found[kind].append(redacted(url))
        self._forget_others(urls)
        nowhere = not urls and not self._addresses.fixed
        return ReplicaListing(
            **{kind: tuple(replicas) for kind, replicas in found.items()}, nowhere=nowhere
        )

    def adapters(self) -> tuple[ModelCard, ...]:
        """Return the adapters that any engine lists, each once: models that name a parent."""
        every = [
            card for url in self._addresses.now() for card in (self._cards(url) or {}).values()
        ]
        return tuple(first_names(card for card in every if card.parent).values())

    def base_of(self, model: str) -> str | None:
        """Return the served model that an engine names as this adapter's parent."""
        for url in self._addresses.now():
            cards = self._cards(url, having=model) or {}
            parent = cards[model].parent if model in cards else None
            if parent in cards:
                return parent
        return None

    def siblings_of(self, model: str) -> tuple[str, ...]:
        """Return other adapters with the same parent, loaded ones first.

        A second name of the same version is left out, since its weights should be the same.
        """
        base = self.base_of(model)
        if base is None:
            return ()
        urls = self._addresses.now()
        every = [card for url in urls for card in (self._cards(url) or {}).values()]
        own = [card for card in every if card.id == model]
        found = dict(first_names(card for card in every if card.parent == base))
        for card in every:
            if any(one_version(card, mine) for mine in own):
                found.pop(card.id, None)
        at_hand = self.resident(tuple(found))
        return tuple(sorted(found, key=lambda name: name not in at_hand))

    def resident(self, models: Sequence[str]) -> frozenset[str]:
        """Return those of some adapters that an engine has loaded; empty if engines do not tell."""
        wanted = frozenset(models)
        urls = self._addresses.now()
        return frozenset().union(*(wanted & self._resident(url) for url in urls))

    def holding(self, model: str) -> tuple[Replica, ...]:
        """Return every engine that lists the model; asks again those that lacked it.

        Raises
        ------
        ModelNotServed
            Engines answer, but none lists it.
        ProbeFailed
            No engine answers.
        """
        found = {url: self._cards(url, having=model) for url in self._addresses.now()}
        self._forget_others(found)
        holders = tuple(
            _replica(url, cards[model])
            for url, cards in found.items()
            if cards is not None and model in cards
        )
        if holders:
            return holders
        if all(cards is None for cards in found.values()):
            known = (self._known.get(url) for url in found)
            errors = dict.fromkeys(one.error for one in known if one is not None)
            none = "no engine is configured" if self._addresses.fixed else NO_ADDRESS
            reason = "; ".join(errors) or none
            raise ProbeFailed(reason, permanent=False, asked=False)
        served = dict.fromkeys(name for cards in found.values() for name in cards or ())
        raise ModelNotServed(model, served=tuple(served))

    def _forget_others(self, urls: Collection[str]) -> None:
        """Forget engines whose addresses are gone."""
        with self._lock:
            gone = self._known.keys() - urls
            for url in gone:
                del self._known[url]
            for turns in (self._asked, self._passed):
                for key in [key for key in turns if key[1] in gone]:
                    del turns[key]
        self.restraint.keep_only(urls)

    def choose(
        self,
        model: str,
        *,
        replica: str | None = None,
        purpose: Purpose = Purpose.ROUTINE,
    ) -> Replica:
        """Choose the replica to ask next: the named one, else in turn.

        A replica with the adapter loaded goes first, but no replica is passed over more than twice
        in a row.

        Raises
        ------
        ModelNotServed, ProbeFailed
            None may be asked now, or the named one does not hold the model.
        """
        holders = self.holding(model)
        if replica is not None:
            holders = tuple(one for one in holders if one.name == replica)
            if not holders:
                raise ProbeFailed(f"{replica} does not serve {model!r} now", permanent=False)
        found = [(one, self.restraint.of(one.url).refusal(purpose)) for one in holders]
        able = [one for one, refusal in found if refusal is None]
        if not able:
            refusals = (refusal for _, refusal in found if refusal is not None)
            raise min(refusals, key=lambda refusal: refusal.again_in or 0.0)
        return self._take_turns(model, able)

    def root_of(self, model: str, replica: Replica) -> str | None:
        """Ask a replica where it loaded a model's weights from; None if it does not tell."""
        answered = self._ask(replica.url)
        with self._lock:
            self._known[replica.url] = answered
        card = (answered.cards or {}).get(model)
        return None if card is None else card.root

    def _take_turns(self, model: str, able: Sequence[Replica]) -> Replica:
        with self._lock:
            waited = sorted(able, key=lambda one: self._asked.get((model, one.url), 0))
            lost = self._passed.get((model, waited[0].url), 0)
        chosen = waited[0]
        if len(waited) > 1 and lost < _PASSED_OVER:
            at_hand = (one for one in waited if model in self._resident(one.url))
            chosen = next(at_hand, waited[0])
        with self._lock:
            first = (model, waited[0].url)
            self._passed[first] = 0 if chosen is waited[0] else lost + 1
            self._asked[model, chosen.url] = next(self._turn)
        return chosen

    def _resident(self, url: str) -> frozenset[str]:
        try:
            reply = self._http.get(f"{url}/metrics", headers=self._headers)
        except OutgoingError:
            return frozenset()
        return resident_adapters(reply.body_start)

    def _cards(self, url: str, *, having: str | None = None) -> Mapping[str, ModelCard] | None:
        """Return the cached cards, unless they lack a model that may have come since."""
        with self._lock:
            known = self._known.get(url)
        fresh = REMEMBERED.total_seconds()
        if (
            known
            and known.cards is not None
            and time.monotonic() - known.at < fresh
            and (having is None or having in known.cards)
        ):
            return known.cards
        answered = self._ask(url)
        with self._lock:
            self._known[url] = answered
        return answered.cards

    def _ask(self, url: str) -> _Answered:
        try:
            found = list_models(url, http=self._http, headers=self._headers)
        except ProbeFailed as error:
            known = self._known.get(url)
            if known is None or known.error != error.reason:  # it is asked every few seconds
                _LOG.warning("engine_unreachable", error=error.reason)
            return _Answered(cards=None, error=error.reason, at=time.monotonic())
        cards = {card.id: card for card in found}
        return _Answered(cards=cards, error="", at=time.monotonic())


def _replica(url: str, card: ModelCard) -> Replica:
    kind = _KINDS.get(card.owner or "", EngineKind.OTHER)
    return Replica(url=url, name=_shown(url), parent=card.parent, kind=kind)


def _shown(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}"

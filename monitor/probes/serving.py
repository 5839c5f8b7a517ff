"""The engines that serve the adapters, as far as Driftline asks them anything."""

from __future__ import annotations

import itertools
import json
import threading
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from typing import Final

import structlog

from alerts.outgoing import OutgoingError
from monitor.probes.corpus import Corpus
from monitor.probes.errors import ModelNotServed
from monitor.probes.perplexity import Http, PerplexityRun, PerplexitySettings, measure

_LOG = structlog.get_logger(__name__)

PRIVATE_NETWORKS: Final = (
    "127.0.0.0/8",
    "10.0.0.0/8",
    "172.16.0.0/12",
    "192.168.0.0/16",
    "100.64.0.0/10",
    "::1/128",
    "fc00::/7",
)
"""Where engines live; nothing else private may be reached through their addresses."""
REMEMBERED: Final = timedelta(seconds=2)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Listing:
    models: Mapping[str, str | None]
    at: float


class Engines:
    """Which models are served, by which replica, and what their base is.

    ``/v1/models`` of each engine is remembered for two seconds: deciding about a route
    asks several times in a row. An engine that does not answer serves nothing.
    """

    def __init__(self, urls: Sequence[str], http: Http, *, headers: Mapping[str, str]) -> None:
        self._urls = tuple(url.rstrip("/").removesuffix("/v1") for url in urls)
        self._http = http
        self._headers = dict(headers)
        self._known: dict[str, _Listing] = {}
        self._lock = threading.Lock()
        self._turn = itertools.count()

    def serves(self, model: str) -> bool:
        """Whether every engine that answers lists the model, and at least one does.

        A version that only some replicas hold would answer some clients with 404.
        """
        answering = [found for url in self._urls if (found := self._models(url)) is not None]
        return bool(answering) and all(model in models for models in answering)

    def base_of(self, model: str) -> str | None:
        """The served model that an engine names as this adapter's parent."""
        for url in self._urls:
            models = self._models(url) or {}
            parent = models.get(model)
            if parent in models:
                return parent
        return None

    def holding(self, model: str) -> str:
        """Give an engine that lists the model, replicas in turn; raises ModelNotServed."""
        start = next(self._turn)
        served: list[str] = []
        for step in range(len(self._urls)):
            url = self._urls[(start + step) % len(self._urls)]
            models = self._models(url) or {}
            if model in models:
                return url
            served += models
        raise ModelNotServed(model, served=tuple(dict.fromkeys(served)))

    def _models(self, url: str) -> Mapping[str, str | None] | None:
        with self._lock:
            known = self._known.get(url)
        if known is not None and time.monotonic() - known.at < REMEMBERED.total_seconds():
            return known.models
        models = self._ask(url)
        if models is not None:
            with self._lock:
                self._known[url] = _Listing(models=models, at=time.monotonic())
        return models

    def _ask(self, url: str) -> Mapping[str, str | None] | None:
        try:
            reply = self._http.get(f"{url}/v1/models", headers=self._headers)
            cards = json.loads(reply.body_start)["data"]
            return {str(card["id"]): card.get("parent") for card in cards}
        except (OutgoingError, KeyError, TypeError, ValueError, AttributeError) as error:
            _LOG.warning("engine_unreachable", error=type(error).__name__)
            return None


@dataclass(frozen=True, slots=True, kw_only=True)
class ServedProbe:
    """Perplexity of one corpus through whatever engine serves the model."""

    corpus: Corpus
    engines: Engines
    http: Http
    settings: PerplexitySettings

    def measure(self, model: str) -> PerplexityRun:
        """Run once; raises ProbeError."""
        return measure(
            self.corpus,
            base_url=self.engines.holding(model),
            model=model,
            http=self.http,
            settings=self.settings,
        )

    def base_of(self, model: str) -> str | None:
        """The base model's served name, if an engine says it."""
        return self.engines.base_of(model)

"""An engine named on the command line, asked under the config's rules."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from monitor.cli import screen
from monitor.cli.failures import CommandFailed, failing

if TYPE_CHECKING:
    from alerts.outgoing import OutgoingClient
    from monitor.config.sections import Config
    from monitor.probes.cards import ModelCard
    from monitor.probes.comparing import Reads
    from monitor.probes.perplexity import PerplexitySettings


PATIENCE = timedelta(seconds=30)
"""Longest wait in an engine's queue, at each look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AskedEngine:
    """An engine's address, and the client that asks it."""

    url: str
    http: OutgoingClient
    headers: Mapping[str, str]
    probe: Reads

    def models(self) -> tuple[ModelCard, ...]:
        """List the models that the engine serves; raises CommandFailed."""
        from monitor.probes.cards import list_models
        from monitor.probes.errors import ProbeFailed

        with failing(ProbeFailed, of=self.url):
            return list_models(self.url, http=self.http, headers=self.headers)


def engine(url: str, config: Config, *, send_key: bool) -> AskedEngine:
    """Open an engine with the config's timeout and way of asking.

    The config's key goes to the hosts of its own engines, and to others only with
    ``send_key``: a mistyped address, or one read in a message, must not learn it.

    A person waits for the command's end. It may therefore use all of the engine's idle
    time, still one request at a time, and waits for :data:`PATIENCE` while others queue.

    The address may be private, as engines' are; beyond that the config's ``outgoing``
    decides which addresses may be reached.
    """
    from alerts.addresses import PRIVATE_NETWORKS
    from alerts.outgoing import OutgoingClient
    from monitor.probes.corpus import load_corpus
    from monitor.probes.perplexity import LARGEST_ANSWER
    from monitor.probes.restraint import Restraint
    from monitor.probes.serving import Engines, ServedProbe

    root, key = address(url), config.serving.api_key
    trusted = send_key or not key or _place(root) in _places(config.serving.engines)
    if key and not trusted:
        screen.note(f"{root}: none of serving.engines, asked without key; --send-key sends it")
    headers = {"authorization": f"Bearer {key}"} if key and trusted else {}
    allow = (*config.outgoing.allow, *PRIVATE_NETWORKS)
    http = OutgoingClient(replace(config.outgoing, allow=allow, response_limit=LARGEST_ANSWER))
    probe = ServedProbe(
        general=load_corpus(),
        engines=Engines((root,), http, headers=headers, restraint=Restraint(share=1.0)),
        http=http,
        settings=replace(_settings(config), headers=headers, patience=PATIENCE),
    )
    return AskedEngine(url=root, http=http, headers=headers, probe=probe)


def _places(written: Sequence[str]) -> set[tuple[str, str | None]]:
    """Return the hosts of engines that the config names, and those that it lists elsewhere."""
    from monitor.engine_addresses import EngineAddresses

    named = [one.removeprefix("dns+") for one in written]
    return {_place(url) for url in (*named, *EngineAddresses(written).now())}


def _place(url: str) -> tuple[str, str | None]:
    """Return the host and scheme that are trusted with a key."""
    parts = urlsplit(url)
    return parts.scheme, parts.hostname


def _settings(config: Config) -> PerplexitySettings:
    """Return the config's settings for engines, or the usual ones if it asks none."""
    from monitor.probes.prompt_logprobs import PerplexitySource

    settings = config.probes.perplexity.settings
    if settings.source is PerplexitySource.LOCAL:
        return replace(settings, source=PerplexitySource.AUTO)
    return settings


def address(url: str) -> str:
    """Return an engine's address in one form: no ``/v1``, no slash at the end.

    >>> address("http://10.0.3.7:8000/v1/")
    'http://10.0.3.7:8000'
    """
    root = url.rstrip("/").removesuffix("/v1").rstrip("/")
    parts = urlsplit(root)
    if parts.scheme not in {"http", "https"} or not parts.hostname:
        raise CommandFailed(f"{url}: no address of an engine; one is http://10.0.3.7:8000")
    return root

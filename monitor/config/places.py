"""Sections that not only the service reads: its address, its files, the engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from monitor.domain import Mode
from monitor.patience import ConnectionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSection:
    """The service's data folder, and what it may do by itself.

    ``traces`` is the collector of OpenTelemetry that gets spans of its work; empty: none does.
    """

    data_dir: Path = Path(".driftline")
    mode: Mode = Mode.OBSERVE
    log_level: str = "info"
    traces: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSection:
    """The HTTP address; ``public_url`` is the address for people, used in messages' links.

    ``trusted_proxies`` are networks whose ``X-Forwarded-For`` and ``-Proto`` are trusted.
    """

    host: str = "127.0.0.1"
    port: int = 8440
    worker_port: int = 0
    """Where a process with ``--role worker`` answers about its health; 0: nowhere."""
    public_url: str = ""
    public_metrics: bool = False
    trusted_proxies: tuple[str, ...] = ()
    deadline: timedelta = timedelta(seconds=60)
    """The limit on answering, from the request's last byte, plus a long-poll's own wait."""
    connections: ConnectionSettings = field(default_factory=ConnectionSettings)

    @property
    def url(self) -> str:
        """The address that links begin with."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSection:
    """OpenAI-compatible engines that serve the adapters; empty if serving is not asked.

    ``register``: adapters that they list under names of the pattern are registered. ``declared_in``
    are namespaces of a Kubernetes cluster whose resources say where an adapter's files are, and
    whose it is.
    """

    engines: tuple[str, ...] = ()
    register: bool = True
    declared_in: tuple[str, ...] = ()
    api_key: str = field(default="", repr=False)

"""Sections that more than the service reads: where it answers, its files, the engines."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path

from monitor.domain import Mode
from monitor.patience import ConnectionSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class ServiceSection:
    """Where the service keeps its files and what it may do by itself."""

    data_dir: Path = Path(".driftline")
    mode: Mode = Mode.OBSERVE
    log_level: str = "info"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServerSection:
    """Where HTTP is answered; ``public_url`` is how people reach it, for links in messages.

    ``trusted_proxies`` are networks whose ``X-Forwarded-For`` and ``-Proto`` are believed.
    """

    host: str = "127.0.0.1"
    port: int = 8440
    public_url: str = ""
    public_metrics: bool = False
    trusted_proxies: tuple[str, ...] = ()
    deadline: timedelta = timedelta(seconds=60)
    """Until a request is answered, from its last byte; what it asks to wait comes on top."""
    connections: ConnectionSettings = field(default_factory=ConnectionSettings)

    @property
    def url(self) -> str:
        """The address that links begin with."""
        return self.public_url.rstrip("/") or f"http://{self.host}:{self.port}"


@dataclass(frozen=True, slots=True, kw_only=True)
class ServingSection:
    """Engines that serve the adapters, OpenAI-compatible; empty: nothing is asked of serving."""

    engines: tuple[str, ...] = ()
    api_key: str = field(default="", repr=False)

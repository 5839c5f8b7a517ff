"""Read only the sections that the gateway, or a command that asks the service, needs.

Other sections are neither read nor checked: nothing is imported for them, and a mistake in one
stops neither users' requests nor a person who investigates.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Final

from monitor.config.addresses import (
    gateway_problems,
    server_problems,
    service_problems,
    serving_problems,
)
from monitor.config.places import ServerSection, ServiceSection, ServingSection
from monitor.config.reading import ConfigError, read_section, read_sections, read_table
from monitor.gateway.settings import GatewaySettings

_KINDS: Final[Mapping[str, type]] = {
    "service": ServiceSection,
    "server": ServerSection,
    "serving": ServingSection,
    "gateway": GatewaySettings,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class ServicePart:
    """The service's address, and the place of its first run's key."""

    service: ServiceSection = field(default_factory=ServiceSection)
    server: ServerSection = field(default_factory=ServerSection)


@dataclass(frozen=True, slots=True, kw_only=True)
class GatewayPart:
    """The sections that the gateway needs."""

    service: ServiceSection = field(default_factory=ServiceSection)
    server: ServerSection = field(default_factory=ServerSection)
    serving: ServingSection = field(default_factory=ServingSection)
    gateway: GatewaySettings = field(default_factory=GatewaySettings)


def load_service_part(path: Path | None = None) -> ServicePart:
    """Read the sections for asking the service; raises ConfigError."""
    part = ServicePart(**_read(path, "service", "server"))
    refuse(server_problems(part.server))
    return part


def load_gateway_part(path: Path | None = None) -> GatewayPart:
    """Read the sections that the gateway needs; raises ConfigError."""
    part = GatewayPart(**_read(path, *_KINDS))
    refuse(
        [
            *service_problems(part.service),
            *server_problems(part.server),
            *serving_problems(part.serving),
            *gateway_problems(part.gateway),
        ]
    )
    return part


def _read(path: Path | None, *names: str) -> dict[str, Any]:
    return read_parts(path, {name: _KINDS[name] for name in names})


def read_parts(path: Path | None, kinds: Mapping[str, type]) -> dict[str, Any]:
    """Read these sections; raises ConfigError."""
    table, _ = read_table(path, os.environ)
    return read_sections(
        table,
        tuple(kinds),
        lambda name: read_section(kinds[name], table[name], where=name, environ=os.environ),
    )


def refuse(problems: list[str]) -> None:
    """Raise ConfigError where there are problems."""
    if problems:
        raise ConfigError(problems)

"""Read only the sections that the gateway, or a command that asks the service, needs.

Other sections are neither read nor checked: nothing is imported for them, and a mistake in one
stops neither users' requests nor a person who investigates.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TypeVar, get_type_hints

from monitor.config.addresses import (
    gateway_problems,
    server_problems,
    service_problems,
    serving_problems,
)
from monitor.config.places import ServerSection, ServiceSection, ServingSection
from monitor.config.reading import ConfigError, read_section, read_sections, read_table
from monitor.gateway.settings import GatewaySettings

Part = TypeVar("Part")


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
    part = read_part(path, ServicePart)
    refuse(server_problems(part.server))
    return part


def load_gateway_part(path: Path | None = None) -> GatewayPart:
    """Read the sections that the gateway needs; raises ConfigError."""
    part = read_part(path, GatewayPart)
    refuse(
        [
            *service_problems(part.service),
            *server_problems(part.server),
            *serving_problems(part.serving),
            *gateway_problems(part.gateway),
        ]
    )
    return part


def read_part(path: Path | None, part: type[Part]) -> Part:
    """Read the sections that are a part's fields; raises ConfigError."""
    table, _ = read_table(path, os.environ)
    kinds = get_type_hints(part)
    sections = read_sections(
        table,
        tuple(kinds),
        lambda name: read_section(kinds[name], table[name], where=name, environ=os.environ),
    )
    return part(**sections)


def refuse(problems: list[str]) -> None:
    """Raise ConfigError where there are problems."""
    if problems:
        raise ConfigError(problems)

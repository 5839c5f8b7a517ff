"""Read only the sections that a command in the database needs."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError

from monitor.config.addresses import service_problems
from monitor.config.parts import read_part, refuse
from monitor.config.places import ServiceSection
from monitor.config.sections import DatabaseSection, ScheduleSection

POSTGRES: Final = frozenset({"postgresql", "postgres", "postgresql+psycopg"})


@dataclass(frozen=True, slots=True, kw_only=True)
class DatabasePart:
    """The sections that say where the database is, and how long it is waited for."""

    service: ServiceSection = field(default_factory=ServiceSection)
    database: DatabaseSection = field(default_factory=DatabaseSection)
    schedule: ScheduleSection = field(default_factory=ScheduleSection)


def load_database_part(path: Path | None = None) -> DatabasePart:
    """Read the sections that a command in the database needs; raises ConfigError."""
    part = read_part(path, DatabasePart)
    refuse([*service_problems(part.service), *database_problems(part.database)])
    return part


def database_problems(section: DatabaseSection) -> list[str]:
    """List the contradictions within ``[database]``."""
    # not quoted: an address may hold a password
    found = [
        f"database.{name}: expected an address such as postgresql://user@host/name"
        for name in ("url", "owner_url", "direct_url", "standby_url")
        if (url := getattr(section, name)) and not _is_postgres(url)
    ]
    if section.direct_url and not section.url:
        found.append("database.direct_url: there is no database.url that leads through a pooler")
    if section.standby_url and not section.url:
        found.append("database.standby_url: the embedded server has no standby")
    if section.password_command and not section.url:
        found.append("database.password_command: there is no database.url that needs a password")
    if not section.migrates and not section.url:
        found.append("database.migrates: nobody else migrates the embedded server")
    return found


def _is_postgres(url: str) -> bool:
    try:
        return make_url(url).drivername in POSTGRES
    except (ArgumentError, ValueError):
        return False

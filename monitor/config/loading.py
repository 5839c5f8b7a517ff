"""Read ``config.toml`` and the environment into a config, or report all problems."""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, Final, get_type_hints

from detectors import DETECTORS
from detectors.feedback import FEEDBACK
from monitor.config.channels import read_channels
from monitor.config.contradictions import contradictions
from monitor.config.probes import ProbesSection
from monitor.config.reading import (
    SECTIONS,
    ConfigError,
    build,
    read_section,
    read_sections,
    read_table,
    resolve_secrets,
    unknown,
)
from monitor.config.routing import read_routing
from monitor.config.sections import (
    LONGEST,
    AdapterSection,
    Config,
    DetectorSection,
    DetectorsSection,
    FeedbackSection,
)

OTHERS_SECRETS: Final = {
    "gateway": frozenset({"key_env", "key_file", "engine_key_env", "engine_key_file"}),
    "trainer": frozenset({"teacher_key_env", "teacher_key_file"}),
}
"""By section: secrets that another process uses, and this one's user may be unable to read."""


def load(path: Path | None = None, *, environ: Mapping[str, str] | None = None) -> Config:
    """Read the config: ``path``, else ``./config.toml`` if it exists, else the defaults.

    Raises
    ------
    ConfigError
        With every problem found, each by its path.
    """
    environ = os.environ if environ is None else environ
    table, source = read_table(path, environ)
    return parse(table, source=source, environ=environ)


def parse(table: Mapping[str, Any], *, source: str, environ: Mapping[str, str]) -> Config:
    """Turn a table into a config; raises ConfigError."""
    sections = read_sections(table, SECTIONS, lambda name: _section(name, table, environ))
    config = Config(source=source, **sections)
    problems = list(contradictions(config))
    if problems:
        raise ConfigError(problems)
    return config


def _section(name: str, table: Mapping[str, Any], environ: Mapping[str, str]) -> Any:
    value = table[name]
    match name:
        case "channels":
            return read_channels(value, environ=environ)
        case "adapters":
            return _adapters(value, table.get("defaults", {}))
        case "detectors":
            return _detectors(value)
        case "routing":
            return read_routing(value, environ=environ)
        case "probes":
            return _probes(value, environ=environ)
        case _:
            return read_section(
                _KINDS[name], _without_others_secrets(name, value), where=name, environ=environ
            )


_KINDS: Final = get_type_hints(Config)


def _without_others_secrets(section: str, value: object) -> object:
    others = OTHERS_SECRETS.get(section)
    if others is None or not isinstance(value, Mapping):
        return value
    return {name: one for name, one in value.items() if name not in others}


def _probes(value: object, *, environ: Mapping[str, str]) -> ProbesSection:
    """Read ``[probes]``; the key of the embedding endpoint stands one table deeper than others."""
    if isinstance(value, Mapping) and isinstance(own := value.get("embedding"), Mapping):
        resolved = resolve_secrets(own, where="probes.embedding", environ=environ)
        value = {**value, "embedding": resolved}
    return read_section(ProbesSection, value, where="probes", environ=environ)


def _adapters(value: object, defaults: object) -> dict[str, AdapterSection]:
    if not isinstance(value, Mapping) or not isinstance(defaults, Mapping):
        raise ConfigError(["adapters: expected tables [adapters.NAME]"])
    if unfit := [name for name in value if not (name.isprintable() and 0 < len(name) <= LONGEST)]:
        raise ConfigError(
            [
                f"adapters.{name!r:.60}: a name has 1 to {LONGEST} printable characters"
                for name in unfit
            ]
        )
    return {
        name: build(
            AdapterSection,
            {**defaults, **own} if isinstance(own, Mapping) else own,
            where=f"adapters.{name}",
        )
        for name, own in value.items()
    }


def _detectors(value: object) -> DetectorsSection:
    if not isinstance(value, Mapping):
        raise ConfigError(["detectors: expected tables [detectors.NAME]"])
    own = {key: value[key] for key in ("assumed_day_effect",) if key in value}
    tables = {name: table for name, table in value.items() if name not in own}
    known = [*DETECTORS, "assumed_day_effect"]
    problems = [
        f"detectors.{name}: {unknown(name, known)}".replace("key", "detector", 1)
        for name in tables
        if name not in DETECTORS
    ]
    if problems:
        raise ConfigError(problems)
    section: DetectorsSection = build(DetectorsSection, own, where="detectors")
    by_name = {
        name: build(_DETECTORS.get(name, DetectorSection), table, where=f"detectors.{name}")
        for name, table in tables.items()
    }
    return replace(section, by_name=by_name)


_DETECTORS: Final[Mapping[str, type[Any]]] = {FEEDBACK.name: FeedbackSection}
"""Sections of detectors with more keys than ``enabled``."""

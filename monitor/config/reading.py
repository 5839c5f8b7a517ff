"""Convert TOML and the environment to settings dataclasses, with errors that say where.

One rule for every part: a field of its settings dataclass is a config key, and its default is the
key's default. Unknown keys are refused with the nearest known one; a wrong value is named by its
path; secrets come only from the environment or from files.
"""

from __future__ import annotations

import difflib
import re
import tomllib
import types
import typing
from collections.abc import Callable, Collection, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any, Final, TypeVar

import msgspec

from monitor.environment import PREFIX

T = TypeVar("T")

DEFAULT_FILE: Final = Path("config.toml")

SECTIONS: Final = (
    "service",
    "server",
    "database",
    "capture",
    "reference",
    "probes",
    "serving",
    "artifacts",
    "schedule",
    "policy",
    "margins",
    "detectors",
    "alerting",
    "channels",
    "outgoing",
    "routing",
    "canary",
    "admission",
    "retrain",
    "trainer",
    "gateway",
    "oidc",
    "defaults",
    "adapters",
)
"""Every table that a config may have, also for readers of only some."""

_UNITS: Final = {
    "ms": timedelta(milliseconds=1),
    "s": timedelta(seconds=1),
    "m": timedelta(minutes=1),
    "h": timedelta(hours=1),
    "d": timedelta(days=1),
}
_PART: Final = re.compile(r"(\d+(?:\.\d+)?)(ms|s|m|h|d)")


class ConfigError(Exception):
    """The config is unusable; ``problems`` has one line per problem."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


def duration(text: str) -> timedelta:
    """Read ``"15m"``, ``"1h30m"``, ``"250ms"``, ``"14d"``; raises ValueError.

    >>> duration("1h30m")
    datetime.timedelta(seconds=5400)
    """
    parts = _PART.findall(text)
    if not parts or "".join(number + unit for number, unit in parts) != text:
        raise ValueError(f'{text!r} is no duration; write "30s", "15m", "1h30m" or "14d"')
    return sum((float(number) * _UNITS[unit] for number, unit in parts), timedelta())


def read_table(path: Path | None, environ: Mapping[str, str]) -> tuple[dict[str, Any], str]:
    """Read a config, unchecked, and return its source; raises ConfigError.

    It is ``path``, else ``./config.toml`` if it exists, else empty; variables win.
    """
    chosen = path or (DEFAULT_FILE if DEFAULT_FILE.is_file() else None)
    table = overlay(read_toml(chosen) if chosen else {}, environ)
    return table, str(chosen) if chosen else "the defaults"


def read_sections(
    table: Mapping[str, Any], names: Collection[str], read: Callable[[str], Any]
) -> dict[str, Any]:
    """Read the named sections that the table has; raises ConfigError with all problems.

    A section that no config has is a problem for every reader.
    """
    problems = [
        f"{key}: {unknown(key, list(SECTIONS))}".replace("key", "section", 1)
        for key in table
        if key not in SECTIONS
    ]
    sections: dict[str, Any] = {}
    for name in names:
        if name not in table:
            continue
        try:
            sections[name] = read(name)
        except ConfigError as error:
            problems += error.problems
    if problems:
        raise ConfigError(problems)
    return sections


def read_section(kind: type[T], value: object, *, where: str, environ: Mapping[str, str]) -> T:
    """Convert a section's table to its settings, secrets resolved; raises ConfigError."""
    if isinstance(value, Mapping):
        own = {field.name for field in fields(kind)} if is_dataclass(kind) else set()
        value = resolve_secrets(value, where=where, environ=environ, besides=own)
    return build(kind, value, where=where)


def read_toml(path: Path) -> dict[str, Any]:
    """Read a config file; raises ConfigError that names it."""
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        raise ConfigError([f"{path}: there is no such file"]) from None
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([f"{path}: cannot be read: {error}"]) from None
    except tomllib.TOMLDecodeError as error:
        raise ConfigError([f"{path}: {error}"]) from None
    except RecursionError:
        raise ConfigError([f"{path}: is nested too deeply"]) from None


def overlay(table: dict[str, Any], environ: Mapping[str, str]) -> dict[str, Any]:
    """Overlay ``DRIFTLINE_SECTION__KEY`` variables on a table; variables win.

    A value is parsed as TOML if possible (``8``, ``true``, ``["a"]``), else taken as text.
    Variables without ``__`` (``DRIFTLINE_KILL_SWITCH``) are not config keys.
    """
    for name in sorted(environ):
        if name.startswith(PREFIX) and "__" in name:
            *sections, key = name.removeprefix(PREFIX).lower().split("__")
            inner = table
            for section in sections:
                inner = inner.setdefault(section, {})
                if not isinstance(inner, dict):
                    raise ConfigError([f"{name}: {section} is not a section"])
            inner[key] = _value(environ[name])
    return table


def _value(text: str) -> object:
    try:
        return tomllib.loads(f"value = {text}")["value"]
    except (tomllib.TOMLDecodeError, RecursionError):
        return text


def resolve_secrets(
    table: Mapping[str, Any],
    *,
    where: str,
    environ: Mapping[str, str],
    besides: Collection[str] = (),
) -> dict[str, Any]:
    """Replace ``NAME_env`` and ``NAME_file`` by ``NAME``; the value is never quoted.

    Keys in ``besides`` stay as they are: ``ca_file`` is a path, and no secret called ``ca``.
    """
    resolved: dict[str, Any] = {}
    for key, value in table.items():
        stem, _, kind = key.rpartition("_")
        if stem and kind in {"env", "file"} and key not in besides:
            resolved[stem] = _secret(value, kind=kind, where=f"{where}.{key}", environ=environ)
        else:
            resolved[key] = value
    return resolved


def _secret(value: object, *, kind: str, where: str, environ: Mapping[str, str]) -> str:
    if not isinstance(value, str):
        raise ConfigError([f"{where}: expected a name, got {type(value).__name__}"])
    if kind == "env":
        if value not in environ:
            raise ConfigError([f"{where}: the environment has no variable {value}"])
        return environ[value].strip()
    try:
        return Path(value).expanduser().read_text(encoding="utf-8").strip()
    except OSError as error:
        raise ConfigError([f"{where}: {value}: {error.strerror}"]) from None


def build(kind: type[T], table: object, *, where: str) -> T:
    """Convert a table to a settings dataclass; raises ConfigError with every problem found."""
    problems: list[str] = []
    prepared = _prepare(kind, table, where=where, problems=problems)
    if problems:
        raise ConfigError(problems)
    try:
        return msgspec.convert(prepared, kind, dec_hook=_decode)
    except msgspec.ValidationError as error:
        raise ConfigError([_located(str(error), where)]) from None


def _decode(kind: type, value: object) -> object:
    if kind is Path and isinstance(value, str):
        return Path(value).expanduser()
    raise ValueError(f"expected {kind.__name__}, got {type(value).__name__}")


def _located(message: str, where: str) -> str:
    """Turn msgspec's ``Expected `int`, got `str` - at `$.port` `` into a config path."""
    text, _, path = message.partition(" - at `$")
    return f"{where}{path.rstrip('`')}: {text[:1].lower()}{text[1:]}"


def _prepare(kind: Any, value: object, *, where: str, problems: list[str]) -> object:
    if kind is timedelta:
        return _duration(value, where=where, problems=problems)
    if is_dataclass(kind) and isinstance(kind, type):
        return _prepare_table(kind, value, where=where, problems=problems)
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if origin in {types.UnionType, typing.Union} and value is not None:
        inner = [a for a in arguments if a is not type(None)]
        return _prepare(inner[0], value, where=where, problems=problems)
    if isinstance(value, Mapping) and origin is not None and len(arguments) == 2:  # noqa: PLR2004 (key and value types)
        return {
            key: _prepare(arguments[1], item, where=f"{where}.{key}", problems=problems)
            for key, item in value.items()
        }
    if isinstance(value, list) and arguments:
        return [
            _prepare(arguments[0], item, where=f"{where}[{i}]", problems=problems)
            for i, item in enumerate(value)
        ]
    return value


def _duration(value: object, *, where: str, problems: list[str]) -> object:
    if isinstance(value, str):
        try:
            return duration(value)
        except ValueError as error:
            problems.append(f"{where}: {error}")
            return timedelta()
    if isinstance(value, timedelta):
        return value
    problems.append(f'{where}: expected a duration such as "15m", got {value!r}')
    return timedelta()


def _prepare_table(kind: type, value: object, *, where: str, problems: list[str]) -> object:
    if isinstance(value, kind):
        return value
    if not isinstance(value, Mapping):
        problems.append(f"{where}: expected a table, got {type(value).__name__}")
        return value
    hints = typing.get_type_hints(kind)
    known = [field.name for field in fields(kind)]
    problems.extend(f"{where}.{key}: {unknown(key, known)}" for key in value if key not in known)
    return {
        key: _prepare(hints[key], item, where=f"{where}.{key}", problems=problems)
        for key, item in value.items()
        if key in hints
    }


def unknown(key: str, known: list[str]) -> str:
    """Report an unknown key, with the one that was probably meant."""
    near = difflib.get_close_matches(key, known, n=1)
    return "unknown key" + (
        f"; did you mean {near[0]!r}?" if near else f"; known: {', '.join(known)}"
    )

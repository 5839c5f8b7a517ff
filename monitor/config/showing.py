"""The settings as text for people, without secrets.

A field that a dataclass keeps out of its ``repr`` is a secret. So is every text in a mapping, as
headers and a channel's own keys are, and what stands before the ``@`` of an address.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import fields, is_dataclass
from datetime import timedelta
from enum import Enum
from pathlib import Path
from typing import Final

from monitor.config.sections import Config
from monitor.views.setting import SettingBody

HIDDEN: Final = "set, hidden"
UNSET: Final = "not set"
_USER: Final = re.compile(r"(?<=://)[^/@\s]+@")
_UNITS: Final = (("d", 86_400), ("h", 3_600), ("m", 60), ("s", 1))


def shown(config: Config) -> list[SettingBody]:
    """Write every setting, section by section."""
    usual = dict(_walk("", Config()))
    return [
        SettingBody(
            section=re.split(r"[.\[]", name)[0],
            name=name,
            value=value,
            usual=usual.get(name) == value and value != HIDDEN,
        )
        for name, value in _walk("", config)
        if name != "source"
    ]


def _walk(name: str, value: object, *, inside: bool = False) -> Iterator[tuple[str, str]]:
    """Write a value under its name; ``inside`` a mapping, texts are hidden."""
    if is_dataclass(value):
        for field in fields(value):
            own = f"{name}.{field.name}" if name else field.name
            found = getattr(value, field.name)
            if not field.repr:
                yield own, HIDDEN if found else UNSET
            else:
                yield from _walk(own, found)
    elif isinstance(value, Mapping) and value:
        for key, found in value.items():
            yield from _walk(f"{name}.{key}", found, inside=True)
    elif isinstance(value, tuple | list) and any(map(is_dataclass, value)):
        for number, found in enumerate(value):
            yield from _walk(f"{name}[{number}]", found)
    else:
        yield name, HIDDEN if inside and isinstance(value, str) and value else _text(value)


def _text(value: object) -> str:
    """Write what is neither a table nor a secret.

    >>> _text(True), _text(timedelta(minutes=90)), _text("http://ann:pw@proxy/x"), _text(())
    ('true', '90m', 'http://…@proxy/x', 'none')
    """
    match value:
        case None | "":
            text = UNSET
        case bool():
            text = str(value).lower()
        case Enum():
            text = str(value.value)
        case timedelta():
            text = _duration(value)
        case int() | float():
            text = f"{value:g}" if isinstance(value, float) else str(value)
        case str() | Path():
            text = _USER.sub("…@", str(value))
        case tuple() | list() | set() | frozenset():
            text = ", ".join(map(_text, value)) or "none"
        case Mapping():
            text = "none"
        case _:
            text = type(value).__name__
    return text


def _duration(value: timedelta) -> str:
    seconds = value.total_seconds()
    unit, size = next((one for one in _UNITS if seconds % one[1] == 0), _UNITS[-1])
    return f"{seconds / size:g}{unit}"

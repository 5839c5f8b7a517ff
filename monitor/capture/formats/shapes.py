"""JSON of unknown shape, taken as what it should be or as nothing."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """Give a JSON object; anything else is an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[Any]:
    """Give a JSON array; anything else is an empty one."""
    return value if isinstance(value, list) else ()

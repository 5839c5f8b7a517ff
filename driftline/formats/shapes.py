"""Read JSON of unknown shape as the expected type, or as empty."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any


def mapping(value: object) -> Mapping[str, Any]:
    """Return a JSON object; anything else becomes an empty one."""
    return value if isinstance(value, dict) else {}


def sequence(value: object) -> Sequence[Any]:
    """Return a JSON array; anything else becomes an empty one."""
    return value if isinstance(value, list) else ()

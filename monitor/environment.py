"""Driftline's own environment variables, which the processes that it starts do not see."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

PREFIX: Final = "DRIFTLINE_"


def without_settings(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave out the variables that are settings: secrets are among them."""
    return {name: value for name, value in environ.items() if not name.startswith(PREFIX)}

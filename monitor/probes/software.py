"""What an engine is called: its name and version, written alike wherever they are kept. Pure.

A change of engine is blamed on the serving, so a probe and a record must name it alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LONGEST: Final = 64


def vllm(told: Mapping[str, Any]) -> str | None:
    """Name what answers ``GET /version``; None where the answer has no version.

    >>> vllm({"version": "0.32.0"})
    'vllm 0.32.0'
    """
    version = told.get("version")
    return f"vllm {str(version)[:LONGEST]}" if version else None


def sglang(told: Mapping[str, Any]) -> str:
    """Name what answers ``GET /get_server_info``."""
    return f"sglang {str(told.get('version', ''))[:LONGEST]}".rstrip()

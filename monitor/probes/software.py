"""Name an engine's software and version, the same way everywhere. Pure.

A change of engine is blamed on serving, so probes and records must name it alike.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

LONGEST: Final = 64


def vllm(told: Mapping[str, Any]) -> str | None:
    """Name the engine from ``GET /version``; None if the answer has no version.

    >>> vllm({"version": "0.32.0"})
    'vllm 0.32.0'
    """
    version = told.get("version")
    return f"vllm {str(version)[:LONGEST]}" if version else None


def sglang(told: Mapping[str, Any]) -> str:
    """Name the engine from ``GET /get_server_info``."""
    return f"sglang {str(told.get('version', ''))[:LONGEST]}".rstrip()

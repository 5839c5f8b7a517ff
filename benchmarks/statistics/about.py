"""Results as small JSON files, each with the machine, versions and seed it came from."""

from __future__ import annotations

import importlib.metadata
import json
import os
import platform
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "results"
_PACKAGES = ("numpy", "scipy")


def about(*, seed: int, seconds: float, packages: tuple[str, ...] = _PACKAGES) -> dict[str, Any]:
    """Say where and how a result was obtained."""
    return {
        "date": f"{datetime.now(tz=UTC):%Y-%m-%d %H:%M} UTC",
        "machine": f"{os.cpu_count()} × {_processor()}, {platform.system()} {platform.release()}",
        "load": round(os.getloadavg()[0], 1),
        "seconds": round(seconds),
        "seed": seed,
        "versions": {
            "Python": platform.python_version(),
            **{name: importlib.metadata.version(name) for name in packages},
        },
    }


def store(name: str, body: Mapping[str, Any]) -> Path:
    """Write a result beside the others; half a file is never left."""
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / f"{name}.json"
    draft = path.with_suffix(".draft")
    draft.write_text(laid_out(body) + "\n", encoding="utf-8")
    draft.replace(path)
    return path


def load(name: str) -> dict[str, Any] | None:
    """Read a stored result, None if it was never obtained."""
    path = FOLDER / f"{name}.json"
    return json.loads(path.read_text(encoding="utf-8")) if path.exists() else None


def laid_out(body: object, *, depth: int = 0) -> str:
    """Write JSON with each list or table of bare values on one line: a change shows as one line.

    >>> print(laid_out({"seed": 7, "cells": [{"alarms": [0, 1]}]}))
    {
     "seed": 7,
     "cells": [
      {
       "alarms": [0, 1]
      }
     ]
    }
    """
    if not isinstance(body, Mapping | list):
        return json.dumps(body)
    inside = body.values() if isinstance(body, Mapping) else body
    if not any(isinstance(one, Mapping | list) for one in inside):
        return json.dumps(body)
    if isinstance(body, Mapping):
        parts = [f"{json.dumps(key)}: {laid_out(body[key], depth=depth + 1)}" for key in body]
    else:
        parts = [laid_out(one, depth=depth + 1) for one in body]
    begin, end = "{}" if isinstance(body, Mapping) else "[]"
    margin = "\n" + " " * depth
    return f"{begin}{margin} " + f",{margin} ".join(parts) + f"{margin}{end}"


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()

"""Run one benchmark in this process and print its rows: ``python -m benchmarks.child NAME``."""

from __future__ import annotations

import importlib
import json
import os
import sys

from benchmarks.row import to_json


def main(name: str) -> None:
    """Print the rows of ``benchmarks.NAME`` and its seed as one line of JSON."""
    os.environ["DO_NOT_TRACK"] = "1"  # Evidently reads it when it is imported
    module = importlib.import_module(f"benchmarks.{name}")
    rows = [to_json(row) for row in module.run()]
    print(json.dumps({"seed": getattr(module, "SEED", None), "rows": rows}))


if __name__ == "__main__":
    main(sys.argv[1])

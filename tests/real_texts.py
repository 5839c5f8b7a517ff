"""What people really asked: files of ``tests/texts``, or of the folder DRIFTLINE_TEST_DATA."""

import gzip
import json
import os
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).parent / "texts"


def lines(name: str) -> list[dict[str, Any]]:
    """Read a file, in the order of its source."""
    folder = Path(os.environ.get("DRIFTLINE_TEST_DATA", FOLDER))
    plain = folder / f"{name}.jsonl"
    if plain.is_file():
        text = plain.read_text(encoding="utf-8")
    else:
        text = gzip.decompress(plain.with_name(f"{plain.name}.gz").read_bytes()).decode()
    return [json.loads(line) for line in text.split("\n") if line]

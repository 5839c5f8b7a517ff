"""What `driftline doctor` finds, by part."""

import json
from collections.abc import Mapping
from pathlib import Path

from tests.cli.command import Ran, driftline
from tests.loopback import unused_port

WITHOUT_ENCODER = {"DRIFTLINE_CAPTURE__EMBED_PROMPTS": "false"}


def examine(folder: Path, **environ: str) -> tuple[int, dict[str, list[dict[str, str]]]]:
    """Give the exit code, and the findings by part."""
    given = {f"DRIFTLINE_{name}": value for name, value in environ.items()}
    ports = {
        "DRIFTLINE_SERVER__PORT": str(unused_port()),
        "DRIFTLINE_GATEWAY__PORT": str(unused_port()),
    }
    ran = driftline("doctor", "--json", cwd=folder, environ=WITHOUT_ENCODER | ports | given)
    by_part: dict[str, list[dict[str, str]]] = {}
    for one in findings(ran):
        by_part.setdefault(one["part"], []).append(one)
    return ran.code, by_part


def findings(ran: Ran) -> list[dict[str, str]]:
    found: Mapping[str, list[dict[str, str]]] = json.loads(ran.out)
    return found["findings"]

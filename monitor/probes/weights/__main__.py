"""Inspect one folder under limits: ``python -m monitor.probes.weights FOLDER``.

One line of JSON on stdout: ``{"report": …}``, or ``{"refusal": …, "reason": …}``. The process
limits its own memory and CPU time, so that no folder can hurt its caller, and sets an alarm that
ends it even if the caller is gone.
"""

from __future__ import annotations

import json
import os
import resource
import signal
import sys
from pathlib import Path
from typing import Final

from monitor.probes.weights.errors import WeightsRefused
from monitor.probes.weights.inspection import inspect_folder
from monitor.probes.weights.report import shortened, to_json

MEMORY: Final = 3 << 30
"""Bytes of address space; any inspection needs only some hundred megabytes."""
NICE: Final = 10


def main(folder: str, seconds: int) -> None:
    """Print the report, or why there is none."""
    signal.alarm(seconds)
    resource.setrlimit(resource.RLIMIT_AS, (MEMORY, MEMORY))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds))
    os.nice(NICE)
    said: dict[str, object]
    try:
        said = {"report": shortened(to_json(inspect_folder(Path(folder))))}
    except WeightsRefused as error:
        said = {"refusal": error.refusal.value, "reason": error.reason}
    print(json.dumps(said))  # noqa: T201 (its answer)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))

"""An inspection in a process of its own: whatever the files hold, the caller goes on."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from monitor.probes.weights.errors import Refusal, WeightsRefused

TIME_LIMIT: Final = 120
"""Seconds of CPU, and of the clock; a 7B model's adapter takes a few."""
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


def inspect_apart(folder: Path, *, seconds: int = TIME_LIMIT) -> Mapping[str, Any]:
    """Inspect a folder in a process with limits, and give the report as JSON values.

    Raises
    ------
    WeightsRefused
        As :func:`monitor.probes.weights.inspect_folder`; also where the process did not end
        well within its limits, as ``unsupported``: nothing is known of the files then.
    """
    try:
        done = subprocess.run(  # noqa: S603 (our own module)
            [sys.executable, "-m", "monitor.probes.weights", str(folder), str(seconds)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            timeout=seconds + 10,
            check=True,
        )
        said = msgspec.json.decode(done.stdout, type=_Said)
    except (subprocess.SubprocessError, msgspec.DecodeError) as error:
        kind = type(error).__name__
        reason = f"the inspection gave no answer within its limits ({seconds} s): {kind}"
        raise WeightsRefused(reason, refusal=Refusal.UNSUPPORTED) from None
    if said.report is None:
        raise WeightsRefused(said.reason, refusal=said.refusal)
    return said.report


class _Said(msgspec.Struct):
    report: dict[str, Any] | None = None
    refusal: Refusal = Refusal.UNSUPPORTED
    reason: str = ""

"""Inspect in a separate process: no file's contents can harm the caller."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from monitor.probes.weights.errors import Remedy, WeightsRefused

TIME_LIMIT: Final = 120
"""Seconds of CPU, and of wall time; a 7B model's adapter takes a few."""
SECRETS: Final = "DRIFTLINE_"
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


def inspect_apart(folder: Path, *, seconds: int = TIME_LIMIT) -> Mapping[str, Any]:
    """Inspect a folder in a limited process, and return the report as JSON values.

    Raises
    ------
    WeightsRefused
        As :func:`monitor.probes.weights.inspect_folder`; also if the process failed or
        exceeded its limits, as ``unsupported``: nothing is known of the files then.
    """
    # a reader of untrusted files holds no secret, and runs nothing from here
    inherited = {key: value for key, value in os.environ.items() if not key.startswith(SECRETS)}
    try:
        done = subprocess.run(  # noqa: S603 (our own module)
            [sys.executable, "-P", "-m", "monitor.probes.weights", str(folder), str(seconds)],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=inherited | ONE_THREAD,
            timeout=seconds + 10,
            check=True,
        )
        said = msgspec.json.decode(done.stdout, type=_Said)
    except (subprocess.SubprocessError, msgspec.DecodeError) as error:
        reason = f"the inspection gave no answer within its limits ({seconds} s): {_why(error)}"
        raise WeightsRefused(reason, refusal=Remedy.UNSUPPORTED) from None
    if said.report is None:
        raise WeightsRefused(said.reason, refusal=said.refusal)
    return said.report


def _why(error: subprocess.SubprocessError | msgspec.DecodeError) -> str:
    """Say how the process ended."""
    match error:
        case subprocess.TimeoutExpired():
            return "it went on after them"
        case subprocess.CalledProcessError(returncode=code):
            return (
                f"it ended with signal {-code}" if code < 0 else f"it ended with exit code {code}"
            )
        case _:
            return "its answer was not understood"


class _Said(msgspec.Struct):
    report: dict[str, Any] | None = None
    refusal: Remedy = Remedy.UNSUPPORTED
    reason: str = ""

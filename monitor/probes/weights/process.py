"""Inspect in a separate process: no file's contents can harm the caller."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import msgspec

from detectors.weight_checks import WeightMeasures
from monitor.environment import without_settings
from monitor.probes.weights.errors import Remedy, WeightsRefused

TIME_LIMIT: Final = 120
"""Seconds of CPU, and of wall time; a 7B model's adapter takes a few."""
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)


class WeightQuestion(msgspec.Struct, frozen=True, kw_only=True):
    """The folder to inspect, and what it is measured beside; ``seconds`` of CPU and of wall time.

    ``no_base`` and ``no_parent`` are what is said where they are not read.
    """

    folder: str
    seconds: int = TIME_LIMIT
    base: str | None = None
    parent: str | None = None
    no_base: str = ""
    no_parent: str = ""


class WeightsTold(msgspec.Struct, frozen=True, kw_only=True):
    """The report of an inspection, and the numbers that an admission is judged by."""

    report: dict[str, Any]
    measures: WeightMeasures


class WeightsSaid(msgspec.Struct, frozen=True, kw_only=True):
    """The process's one line: what it told, or why there is nothing to tell."""

    told: WeightsTold | None = None
    refusal: Remedy = Remedy.UNSUPPORTED
    reason: str = ""


def inspect_apart(folder: Path, *, seconds: int = TIME_LIMIT) -> Mapping[str, Any]:
    """Inspect a folder in a limited process, and return the report as JSON values.

    Raises WeightsRefused as :func:`asked_apart` does.
    """
    return asked_apart(WeightQuestion(folder=str(folder), seconds=seconds)).report


def asked_apart(question: WeightQuestion) -> WeightsTold:
    """Inspect an adapter in a limited process, beside its base and its parent if they are named.

    Raises
    ------
    WeightsRefused
        As :func:`monitor.probes.weights.inspection.inspect_folder`; also if the process failed or
        exceeded its limits, as ``unsupported``: nothing is known of the files then.
    """
    # a reader of untrusted files holds no secret, and runs nothing from here
    inherited = without_settings(os.environ)
    try:
        done = subprocess.run(
            [sys.executable, "-P", "-m", "monitor.probes.weights"],
            input=msgspec.json.encode(question),
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            env=inherited | ONE_THREAD,
            timeout=question.seconds + 10,
            check=True,
        )
        said = _SAID.decode(done.stdout)
    except (subprocess.SubprocessError, msgspec.DecodeError) as error:
        reason = (
            f"the inspection gave no answer within its limits ({question.seconds} s): {_why(error)}"
        )
        raise WeightsRefused(reason, refusal=Remedy.UNSUPPORTED) from None
    if said.told is None:
        raise WeightsRefused(said.reason, refusal=said.refusal)
    return said.told


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


_SAID: Final = msgspec.json.Decoder(WeightsSaid)

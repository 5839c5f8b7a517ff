"""Run a self-test in its own process, which yields to everything else on the machine."""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from typing import IO, Any, Final

import msgspec

POLL_SECONDS: Final = 0.5
TIME_LIMIT: Final = 7_200.0
"""Seconds of wall time; a busy machine gives a low-priority process very little."""
ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)

GoOn = Callable[[float], bool]
"""Called with the share done, in [0, 1]; False ends the process."""


class SelfTestJob(msgspec.Struct, frozen=True, kw_only=True):
    """The input of the process.

    ``shares`` are (notice, page) by detector; ``index`` is the file of the training index with
    ``rows`` rows, None if there is none; ``axes`` are its packed axes.
    """

    baseline: bytes
    shares: dict[str, tuple[float, float]]
    per_day: float
    check_seconds: float
    seed: int
    streams: int
    index: str | None = None
    rows: int = 0
    axes: bytes | None = None


class Said(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One output line of the process: its progress, its report, or why there is none."""

    share: float = 0.0
    report: dict[str, Any] | None = None
    refused: str | None = None


class Failed(Exception):  # noqa: N818 - it says what happened
    """There is no report; the message tells people why."""


class Stopped(Exception):  # noqa: N818 - a service that ends stops its self-test
    """The progress callback asked the process to stop."""


def run_apart(asked: SelfTestJob, *, go_on: GoOn) -> dict[str, Any]:
    """Test in another process and return its report; raises Failed or Stopped."""
    with tempfile.TemporaryFile() as question, tempfile.TemporaryFile() as answer:
        question.write(msgspec.msgpack.encode(asked))
        question.seek(0)
        child = subprocess.Popen(
            [sys.executable, "-m", "monitor.selftest"],
            stdin=question,
            stdout=answer,
            stderr=subprocess.DEVNULL,
            env={**os.environ, **ONE_THREAD},
            # a stopping service ends the process through go_on: then it is no failure
            start_new_session=True,
        )
        try:
            last = _follow(child, answer, go_on)
        finally:
            child.kill()
            child.wait()
    if last.refused is not None:
        raise Failed(last.refused)
    if last.report is None:
        raise Failed(f"the process of the self-test ended with {child.returncode}, no report")
    return last.report


def _follow(child: subprocess.Popen[bytes], answer: IO[bytes], go_on: GoOn) -> Said:
    """Read the process's output until it ends."""
    last, waited = Said(), 0.0
    while True:
        try:
            child.wait(POLL_SECONDS)
        except subprocess.TimeoutExpired:
            waited += POLL_SECONDS
        last = _newest(answer) or last
        if child.returncode is not None:
            return last
        if waited > TIME_LIMIT:
            raise Failed(f"the self-test did not end within {TIME_LIMIT / 3600:g} hours")
        if not go_on(last.share):
            raise Stopped


def _newest(answer: IO[bytes]) -> Said | None:
    """Decode the last complete line; the process writes each in one piece."""
    answer.seek(0)
    lines = answer.read().split(b"\n")[:-1]
    return msgspec.json.decode(lines[-1], type=Said) if lines else None

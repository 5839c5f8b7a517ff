"""Run another program beside a training: watched, bounded, and ended with its worker."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Final

from monitor.environment import without_settings
from monitor.trainer.errors import ProgramFailed, TrainingFailed

POLL_S: Final = 0.2
MOST_OUTPUT: Final = 1 << 30
_LOG_END: Final = 4096


def run(
    words: Sequence[str],
    *,
    log: Path,
    alive: Callable[[], None],
    limit: timedelta,
    memory: int = 0,
    given: IO[bytes] | None = None,
    into: IO[bytes] | None = None,
    environ: Mapping[str, str] | None = None,
) -> None:
    """Run a program to its end; ``alive`` is called all along, and may raise to end it.

    Parameters
    ----------
    log
        Takes its stderr, in place of an earlier run's.
    memory
        Bytes that its process may hold; 0: any. It is looked at five times a second.
    given, into
        Its stdin and stdout, of 1 GiB at most; nothing, and the log, where absent.
    environ
        Its environment; this process's without ``DRIFTLINE_*`` where absent.

    Raises
    ------
    ProgramFailed
        It failed, or could not be run.
    TrainingFailed
        It exceeded a limit.
    """
    kept = without_settings(os.environ)
    bound = [sys.executable, "-m", "monitor.trainer.bound", str(os.getpid()), *words]
    with log.open("wb") as said:
        process = subprocess.Popen(  # noqa: S603 (the operator's own program, or ours)
            bound,
            stdin=given or subprocess.DEVNULL,
            stdout=into or said,
            stderr=said,
            env=kept if environ is None else dict(environ),
            start_new_session=True,
        )
        try:
            _watch(process, into or said, alive=alive, limit=limit, memory=memory)
        finally:
            _end(process)
    if code := process.returncode:
        how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
        raise ProgramFailed(f"{Path(words[0]).name} {how}: see {log}", code=code, last=_last(log))


def _watch(
    process: subprocess.Popen[bytes],
    output: IO[bytes],
    *,
    alive: Callable[[], None],
    limit: timedelta,
    memory: int,
) -> None:
    ends = time.monotonic() + limit.total_seconds()
    while process.poll() is None:
        alive()
        if time.monotonic() > ends:
            raise TrainingFailed(f"it ran longer than {limit}")
        if memory and _resident(process.pid) > memory:
            raise TrainingFailed(f"its process needs more than {memory:,} bytes")
        if os.fstat(output.fileno()).st_size > MOST_OUTPUT:
            raise TrainingFailed(f"it wrote more than {MOST_OUTPUT:,} bytes")
        time.sleep(POLL_S)


def _end(process: subprocess.Popen[bytes]) -> None:
    """Kill it with all that it started."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    process.wait()


def _resident(pid: int) -> int:
    """Return the bytes of memory that a process holds; 0 once it has ended."""
    try:
        pages = int(Path(f"/proc/{pid}/statm").read_text(encoding="ascii").split()[1])
    except (OSError, IndexError):
        return 0
    return pages * os.sysconf("SC_PAGE_SIZE")


def _last(log: Path) -> str:
    """Return the last line that it said."""
    with log.open("rb") as file:
        file.seek(max(0, log.stat().st_size - _LOG_END))
        lines = file.read().decode("utf-8", "replace").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "it said nothing")

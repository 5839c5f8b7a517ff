"""Run another program beside a training: watched, bounded in time and memory, ended with it."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from datetime import timedelta
from pathlib import Path
from typing import IO, Final

from monitor.trainer.errors import TrainingFailed

POLL_S: Final = 0.2
_OWN: Final = "DRIFTLINE_"


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
        Takes its stderr.
    memory
        Bytes that its process may hold; 0: any. It is looked at five times a second.
    given, into
        Its stdin and stdout; nothing, and the log, where absent.

    Raises
    ------
    TrainingFailed
        It could not be started, failed, or exceeded a limit; the message has its last line.
    """
    kept = {name: value for name, value in os.environ.items() if not name.startswith(_OWN)}
    with log.open("ab") as said:
        try:
            process = subprocess.Popen(  # noqa: S603 (the operator's own program, or ours)
                list(words),
                stdin=given or subprocess.DEVNULL,
                stdout=into or said,
                stderr=said,
                env=kept | dict(environ or {}),
                start_new_session=True,
            )
        except OSError as error:
            raise TrainingFailed(f"{words[0]}: {error.strerror}") from None
        try:
            _watch(process, alive=alive, limit=limit, memory=memory)
        finally:
            _end(process)
    if process.returncode:
        code = process.returncode
        how = f"ended by signal {-code}" if code < 0 else f"ended with code {code}"
        raise TrainingFailed(f"{Path(words[0]).name} {how}: {_last(log)}")


def _watch(
    process: subprocess.Popen[bytes], *, alive: Callable[[], None], limit: timedelta, memory: int
) -> None:
    ends = time.monotonic() + limit.total_seconds()
    while process.poll() is None:
        alive()
        if time.monotonic() > ends:
            raise TrainingFailed(f"it ran longer than {limit}")
        if memory and _resident(process.pid) > memory:
            raise TrainingFailed(f"its process needs more than {memory:,} bytes")
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
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    return next((line.strip()[:300] for line in reversed(lines) if line.strip()), "it said nothing")

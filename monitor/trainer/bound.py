"""Run a program that ends with its worker: ``python -m monitor.trainer.bound PID PROGRAM …``.

It yields the CPU to whatever serves users on the same machine. A worker that is killed leaves
nothing behind that writes into a request's folder. On other systems than Linux a program outlives
its worker.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
from typing import Final

_PR_SET_PDEATHSIG: Final = 1
_NOT_RUN: Final = 127
_NICE: Final = 10


def main(worker: int, words: list[str]) -> None:
    """Become the program, unless the worker is gone already."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != worker:
        sys.exit("its worker is gone")
    os.nice(_NICE)
    try:
        os.execvp(words[0], words)  # noqa: S606 (the operator's own program, or ours)
    except OSError as error:
        print(f"{words[0]}: {error.strerror}", file=sys.stderr)  # noqa: T201 (its log)
        sys.exit(_NOT_RUN)


if __name__ == "__main__":
    main(int(sys.argv[1]), sys.argv[2:])

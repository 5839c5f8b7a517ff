"""The command line. Commands import what they need when they run: ``--help`` is instant."""

from __future__ import annotations

import gc
import sys
from collections.abc import Sequence
from typing import Final

EASY: Final = 10_000
"""New objects before Python looks for unreachable ones among them.

Loading the service makes 180,000 that all stay. At Python's own 700 a seventh of the CPU of a
start goes into looking through them again and again.
"""


def main(words: Sequence[str] | None = None) -> None:
    """Run ``driftline`` with these words, or those of the process, and exit.

    A failure is one clear message and exit code 1, not a traceback.
    """
    gc.set_threshold(EASY)
    from monitor.cli.app import app
    from monitor.cli.failures import CommandFailed
    from monitor.cli.screen import failure

    try:
        app(args=words)
    except CommandFailed as error:
        failure(str(error))
        sys.exit(error.exit_code)


__all__ = ["main"]

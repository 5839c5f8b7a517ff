"""The command line. Commands import what they need when they run: ``--help`` is instant."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from monitor.cli.app import app
from monitor.cli.failures import CommandFailed
from monitor.cli.screen import failure


def main(words: Sequence[str] | None = None) -> None:
    """Run ``driftline`` with these words, or those of the process, and exit.

    A failure is one clear message and exit code 1, not a traceback.
    """
    try:
        app(args=words)
    except CommandFailed as error:
        failure(str(error))
        sys.exit(error.exit_code)


__all__ = ["main"]

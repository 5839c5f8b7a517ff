"""The command line as a user runs it."""

import contextlib
import io
import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from unittest.mock import patch

import structlog

from monitor.cli import main

ROOT = Path(__file__).parents[2]


@dataclass(frozen=True, kw_only=True)
class Ran:
    """How it ended and what it wrote."""

    code: int
    out: str
    err: str


def driftline(
    *words: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None
) -> Ran:
    """Run ``driftline`` in this process, with only the DRIFTLINE_* variables that are given."""
    out, err = io.StringIO(), io.StringIO()
    logs = structlog.get_config()
    with (
        patch.dict(os.environ, _environ(environ), clear=True),
        contextlib.chdir(cwd or ROOT),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            main(words)
            code = 0
        except SystemExit as end:
            code = int(end.code or 0)
        finally:
            structlog.configure(**logs)
    return Ran(code=code, out=out.getvalue(), err=err.getvalue())


def process(*words: str, environ: Mapping[str, str] | None = None, cwd: Path | None = None) -> Ran:
    """Run it in a process of its own: what configures logs, or may not load everything."""
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *words],
        env={"PYTHONPATH": str(ROOT)} | _environ(environ),
        cwd=cwd or ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def _environ(given: Mapping[str, str] | None) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_")}
    return clean | dict(given or {})


def failed(ran: Ran, *said: str, code: int = 1) -> None:
    """The command ended with one message for people, and without a traceback."""
    assert ran.code == code, ran
    assert ran.err.startswith("driftline: "), ran.err
    assert "Traceback" not in ran.err
    for words in said:
        assert words in ran.err

"""The command line as a user runs it: a process of its own."""

import os
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

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
    """Run ``driftline`` with only the DRIFTLINE_* variables that are given."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("DRIFTLINE_")}
    done = subprocess.run(
        [sys.executable, "-m", "monitor", *words],
        env=clean | {"PYTHONPATH": str(ROOT)} | dict(environ or {}),
        cwd=cwd or ROOT,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    return Ran(code=done.returncode, out=done.stdout, err=done.stderr)


def failed(ran: Ran, *said: str, code: int = 1) -> None:
    """The command ended with one message for people, and without a traceback."""
    assert ran.code == code, ran
    assert ran.err.startswith("driftline: "), ran.err
    assert "Traceback" not in ran.err
    for words in said:
        assert words in ran.err

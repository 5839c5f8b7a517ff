"""Have Evidently draw in a process of its own."""

from __future__ import annotations

import gzip
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Final

from monitor.report import tables
from monitor.report.errors import ReportError
from monitor.report.tables import Tables

PATIENCE: Final = timedelta(minutes=30)
"""It takes seconds; a busy machine may need minutes."""
_POLL_S: Final = 0.5
_ONE_THREAD: Final = dict.fromkeys(
    ("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS"), "1"
)

GoOn = Callable[[float], bool]
"""Called with the share done, in [0, 1]; False ends the process."""


class ReportStopped(Exception):  # noqa: N818 - a service that ends stops its report
    """The progress callback asked the process to stop."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Drawn:
    """A page of HTML and the snapshot in JSON that Evidently drew, both gzip."""

    page: bytes
    snapshot: bytes


def draw(chosen: Tables, *, go_on: GoOn) -> Drawn:
    """Draw with Evidently in another process; raises ReportError or ReportStopped."""
    with tempfile.TemporaryDirectory(prefix="driftline-report-") as name:
        folder = Path(name)
        tables.save(folder / "tables.npz", chosen)
        with (folder / "errors").open("wb") as errors:
            child = subprocess.Popen(  # noqa: S603 - our own module
                [sys.executable, "-m", "monitor.report.render", name],
                env={**os.environ, **_ONE_THREAD, "DO_NOT_TRACK": "1"},
                stdout=subprocess.DEVNULL,
                stderr=errors,
                # a stopping service ends the process through go_on: then it is no failure
                start_new_session=True,
            )
            try:
                _follow(child, folder, go_on)
            finally:
                child.kill()
                child.wait()
        return Drawn(
            page=gzip.compress((folder / "report.html").read_bytes(), 6),
            snapshot=gzip.compress((folder / "snapshot.json").read_bytes(), 6),
        )


def _follow(child: subprocess.Popen[bytes], folder: Path, go_on: GoOn) -> None:
    """Wait until the process has ended, and tell how far it is."""
    until = time.monotonic() + PATIENCE.total_seconds()
    while child.poll() is None:
        try:
            child.wait(_POLL_S)
        except subprocess.TimeoutExpired:
            if time.monotonic() > until:
                raise ReportError(f"Evidently took longer than {PATIENCE}; gave up") from None
            if not go_on(_share(folder / "progress")):
                raise ReportStopped from None
    if child.returncode != 0:
        said = (folder / "errors").read_text(encoding="utf-8", errors="replace").split("\n")
        last = next(filter(None, reversed(said)), "it did not say why")
        raise ReportError(f"Evidently could not draw the report: {last}")


def _share(progress: Path) -> float:
    try:
        return float(progress.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return 0.1

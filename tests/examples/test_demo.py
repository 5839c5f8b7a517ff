"""The whole demo, as a stranger runs it."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = [pytest.mark.slow, pytest.mark.timeout(2400)]


def test_every_act_of_the_demo_ends_as_it_must_and_nothing_is_left(tmp_path: Path) -> None:
    ended = subprocess.run(
        [sys.executable, "-m", "examples.demo", "--once"],
        env={**os.environ, "TMPDIR": str(tmp_path)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert ended.returncode == 0, ended.stdout[-8_000:] + ended.stderr[-2_000:]
    assert "every act ended as it must" in ended.stdout
    assert list(tmp_path.iterdir()) == []
    assert str(tmp_path) not in _commands()


def _commands() -> str:
    """Command lines of every process on this machine."""
    found = []
    for process in Path("/proc").glob("[0-9]*/cmdline"):
        try:
            found.append(process.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
        except OSError:  # it ended while we looked
            continue
    return "\n".join(found)

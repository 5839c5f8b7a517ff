"""What `make` says where a program that tests need is missing."""

import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.browser import NAMES
from tests.docs.pages import ROOT

Run = Callable[[str], str]
MAKE = shutil.which("make") or "make"


@pytest.fixture
def programs(tmp_path: Path) -> Path:
    """The only folder on the path of what runs; nobody there may install anything."""
    _program(tmp_path / "id", "echo 1000")
    return tmp_path


def _program(path: Path, line: str) -> None:
    path.write_text(f"#!/bin/sh\n{line}\n")
    path.chmod(0o755)


@pytest.fixture
def told(programs: Path) -> Run:
    """Run a target as if the environment of these tests were its own, made just now."""

    def run(target: str) -> str:
        command = [MAKE, "--no-print-directory", f"VENV={sys.prefix}", target]
        ran = subprocess.run(
            [*command, "-o", f"{sys.prefix}/.ready"],
            cwd=ROOT,
            env={"PATH": str(programs)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert (ran.returncode, ran.stderr) == (0, "")
        return ran.stdout

    return run


@pytest.mark.parametrize("name", NAMES)
def test_any_browser_that_page_tests_can_drive_is_enough(
    told: Run, programs: Path, name: str
) -> None:
    """Before, it said that tests would skip where there was a Chromium but no headless shell."""
    _program(programs / name, "exit 1")
    assert told("browser") == ""


def test_a_browser_that_is_missing_is_told_once(told: Run) -> None:
    line = "no chromium here, nor could it be installed: tests of it will skip, in CI fail\n"
    assert told("browser") == line

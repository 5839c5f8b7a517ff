"""What the README shows is run, and the commands it names exist."""

import re
import subprocess
from pathlib import Path

import pytest
from typer.testing import CliRunner

from monitor.cli.app import app
from tests.docs.pictures import OF_PAGES, hash_of_pages
from tests.docs.shell import blocks

ROOT = Path(__file__).parents[2]
README = ROOT / "README.md"


def test_every_shown_line_is_run_by_the_quickstart() -> None:
    run = {
        line
        for block in blocks(ROOT / "docs" / "quickstart.md")
        for line in block.code.splitlines()
    }
    shown = [line for block in blocks(README) for line in block.code.splitlines()]
    assert shown
    assert [line for line in shown if line not in run] == []


def test_it_is_short() -> None:
    assert len(README.read_text(encoding="utf-8").splitlines()) <= 150


@pytest.mark.parametrize("target", ["demo", "test", "env"])
def test_every_target_is_in_the_makefile(target: str) -> None:
    ran = subprocess.run(["make", "-n", target], cwd=ROOT, capture_output=True, check=False)
    assert ran.returncode == 0, ran.stderr


def test_continuous_integration_runs_the_test_command() -> None:
    assert "\nmake test\n" in (ROOT / ".ci" / "run").read_text()
    assert "`make test`" in README.read_text()


def test_the_message_shown_is_one_that_the_service_writes() -> None:
    messages = (ROOT / "tests/alerts/messages.txt").read_text(encoding="utf-8")
    _, _, told = messages.partition("## drift, adapter, page, moved\n")
    lines = dict(line.split(": ", 1) for line in told.partition("\n\n")[0].splitlines())
    parts = {"Impact": "impact", "Likely cause": "likely_cause"}
    parts |= {"Driftline": "driftline", "You": "you"}
    said = [lines["title"], *(f"{label} {lines[name]}" for label, name in parts.items())]
    assert " ".join(said) in " ".join(README.read_text(encoding="utf-8").split())


def test_its_pictures_show_the_pages_as_they_are() -> None:
    assert OF_PAGES.read_text().strip() == hash_of_pages(), "draw them anew: make pictures"


def test_its_line_of_a_log_is_one(tmp_path: Path) -> None:
    [line] = re.findall(r'`({"adapter".*?})`', README.read_text(encoding="utf-8"))
    (tmp_path / "log.jsonl").write_text(f"{line}\n" * 4)
    command = ["replay", str(tmp_path / "log.jsonl"), "--baseline-first", "14d", "--no-embeddings"]
    said = str(CliRunner().invoke(app, command).exception)
    assert "support: all of its 4 records went into the baseline" in said

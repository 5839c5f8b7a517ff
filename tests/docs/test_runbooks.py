"""Every message leads to a page that says what to do, by commands that exist."""

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

from alerts.types import Blame, Kind
from detectors import DETECTORS
from monitor.cli.app import app
from tests.docs.pages import DOCS, headings

RUNBOOKS = sorted((DOCS / "runbooks").glob("*.md"))
EVERY = pytest.mark.parametrize("page", RUNBOOKS, ids=lambda page: page.stem)
CODE = re.compile(r"^```sh\n(.*?)^```$|`(driftline [^`]+)`", re.MULTILINE | re.DOTALL)


def test_every_detector_blame_and_kind_has_one() -> None:
    assert {page.stem for page in RUNBOOKS} >= {
        *(f"detector-{name}" for name in (*DETECTORS, "perplexity")),
        *(f"blame-{blame.value}" for blame in Blame),
        *(f"kind-{kind.value}" for kind in Kind if kind is not Kind.DRIFT),
    }


@EVERY
def test_a_runbook_says_what_to_look_at_what_to_do_and_when_it_is_over(page: Path) -> None:
    _, *sections = headings(page)
    assert sections == ["Look first", "What it can be", "When it is over"]
    said = page.read_text(encoding="utf-8")
    assert len(re.findall(r"^\| (?!you see|---)", said, re.MULTILINE)) >= 4
    assert list(commands(page)), "it names no command"


@EVERY
def test_its_commands_exist_with_their_options(page: Path) -> None:
    for line in commands(page):
        words = shlex.split(line, comments=True)[1:]
        command: Any = typer.main.get_command(app)
        while hasattr(command, "commands"):
            assert words[0] in command.commands, line
            command = command.commands[words.pop(0)]
        known = {option for parameter in command.params for option in parameter.opts}
        assert {word for word in words if word.startswith("-")} <= known, line
        required = [p for p in command.params if p.param_type_name == "argument" and p.required]
        given = [word for word in words if not word.startswith("-")]
        assert not words or len(given) >= len(required), line  # a bare name is only spoken of


def commands(page: Path) -> Iterator[str]:
    for block, inline in CODE.findall(page.read_text(encoding="utf-8")):
        lines = [inline] if inline else block.splitlines()
        yield from (line.replace("\u2026", "x") for line in lines if line.startswith("driftline "))

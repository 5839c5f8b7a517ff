"""What stands on a screen: prose in lines that fit, in a pipe a line for each sentence."""

import io

import pytest
from rich.console import Console

from monitor.cli import screen

SAID = "answers repeat themselves, sure enough for a page; the page waits for the perplexity probe"


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


@pytest.mark.parametrize("file", [Terminal(), io.StringIO()], ids=["terminal", "pipe"])
def test_prose_takes_the_width_of_a_terminal(
    file: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(screen, "OUT", Console(file=file, width=40, color_system=None))
    screen.say(f"  at 12:04  {SAID}", hanging=12)
    lines = file.getvalue().splitlines()
    assert " ".join(" ".join(lines).split()) == f"at 12:04 {SAID}"
    if not file.isatty():
        assert len(lines) == 1
        return
    assert max(map(len, lines)) <= 40
    assert all(line.startswith(" " * 12) for line in lines[1:])


def test_a_failure_is_wrapped_behind_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    file = Terminal()
    monkeypatch.setattr(screen, "ERR", Console(file=file, width=40, color_system=None))
    screen.failure(SAID)
    lines = file.getvalue().splitlines()
    assert lines[0].startswith("driftline: answers repeat")
    assert max(map(len, lines)) <= 40

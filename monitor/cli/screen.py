"""Terminal output: tables, verdicts in colour, failures.

Names and reasons come from outside. None is markup, and none reaches the terminal with
control characters.
"""

from __future__ import annotations

import json
import math
import os
import sys
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer
from rich.console import Console
from rich.text import Text

from monitor.cli.tables import prose, table_lines

if TYPE_CHECKING:
    from rich.progress import Progress

PIPED_WIDTH = 160

Cell = Text | str


def _console(*, stderr: bool) -> Console:
    """Return a console; into a pipe it is wide, so that searched words are not cut."""
    stream = sys.stderr if stderr else sys.stdout
    known = stream.isatty() or "COLUMNS" in os.environ
    return Console(stderr=stderr, width=None if known else PIPED_WIDTH)


OUT = _console(stderr=False)
ERR = _console(stderr=True)

VERDICT_STYLES = {
    "critical": "bold red",
    "drifting": "yellow",
    "stable": "green",
    "learning": "blue",
    "blind": "magenta",
    "insufficient": "dim",
    "unmeasured": "dim",
    "error": "bold magenta",
}
"""The hues that the pages give them. ``NO_COLOR`` leaves them out."""


def plain(text: str) -> str:
    r"""Escape what a terminal would obey: escapes, carriage returns, reversed writing.

    >>> print(plain("a" + chr(27) + "[31mred"))
    a\x1b[31mred
    """
    return "".join(
        c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode() for c in text
    )


def say(text: str, *, style: str = "", hanging: int | None = None) -> None:
    """Print a line; in a terminal it breaks between words, and goes on ``hanging`` columns in."""
    _print(OUT, Text(plain(text), style=style), hanging=hanging)


def marked(mark: str, text: str, *, style: str, hanging: int) -> None:
    """Print a line that begins with a word in colour."""
    _print(OUT, Text(mark, style=style) + Text(plain(text)), hanging=hanging)


def note(text: str) -> None:
    """Print a line to stderr, out of sight of scripts that read stdout."""
    _print(ERR, Text(plain(text)))


def failure(message: str) -> None:
    """Print a failure to stderr."""
    _print(ERR, Text("driftline: ", style="bold red") + Text(plain(message)))


def _print(console: Console, text: Text, *, hanging: int | None = None) -> None:
    """Print prose; into a file or a pipe a line stays a line, so that it can be searched."""
    if not console.file.isatty():
        console.print(text, soft_wrap=True)
        return
    lines = prose(text.plain, console.width, hanging=hanging)
    for number, line in enumerate(lines):
        drawn = Text(line, style=text.style)
        if number == 0:
            for span in text.spans:
                drawn.stylize(span.style, span.start, span.end)
        console.print(drawn, soft_wrap=True)


def without_logs() -> None:
    """Keep log lines out of a command's output; the command prints its own errors.

    No logger is cached, so that a caller who runs a command in its own process can undo it.
    """
    import logging

    import structlog

    silent = structlog.make_filtering_bound_logger(logging.CRITICAL)
    structlog.configure(wrapper_class=silent, cache_logger_on_first_use=False)


def progress() -> Progress:
    """Return a progress bar in a terminal; a hidden one in a log or a pipe."""
    from rich.progress import Progress

    return Progress(console=ERR, disable=not ERR.is_terminal)


def as_json(body: object) -> None:
    """Print JSON in ASCII, safe for a terminal and for a pipe."""
    typer.echo(json.dumps(body, indent=2))


def verdict(word: str) -> Text:
    """Return a verdict in its colour; the word alone says it too."""
    return Text(plain(word), style=VERDICT_STYLES.get(word, ""))


def number(value: float | None, *, digits: int = 2) -> str:
    """Return a number as text, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}"


def figure(value: float | None) -> str:
    """Return a number in three digits, or a dash where there is none."""
    return "-" if value is None else f"{value:.3g}"


def weight(share: float) -> str:
    """Return a share of the traffic as text; less than one percent is not rounded to zero.

    >>> weight(0.1), weight(0.005)
    ('10%', '0.5%')
    """
    return f"{100 * share:.3g}%"


def covered(share: float) -> str:
    """Return a compared share of requests as text; only all of them are 100 %.

    >>> covered(0.9999), covered(1.0)
    ('99%', '100%')
    """
    return f"{math.floor(100 * share + 1e-9)}%"


def moment(at: datetime | None, *, otherwise: str = "-") -> str:
    """Return a time as people read it, in UTC to the second.

    >>> moment(datetime(2026, 11, 25, 16, 22, 26, 776179, UTC)), moment(None, otherwise="open")
    ('2026-11-25 16:22:26', 'open')
    """
    return otherwise if at is None else f"{at.astimezone(UTC):%Y-%m-%d %H:%M:%S}"


def table(
    title: str,
    columns: Sequence[str],
    rows: Iterable[Sequence[Cell]],
    *,
    below: Sequence[Sequence[str]] = (),
    none: str = "",
) -> None:
    """Print a table under its title; ``below`` gives the lines that follow each row.

    ``none`` is printed in its place where there is no row.
    """
    cells = [[Text(plain(one)) if isinstance(one, str) else one for one in row] for row in rows]
    if none and not cells:
        say(none)
        return
    notes = [[plain(one) for one in each] for each in below]
    _print(OUT, Text(plain(title), style="italic"))
    for line in table_lines(columns, cells, width=OUT.width, below=notes):
        OUT.print(line, soft_wrap=True)

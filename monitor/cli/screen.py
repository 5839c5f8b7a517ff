"""What the terminal shows: tables, verdicts in colour, failures. Text is never markup."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence

from rich.console import Console
from rich.table import Table
from rich.text import Text

OUT = Console()
ERR = Console(stderr=True)

VERDICT_STYLES = {
    "critical": "bold red",
    "drifting": "yellow",
    "stable": "green",
    "learning": "cyan",
    "insufficient": "dim",
    "error": "magenta",
}


def failure(message: str) -> None:
    """Print a failure to stderr."""
    ERR.print(Text("driftline: ", style="bold red") + Text(message))


def verdict(word: str) -> Text:
    """A verdict in its colour; the word alone says it too."""
    return Text(word, style=VERDICT_STYLES.get(word, ""))


def number(value: float | None, *, digits: int = 2) -> str:
    """A number, or a dash where there is none."""
    if value is None or not math.isfinite(value):
        return "-"
    return f"{value:.{digits}f}"


def table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Text | str]]) -> None:
    """Print a table; strings are taken literally, whatever brackets they hold."""
    shown = Table(title=title, title_justify="left", header_style="bold")
    for column in columns:
        shown.add_column(column, overflow="fold")
    for row in rows:
        shown.add_row(*(Text(cell) if isinstance(cell, str) else cell for cell in row))
    OUT.print(shown)

"""Draw a command's output again and again, until a person has seen enough."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Final

from rich.text import Text

from monitor.cli import screen
from monitor.cli.failures import NotAnswering

EVERY: Final = 5.0
"""Seconds between two looks."""
FROM_THE_TOP: Final = "\x1b[H"
REST_OF_LINE: Final = "\x1b[K"
REST_OF_SCREEN: Final = "\x1b[J"


def watch(draw: Callable[[], object], *, every: float) -> None:
    """Draw until Ctrl-C.

    While the service does not answer, what it said last stays, and below it stands why; the next
    look tries again. In a pipe one drawing follows the other.
    """
    drawn = ""
    try:
        with screen.OUT.screen():
            while True:
                trouble = None
                try:
                    with screen.OUT.capture() as seen:
                        draw()
                    drawn = seen.get()
                except NotAnswering as error:
                    trouble = str(error)
                _show(drawn, _footer(trouble, every=every))
                time.sleep(every)
    except KeyboardInterrupt:
        return


def _footer(trouble: str | None, *, every: float) -> Text:
    at = screen.moment(datetime.now(tz=UTC))
    if trouble is None:
        return Text(f"{at} UTC, again every {every:g} s; Ctrl-C ends", style="dim")
    said = screen.plain(f"{trouble} Above is what it said last. Tried again every {every:g} s.")
    return Text(f"{at} UTC: {said}", style="bold red")


def _show(drawn: str, footer: Text) -> None:
    out = screen.OUT
    if not out.is_terminal or out.is_dumb_terminal:
        out.print(Text.from_ansi(drawn), footer, soft_wrap=True)
        return
    below = list(footer.wrap(out, out.width))
    lines = list(Text.from_ansi(drawn).wrap(out, out.width))
    room = out.height - len(below) - 1
    if len(lines) > room:
        more = f"… {len(lines) - room + 1} more lines: make the window taller, or narrow the list"
        lines = [*lines[: room - 1], Text(more[: out.width], style="dim")]
    with out.capture() as written:
        for line in (*lines, Text(), *below):
            out.print(line, end=f"{REST_OF_LINE}\n" if line is not below[-1] else REST_OF_SCREEN)
    sys.stdout.write(FROM_THE_TOP + written.get())
    sys.stdout.flush()

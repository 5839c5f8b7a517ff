"""Tell the story in the terminal: acts, news as they come, a live picture, checks, times.

Texts of users are shown as they are and never read as markup.
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from datetime import datetime

from rich.console import Console
from rich.live import Live
from rich.panel import Panel
from rich.progress import (
    BarColumn,
    MofNCompleteColumn,
    Progress,
    TextColumn,
    TimeElapsedColumn,
)
from rich.rule import Rule
from rich.table import Table
from rich.text import Text

from examples.demo import pictures
from examples.demo.lookout import Sight
from examples.demo.outcome import ActResult
from examples.demo.receiver import Message


class Narrator:
    """Writes to a console; the live picture appears in terminals only."""

    def __init__(self, console: Console | None = None) -> None:
        self.console = console or Console(highlight=False)
        self._last = Sight()

    def title(self, text: str) -> None:
        """Begin a part of the story."""
        self.console.print()
        self.console.print(Rule(Text(text, style="bold")))

    def say(self, text: str, *, style: str = "") -> None:
        """Tell one thing, with the time."""
        now = f"{datetime.now().astimezone():%H:%M:%S}"
        self.console.print(Text.assemble((f"{now}  ", "dim"), (text, style)))

    @contextmanager
    def counting(self) -> Iterator[Progress]:
        """Progress bars while something is counted."""
        columns = (
            TextColumn("[progress.description]{task.description}"),
            BarColumn(),
            MofNCompleteColumn(),
            TimeElapsedColumn(),
        )
        with Progress(*columns, console=self.console) as progress:
            yield progress

    @contextmanager
    def watching(self, waiting_for: str, *, seconds: float) -> Iterator["Picture"]:
        """Show what is seen while waiting, with a bar that fills in ``seconds``."""
        if not self.console.is_terminal:
            yield Picture(self, waiting_for, seconds=seconds, live=None)
            return
        with Live(console=self.console, refresh_per_second=4, transient=True) as live:
            yield Picture(self, waiting_for, seconds=seconds, live=live)

    def news(self, sight: Sight) -> None:
        """Tell what is new since the last look: verdicts, routes, canaries, messages."""
        for name, seen in sight.adapters.items():
            before = self._last.adapters.get(name)
            if before is None or before.state.verdict != seen.state.verdict:
                self.say(
                    f"{name}: {seen.state.verdict} — {seen.state.reason}",
                    style=pictures.COLOURS.get(seen.state.verdict, ""),
                )
            if before is not None and before.state.route != seen.state.route:
                self.say(f"{name}: route is now {pictures.route(seen.state.route)}", style="cyan")
        known = {one.canary: one for one in self._last.canaries}
        for canary in reversed(sight.canaries):
            before_it = known.get(canary.canary)
            if before_it is None or before_it.phase != canary.phase:
                self.say(
                    f"canary {canary.adapter}@{canary.version}: {canary.phase.replace('_', ' ')}"
                    f" — {canary.reason}",
                    style=pictures.PHASES.get(canary.phase, ""),
                )
        for message in sight.messages[len(self._last.messages) :]:
            self._message(message)
        self._last = sight

    def result(self, result: ActResult) -> None:
        """Show how an act ended, check by check."""
        table = Table(box=None, show_header=False, pad_edge=False)
        for check in result.checks:
            mark = Text("✓", "green") if check.passed else Text("✗", "bold red")
            table.add_row(mark, check.what, Text(check.seen, "dim"))
        self.console.print(table)

    def summary(self, results: Sequence[ActResult]) -> None:
        """Show all acts with their times."""
        self.console.print()
        self.console.print(pictures.summary(results))

    def _message(self, message: Message) -> None:
        style = "red" if message.severity == "page" else "yellow"
        heading = f"on-call received a {message.severity} ({message.status}), signature verified"
        self.console.print(
            Panel(
                pictures.message(message),
                title=Text(heading),
                border_style="green" if message.status == "recovered" else style,
            )
        )


class Picture:
    """The live picture of one wait."""

    def __init__(
        self, narrator: Narrator, waiting_for: str, *, seconds: float, live: Live | None
    ) -> None:
        self._narrator = narrator
        self._waiting_for = waiting_for
        self._seconds = seconds
        self._live = live

    def show(self, sight: Sight, *, elapsed: float) -> None:
        """Tell the news and draw what is seen now."""
        self._narrator.news(sight)
        if self._live is not None:
            share = min(1.0, elapsed / self._seconds) if self._seconds else 0.0
            self._live.update(pictures.fleet(sight, waiting_for=self._waiting_for, share=share))

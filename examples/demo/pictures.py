"""What the narrator draws. Pure: from data to Rich renderables."""

from collections.abc import Sequence
from types import MappingProxyType
from typing import Final

from rich.console import Group, RenderableType
from rich.panel import Panel
from rich.progress_bar import ProgressBar
from rich.table import Table
from rich.text import Text

from examples.demo.driftline_client import Canary, Route
from examples.demo.lookout import Seen, Sight
from examples.demo.outcome import ActResult
from examples.demo.receiver import Message

COLOURS: Final = MappingProxyType(
    {
        "stable": "green",
        "drifting": "yellow",
        "critical": "bold red",
        "error": "magenta",
        "learning": "blue",
        "blind": "bold cyan",
        "insufficient": "blue",
    }
)

PHASES: Final = MappingProxyType(
    {"running": "cyan", "paused": "yellow", "succeeded": "green", "rolled_back": "bold red"}
)


def fleet(sight: Sight, *, waiting_for: str, share: float) -> RenderableType:
    """Draw the fleet, and how much of the waiting time has gone (0 to 1)."""
    table = Table(expand=True, box=None)
    table.add_column("adapter")
    table.add_column("verdict")
    table.add_column("strongest evidence (0 = alarm)")
    table.add_column("route")
    table.add_column("answering now")
    table.add_column("requests/s", justify="right")
    for name, seen in sight.adapters.items():
        table.add_row(*_row(name, seen))
    trials = [Text(_trial(one), PHASES.get(one.phase, "")) for one in reversed(sight.canaries)]
    told = Text(f"messages at the webhook: {len(sight.messages)}", "dim")
    bar = ProgressBar(total=1.0, completed=share)
    return Panel(Group(table, *trials, told, Text(waiting_for, "italic"), bar), border_style="dim")


def route(found: Route | None) -> str:
    """Write a route in a few words."""
    if found is None:
        return "none"
    shares = ", ".join(f"{version} {weight:.0%}" for version, weight in found.versions.items())
    return f"{shares} (generation {found.generation})"


def message(received: Message) -> RenderableType:
    """Draw a message as on-call reads it."""
    body = received.body
    said = dict(body["brief"])
    lines = [Text(str(said.pop("title")), "bold")]
    if update := body.get("update"):
        lines.append(Text(str(update["text"]), "yellow"))
    details = str(said.pop("details", ""))
    for part, text in said.items():
        lines.append(Text.assemble((f"{part.replace('_', ' ').capitalize()}: ", "cyan"), str(text)))
    lines += [Text(details, "dim")] if details else []
    lines += [Text(f"  · {example}", "italic") for example in body.get("examples") or ()]
    return Group(*lines)


def summary(results: Sequence[ActResult]) -> RenderableType:
    """Draw every act's verdict and times."""
    table = Table(title="What happened", title_justify="left")
    table.add_column("act")
    table.add_column("ended as it must")
    table.add_column("times")
    for result in results:
        passed = Text("yes", "green") if result.passed else Text("no", "bold red")
        times = "\n".join(f"{what}: {seconds:z.1f} s" for what, seconds in result.times)
        table.add_row(result.title, passed, times)
    return table


def _trial(canary: Canary) -> str:
    phase = canary.phase.replace("_", " ")
    return f"canary {canary.adapter}@{canary.version}, {canary.weight:.0%}: {phase}"


def _row(name: str, seen: Seen) -> tuple[RenderableType, ...]:
    state = seen.state
    leading = state.leading
    evidence = f"{leading.strongest:+.1f} {leading.detector}" if leading else "-"
    total = seen.answering.total() or 1
    answering = ", ".join(f"{v} {n / total:.0%}" for v, n in seen.answering.items())
    return (
        f"{name}@{state.version}",
        Text(state.verdict, COLOURS.get(state.verdict, "")),
        evidence,
        route(state.route),
        answering or "-",
        f"{seen.rate:.1f}",
    )

"""Command that lists new topics: groups among the requests that are unlike training."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place
from monitor.cli.failures import CommandFailed
from monitor.cli.options import moment
from monitor.views.score import GroupBody, GrowthBody, NewBody


@options.asks
def new(
    service: Service,
    adapter: options.Adapter,
    since: Annotated[
        str | None,
        typer.Option(help="How far back, such as 24h or 7d, or a time; the onset when left out."),
    ] = None,
    version: Annotated[
        str | None, typer.Option(help="Name of a version; the one in charge when left out.")
    ] = None,
) -> None:
    """Group the recent requests that are unlike training, with the words typical of them."""
    start = None if since is None else _moment(since)
    found = service.look(place("adapters", adapter, "new"), NewBody, since=start, version=version)
    label = f"{found.adapter}@{found.version}"
    screen.say(
        f"{label}: {found.unlike:,} of {found.compared:,} requests since"
        f" {screen.moment(found.window.start)} are unlike training"
        f" (similarity below {found.below:.2f}; usually 5 %)"
    )
    if found.looked_at < found.unlike:
        screen.say(f"an even sample of {found.looked_at:,} of them was grouped")
    if not found.groups:
        screen.say("no three of them are near each other")
        return
    screen.table(
        "groups, those of most subjects first",
        ["requests", "subjects", "share", "grew", "first seen", "words", "nearest", "records"],
        [_row(group) for group in found.groups],
    )
    for number, group in enumerate(found.groups, start=1):
        for prompt, output in zip(group.prompts, group.outputs, strict=True):
            screen.say(f"  {number}. {prompt}" + (f"\n     answered: {output}" if output else ""))


def _row(group: GroupBody) -> list[str]:
    nearest = group.neighbours[:1]
    return [
        f"{group.count:,}",
        f"{group.subjects:,}",
        f"{group.share:.1%}",
        grew(group.growth),
        screen.moment(group.first_seen),
        ", ".join(group.words) or "-",
        "".join(f"line {one.row} ({one.similarity:.2f})" for one in nearest) or "-",
        ", ".join(group.records[:2]),
    ]


def grew(growth: GrowthBody | None) -> str:
    """Return a growth with its interval, as text.

    >>> grew(GrowthBody(ratio=4.0, interval=(1.97, 8.97)))
    'x 4 (2 to 9)'
    >>> grew(GrowthBody(ratio=None, interval=(5, None)))
    'from none (x 5 or more)'
    """
    if growth is None:
        return "-"
    low, high = growth.interval
    if growth.ratio is None:
        return f"from none (x {low:.1g} or more)"
    upper = "any" if high is None else f"{high:.2g}"
    return f"x {growth.ratio:.2g} ({low:.2g} to {upper})"


def _moment(text: str) -> str:
    """Convert a duration back from now, or a time, to the service's form."""
    from monitor.config.reading import duration

    try:
        return (datetime.now(tz=UTC) - duration(text)).isoformat()
    except (ValueError, OverflowError):
        pass
    try:
        return moment(text).isoformat()
    except ValueError:
        raise CommandFailed(f"--since {text}: neither a duration such as 24h nor a time") from None

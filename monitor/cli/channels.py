"""Commands that list the channels and test whether they work."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import timedelta
from typing import Annotated, Any

import typer

from alerts.types import Severity
from alerts.words import duration
from monitor.cli import options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.failures import CommandFailed
from monitor.views.message import ChannelBody, TrialBody
from monitor.views.shape import Page

app = options.CommandGroup("Show who is told, and test whether messages reach them.")


@app.asks("list")
def list_channels(service: Service) -> None:
    """Show the configured channels, what each wants, and what it has not taken yet."""
    found = service.look("/channels", Page[ChannelBody])
    screen.table(
        "channels",
        ["channel", "kind", "gets", "fallback", "waiting", "dead", "health"],
        [
            [
                one.channel,
                one.kind,
                _gets(one),
                one.fallback or "-",
                f"{one.waiting}, the oldest {one.oldest_seconds:.0f} s" if one.waiting else "0",
                str(one.dead),
                "degraded" if one.degraded else "-",
            ]
            for one in found.items
        ],
        none="no channel is configured, so nobody is told: add one under [channels]",
    )


def _gets(one: ChannelBody) -> str:
    if not one.unacknowledged_for_s:
        return wants(one.match)
    late = duration(timedelta(seconds=one.unacknowledged_for_s))
    return f"{wants(one.match)}, unacknowledged for {late}"


@app.asks("test")
def try_channel(
    service: Service,
    channel: Annotated[str, typer.Argument(help="Name of the channel in the config.")],
    severity: Annotated[
        Severity, typer.Option(help="A ticket wakes nobody; a page may.")
    ] = Severity.TICKET,
    wait: Annotated[float, typer.Option(min=1, max=30, help="Seconds for each message.")] = 30.0,
) -> None:
    """Send a message that says it is a test, and its end; exit code 1 if it is not taken."""
    answer = service.post(place("channels", channel, "test"), severity=severity.value, wait=wait)
    tried = read(answer, TrialBody)
    service.show(answer, code=0 if tried.taken else 1)
    if not tried.taken:
        raise CommandFailed(f"{channel} has not taken the test: {tried.answer}")
    for sent in tried.deliveries:
        screen.say(f"{channel} took {sent.delivery}: {sent.summary}")


def wants(match: Mapping[str, Any]) -> str:
    """Return in words what a `match` accepts."""
    if not match:
        return "everything"
    labels = match.get("labels", {})
    facts = {key: wanted for key, wanted in match.items() if key != "labels"} | labels
    return "; ".join(f"{key} {' or '.join(wanted)}" for key, wanted in facts.items())

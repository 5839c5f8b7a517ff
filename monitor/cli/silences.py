"""Commands about silences, which hold messages back for a while."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from alerts.matching import NAMES, WORDS
from monitor.cli import options, screen
from monitor.cli.channels import wants
from monitor.cli.client import Service, place
from monitor.cli.failures import CommandFailed
from monitor.cli.options import HELP, moment
from monitor.views.message import SilenceBody
from monitor.views.shape import Page

app = options.CommandGroup("Hold messages back for a while, and say why.")

FACTS = (*NAMES, *WORDS)


@app.asks("add")
def add(
    service: Service,
    match: Annotated[
        list[str],
        typer.Argument(
            help=f"NAME=VALUE, or NAME=A,B for any of several: {', '.join(FACTS)}, or a label."
        ),
    ],
    comment: Annotated[str, typer.Option("--comment", "-m", help="Why; people will read it.")],
    hours: Annotated[
        float, typer.Option(min=0.01, max=90 * 24.0, help="Hold messages back for this many hours.")
    ] = 2.0,
    starts_at: Annotated[
        datetime | None,
        typer.Option(
            "--from",
            parser=moment,
            metavar="TIME",
            help=f"When it starts, {HELP}; now where it is left out.",
        ),
    ] = None,
) -> None:
    """Hold messages back; what is still open at the end is told then."""
    body: dict[str, Any] = {"match": _match(match), "hours": hours, "comment": comment}
    if starts_at is not None:
        body["starts_at"] = starts_at.isoformat()
    made = service.order("/silences", body, SilenceBody)
    screen.note(f"{wants(made.match)}: silent until {screen.moment(made.ends_at)}")
    screen.say(str(made.silence))


@app.asks("list")
def list_silences(
    service: Service,
    *,
    over: Annotated[bool, typer.Option("--over", help="List those that have ended, too.")] = False,
) -> None:
    """Show silences that hold now or later, newest first."""
    found = service.look("/silences", Page[SilenceBody], over=over or None)
    screen.table(
        "silences, newest first",
        ["silence", "of what", "from", "until", "by", "why"],
        [
            [
                str(one.silence),
                wants(one.match),
                screen.moment(one.starts_at),
                screen.moment(one.ends_at),
                one.author,
                one.comment,
            ]
            for one in found.items
        ],
        none="nothing is silenced; `driftline silence add adapter=NAME -m WHY` holds messages back",
    )


@app.asks("expire")
def expire(
    service: Service,
    silence: Annotated[
        int, typer.Argument(min=1, help="Number of the silence, as `list` shows it.")
    ],
) -> None:
    """End a silence now; what it held back and is still open is told."""
    service.show(service.delete(place("silences", silence)))
    screen.say(f"silence {silence} is over")


def _match(words: list[str]) -> dict[str, object]:
    match: dict[str, object] = {}
    labels: dict[str, object] = {}
    for word in words:
        name, found, value = word.partition("=")
        if not found or not name or not value:
            raise CommandFailed(f"{word!r} is no NAME=VALUE")
        (match if name in FACTS else labels)[name] = value.split(",")
    return match | ({"labels": labels} if labels else {})

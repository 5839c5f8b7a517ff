"""Commands that list deliveries, and send failed ones again."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place
from monitor.cli.failures import CommandFailed
from monitor.views.message import DeliveryBody
from monitor.views.shape import Page

app = options.CommandGroup("Show what was sent to whom, and send again what nobody took.")


@app.asks("list")
def list_deliveries(
    service: Service,
    state: Annotated[
        str | None, typer.Option(help="Only messages in this state: queued, delivered or dead.")
    ] = None,
    limit: options.Limit = 50,
) -> None:
    """Show messages and their delivery, newest first."""
    found = service.look("/deliveries", Page[DeliveryBody], state=state, limit=limit)
    screen.table(
        "messages, newest first",
        ["delivery", "channel", "state", "attempts", "written at", "summary", "error"],
        [
            [
                str(one.delivery),
                one.channel,
                one.state,
                str(one.attempts),
                screen.moment(one.created_at),
                one.summary or "-",
                one.last_error or "-",
            ]
            for one in found.items
        ],
        none=(
            f"no message is {state}; `driftline deliveries list` shows all"
            if state
            else "no message was sent yet; `driftline channels test NAME` sends one"
        ),
    )


@app.asks("replay")
def replay(
    service: Service,
    delivery: Annotated[
        list[str] | None, typer.Argument(help="Ids of dead messages, as the list shows them.")
    ] = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Send every dead message.")] = False,
) -> None:
    """Send dead messages again, each under its own id."""
    if every == bool(delivery):
        raise CommandFailed("name dead messages by their ids, or --all of them")
    # read the whole list first, because a message queued again leaves its page;
    # one delivery per message is enough: all of a message's are queued together
    found = service.pages("/deliveries", DeliveryBody, state="dead") if every else ()
    dead = delivery or list({one.message: str(one.delivery) for one in found}.values())
    answers = [service.post(place("deliveries", one, "replay")) for one in dead]
    for sent in service.shown(answers, list[DeliveryBody]):
        screen.say(f"{sent.delivery} to {sent.channel} is queued again")
    if not dead:
        screen.say("no message is dead")

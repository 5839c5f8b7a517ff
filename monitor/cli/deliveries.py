"""What was sent to whom, and sending again what nobody took."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place
from monitor.cli.failures import CommandFailed

app = typer.Typer(help="What was sent to whom; dead letters again.", no_args_is_help=True)

LARGEST_PAGE = 1000


@app.command("list")
def list_deliveries(
    state: Annotated[
        str | None, typer.Option(help="Only those: queued, delivered or dead.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_PAGE, help="At most so many.")] = 50,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Show messages and what became of them, newest first."""
    with options.service(config) as service:
        found = service.get("/deliveries", state=state, limit=limit)
    if as_json:
        screen.as_json(found)
        return
    if not found["items"]:
        screen.say(f"no message is {state}" if state else "no message was sent yet")
        return
    screen.table(
        "messages, newest first",
        ["delivery", "channel", "state", "attempts", "written at", "summary", "error"],
        [
            [
                one["delivery"],
                one["channel"],
                one["state"],
                str(one["attempts"]),
                screen.moment(one["created_at"]),
                one["summary"] or "-",
                one["last_error"] or "-",
            ]
            for one in found["items"]
        ],
    )


@app.command("replay")
def replay(
    delivery: Annotated[
        list[str] | None, typer.Argument(help="Ids of dead messages, as the list shows them.")
    ] = None,
    config: options.Config = None,
    *,
    every: Annotated[bool, typer.Option("--all", help="Every dead message.")] = False,
) -> None:
    """Queue dead messages again, each with its id and all its attempts."""
    if every == bool(delivery):
        raise CommandFailed("name dead messages by their ids, or --all of them")
    with options.service(config) as service:
        for sent in _replayed(service, delivery or []):
            screen.say(f"{sent['delivery']} to {sent['channel']} is queued again")


def _replayed(service: Service, ids: list[str]) -> list[Any]:
    # listed whole first: what is queued again leaves the pages that are being read
    # and one of each message: what was told together is queued together
    dead = ids or _one_of_each(service.pages("/deliveries", state="dead"))
    if not dead:
        screen.say("no message is dead")
    return [service.post(place("deliveries", one, "replay")) for one in dead]


def _one_of_each(deliveries: Iterable[Any]) -> list[str]:
    return list({one["message"]: one["delivery"] for one in deliveries}.values())

"""What is deleted because it is old, and by which clock."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import typer

from monitor.cli import options, screen

app = typer.Typer(
    help="What is deleted because it is old, and by which clock.", no_args_is_help=True
)


@app.command("show")
def show(config: options.Config = None, *, as_json: options.Json = False) -> None:
    """Say by which time deletions go, and why not all goes that is old by the clock."""
    with options.service(config) as service:
        found = service.get("/retention")
    if as_json:
        screen.as_json(found)
        return
    screen.say(f"what is old as of {screen.moment(found['reached'])} is deleted")
    say_withheld(found)


@app.command("confirm")
def confirm(config: options.Config = None, *, as_json: options.Json = False) -> None:
    """Say that the database's clock is right: deletions catch up with it by a day an hour."""
    with options.service(config) as service:
        found = service.post("/retention/confirm")
    if as_json:
        screen.as_json(found)
    else:
        screen.say("confirmed: deletions catch up with the database's clock by a day an hour")


def say_withheld(found: Mapping[str, Any]) -> None:
    """Say what is not deleted, where there is something; in a new database nothing is old."""
    if found["withheld"] and found["would_drop"]:
        days = ", ".join(f"{table} {count}" for table, count in found["would_drop"].items())
        screen.say(f"not all is deleted: {found['withheld']} (days that would go: {days})")

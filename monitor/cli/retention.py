"""Commands that show by which time old data is deleted, and confirm the database's clock."""

from __future__ import annotations

from monitor.cli import options, screen
from monitor.cli.client import Service
from monitor.views.service import RetentionBody

app = options.CommandGroup("Show what is deleted because it is old, and by which clock.")


@app.asks("show")
def show(service: Service) -> None:
    """Show up to when old data is deleted, and what holds deletions up."""
    found = service.look("/retention", RetentionBody)
    screen.say(f"what is old as of {screen.moment(found.reached)} is deleted")
    say_withheld(found)


@app.asks("confirm")
def confirm(service: Service) -> None:
    """Confirm the database's clock: deletions then catch up with it by a day an hour."""
    service.show(service.post("/retention/confirm"))
    screen.say("confirmed: deletions catch up with the database's clock by a day an hour")


def say_withheld(found: RetentionBody) -> None:
    """Print which old data is not deleted, if any; a new database has no old data."""
    if found.withheld and found.would_drop:
        days = ", ".join(f"{table} {count}" for table, count in found.would_drop.items())
        screen.say(f"not all is deleted: {found.withheld} (days that would go: {days})")

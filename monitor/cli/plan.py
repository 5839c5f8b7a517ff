"""Command that prints the smallest fault seen within an hour, a day and a week."""

from __future__ import annotations

from typing import Annotated, Final

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place
from monitor.views.budget import FaultPlanBody, PlannedBody, SizesBody

TIMES: Final = ("hour", "day", "week")


@options.asks
def plan(
    service: Service,
    adapter: options.Adapter,
    version: Annotated[
        str | None, typer.Option(help="One of its versions; all that are watched when left out.")
    ] = None,
) -> None:
    """Show the smallest fault of each kind that is seen within an hour, a day and a week."""
    found = service.look(place("adapters", adapter, "plan"), FaultPlanBody, version=version)
    items = found.items
    if not items:
        screen.say(f"no version of {adapter} is watched yet: `driftline status {adapter}` says why")
        return
    for name in ("ticket", "page"):
        screen.table(
            f"{adapter}: the smallest fault that opens a {name} within",
            [
                "version",
                "fault",
                *(f"{'an' if one == 'hour' else 'a'} {one}" for one in TIMES),
                "note",
            ],
            [_row(one, one.page if name == "page" else one.ticket) for one in items],
        )
    screen.say(
        f"of faults that large at least {found.power:.0%} are seen in time, at the traffic of"
        " the last day; each moves one signal alone, real ones mostly several"
    )


def _row(item: PlannedBody, told: SizesBody) -> list[str]:
    return [
        item.version,
        item.fault,
        *(size.text if size else "-" for size in (told.hour, told.day, told.week)),
        item.note or "",
    ]

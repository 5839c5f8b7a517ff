"""How small a fault of an adapter would be seen, within an hour, a day and a week."""

from __future__ import annotations

from typing import Annotated, Any, Final

import typer

from monitor.cli import options, screen
from monitor.cli.client import place

TIMES: Final = ("hour", "day", "week")


def plan(
    adapter: options.Adapter,
    version: Annotated[
        str | None, typer.Option(help="One of its versions; all that are watched when left out.")
    ] = None,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Show the smallest fault of each kind that is seen within an hour, a day and a week."""
    with options.service(config) as service:
        found = service.get(place("adapters", adapter, "plan"), version=version)
    if as_json:
        screen.as_json(found)
        return
    items = found["items"]
    if not items:
        screen.say(f"no version of {adapter} is watched yet")
        return
    for told, name in (("ticket", "a ticket"), ("page", "a page")):
        screen.table(
            f"{adapter}: the smallest fault that opens {name} within",
            [
                "version",
                "fault",
                *(f"{'an' if one == 'hour' else 'a'} {one}" for one in TIMES),
                "note",
            ],
            [_row(item, told) for item in items],
        )
    screen.say(
        f"of faults that large at least {found['power']:.0%} are seen in time, at the traffic of"
        " the last day; each moves one signal alone, real ones mostly several"
    )


def _row(item: dict[str, Any], told: str) -> list[str]:
    sizes = item[told]
    return [
        item["version"],
        item["fault"],
        *(sizes[time]["text"] if sizes[time] else "-" for time in TIMES),
        item["note"] or "",
    ]

"""What Driftline would have done by itself, and what happened instead."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from monitor.cli import options, screen


def actions(
    adapter: Annotated[str | None, typer.Argument(help="One adapter; else the fleet.")] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How far back.")] = 14,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Say which fallbacks only the mode kept Driftline from, and what came of each."""
    with options.service(config) as service:
        found = service.get("/actions/report", adapter=adapter, days=days)
    if as_json:
        screen.as_json(found)
        return
    screen.say(f"{adapter or 'the fleet'}: {found['summary']}")
    if found["items"]:
        screen.table(
            "oldest first",
            ["action", "at", "version", "to", "in auto", "why", "what happened"],
            [_row(one) for one in found["items"]],
        )
    if found["taken"]:
        screen.say(f"done by itself: {found['taken']}")
    for gate, count in found["blocked"].items():
        screen.say(f"refused by {gate}: {count}")
    if not found["complete"]:
        screen.say("there were more actions than are read here: ask for fewer days")


def _row(one: dict[str, Any]) -> list[str]:
    return [
        str(one["action"]),
        screen.moment(one["at"]),
        f"{one['adapter']}@{one['version']}",
        one["target"] or "",
        f"stopped by {one['kept_by']}" if one["kept_by"] else "done",
        one["reason"],
        "; ".join(one["after"]),
    ]

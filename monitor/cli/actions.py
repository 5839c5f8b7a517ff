"""Commands that list actions on traffic: done, withheld, and proposed."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated, Final

import typer

from alerts.gist import gist
from monitor.cli import options, screen
from monitor.cli.client import Service, read
from monitor.traffic.fallback.gate_names import WHY_BLOCKED
from monitor.views.action import ActionBody, ActionReportBody, WouldHaveBody
from monitor.views.shape import Page

MOST: Final = 50
"""Most moves listed; ``--days`` asks for a shorter time."""


@options.asks
def actions(
    service: Service,
    adapter: Annotated[str | None, typer.Argument(help="One adapter; else the fleet.")] = None,
    days: Annotated[int, typer.Option(min=1, max=365, help="How far back.")] = 14,
) -> None:
    """Show what was done with traffic, and what Driftline would have done in mode `auto`."""
    since = datetime.now(tz=UTC) - timedelta(days=days)
    answer = service.get("/actions/report", adapter=adapter, days=days)
    moves = service.get("/actions", adapter=adapter, since=since.isoformat(), limit=MOST)
    service.show({**answer, "moves": moves["items"]})
    found, listed = read(answer, ActionReportBody), read(moves, Page[ActionBody])
    if listed.items:
        screen.table(
            "newest first",
            ["at", "version", "what", "why", "by"],
            [_move(one) for one in listed.items],
        )
    if listed.next:
        screen.say(f"only the newest {MOST} are listed: ask for fewer days")
    screen.say(f"{adapter or 'the fleet'}: {found.summary}")
    if not listed.items and not found.items:
        screen.say(
            "`driftline incident list` shows what was found; mode `auto` lets it move traffic"
        )
    if found.items:
        screen.table(
            "oldest first",
            ["action", "at", "version", "to", "in auto", "why", "what happened"],
            [_row(one) for one in found.items],
        )
    if found.taken:
        screen.say(f"done by itself: {found.taken}")
    for gate, count in found.blocked.items():
        screen.say(f"{count} blocked because {WHY_BLOCKED.get(gate, gate)}")
    if not found.complete:
        screen.say("there were more actions than are read here: ask for fewer days")


def _move(one: ActionBody) -> list[str]:
    return [
        screen.moment(one.decided_at or one.created_at),
        f"{one.adapter}@{one.version}",
        _what(one),
        gist(one.reason),
        one.actor,
    ]


def _what(one: ActionBody) -> str:
    state = one.state.replace("_", " ")
    if one.canary is None:
        target = f" to {one.target['version']}" if one.target else ""
        return f"action {one.action}, {one.kind.replace('_', ' ')}{target}: {state}"
    pause = one.evidence["pause"]
    waits = f" ({pause})" if pause else ""
    share = screen.weight(one.evidence["weight"])
    return f"canary {one.canary}: {state}{waits}, {share} of the traffic"


def _row(one: WouldHaveBody) -> list[str]:
    return [
        str(one.action),
        screen.moment(one.at),
        f"{one.adapter}@{one.version}",
        one.target or "",
        f"not done: {WHY_BLOCKED.get(one.kept_by, one.kept_by)}" if one.kept_by else "done",
        gist(one.reason),
        "; ".join(one.after),
    ]

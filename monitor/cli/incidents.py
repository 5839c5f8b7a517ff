"""What an incident is, who was told, and what was done about it."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place

FACTS = ("adapter", "version", "kind", "phase", "severity", "blame", "opened_at", "closed_at")
OTHERS = ("acknowledged_by", "acknowledged_until")


def explain(
    incident: Annotated[int, typer.Argument(help="Number of the incident in its link.")],
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Say in words what an incident is: what, since when, whose fault, what was done."""
    with options.service(config) as service:
        found = service.get(place("incidents", incident))
        done = _actions(service, found)
    if as_json:
        screen.as_json({**found, "actions": done})
        return
    screen.say(found["summary"], style="bold")
    facts = [(key, found[key]) for key in (*FACTS, *OTHERS) if found[key] is not None]
    if found["onset"] is not None:
        facts.append(("began between", f"{found['onset']['start']} and {found['onset']['end']}"))
    screen.table(
        f"incident {incident}",
        ["what", "value"],
        [[key.replace("_", " "), str(value)] for key, value in facts],
    )
    _print_changes(found["changes"])
    _print_told(found["deliveries"])
    _print_done(done)


def _actions(service: Service, incident: dict[str, Any]) -> list[dict[str, Any]]:
    """The version's actions decided while the incident was open, newest first."""
    opened, closed = _moment(incident["opened_at"]), _moment(incident["closed_at"])
    return [
        action
        for action in service.get("/actions", adapter=incident["adapter"])["items"]
        if action["version"] == incident["version"]
        and (opened is None or opened <= datetime.fromisoformat(action["created_at"]))
        and (closed is None or datetime.fromisoformat(action["created_at"]) <= closed)
    ]


def _moment(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)


def _print_changes(changes: list[dict[str, Any]]) -> None:
    for change in changes:
        screen.say(f"declared: {change['text']}, by {change['author']}")


def _print_told(deliveries: list[dict[str, Any]]) -> None:
    if not deliveries:
        screen.say("nobody was told: no channel takes it")
        return
    screen.table(
        "who was told, newest first",
        ["channel", "message", "severity", "state", "attempts", "at", "error"],
        [
            [
                sent["channel"],
                sent["status"] or "-",
                sent["severity"] or "-",
                sent["state"],
                str(sent["attempts"]),
                sent["delivered_at"] or "-",
                sent["last_error"] or "-",
            ]
            for sent in deliveries
        ],
    )


def _print_done(actions: list[dict[str, Any]]) -> None:
    if not actions:
        screen.say("no action was taken or recommended")
        return
    screen.table(
        "what was done, newest first",
        ["action", "kind", "state", "at", "reason"],
        [
            [
                str(action["action"]),
                action["kind"],
                action["state"],
                action["created_at"],
                action["reason"],
            ]
            for action in actions
        ],
    )

"""What people are told of: lists, explanations, and what they say of it themselves."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place

app = typer.Typer(help="What people were told of, and what they say of it.", no_args_is_help=True)

FACTS = ("adapter", "version", "kind", "phase", "severity", "blame", "opened_at", "closed_at")
OTHERS = ("acknowledged_by", "acknowledged_until", "marked", "marked_by", "marked_because")
LARGEST_PAGE = 1000

Incident = Annotated[int, typer.Argument(min=1, help="Number of the incident in its link.")]
Reason = Annotated[
    str, typer.Option("--reason", help="Why; kept, and told to whoever heard of the incident.")
]


@app.command("list")
def list_incidents(
    adapter: Annotated[
        str | None, typer.Option("--adapter", "-a", help="Only those of this adapter.")
    ] = None,
    limit: Annotated[int, typer.Option(min=1, max=LARGEST_PAGE, help="At most so many.")] = 50,
    config: options.Config = None,
    *,
    open_only: Annotated[bool, typer.Option("--open", help="Only those that are open.")] = False,
    as_json: options.Json = False,
) -> None:
    """Show incidents, newest first."""
    asked = {"adapter": adapter, "open": "true" if open_only else None, "limit": limit}
    with options.service(config) as service:
        found = service.get("/incidents", **asked)
    if as_json:
        screen.as_json(found)
        return
    if not found["items"]:
        screen.say("no incident is open" if open_only else "nobody was told of anything yet")
        return
    screen.table(
        "incidents, newest first",
        ["incident", "of", "severity", "since", "until", "marked", "summary"],
        [
            [
                str(one["incident"]),
                _subject(one),
                one["severity"],
                screen.moment(one["opened_at"]),
                screen.moment(one["closed_at"], otherwise="open"),
                one["marked"] or "-",
                one["summary"],
            ]
            for one in found["items"]
        ],
    )


@app.command("ack")
def acknowledge(
    incident: Incident,
    hours: Annotated[float, typer.Option(min=0.01, max=168.0, help="For so long.")] = 24.0,
    config: options.Config = None,
) -> None:
    """Take an incident in hand: no repeats until then, or until it worsens."""
    with options.service(config) as service:
        found = service.post(place("incidents", incident, "ack"), {"hours": hours})
    screen.say(f"{found['acknowledged_by']} has incident {incident}")


@app.command("false")
def mark_false(
    incident: Incident,
    reason: Reason,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Say that an incident was false; an open one ends, and its evidence begins at nothing."""
    with options.service(config) as service:
        found = service.post(place("incidents", incident, "false"), {"reason": reason})
    if as_json:
        screen.as_json(found)
        return
    screen.say(f"incident {incident} of {_subject(found)} is marked as false")


@app.command("accept")
def accept(
    incident: Incident,
    reason: Reason,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """Say that what an incident found is the new normal: it ends, and is compared with anew."""
    with options.service(config) as service:
        found = service.post(place("incidents", incident, "accept"), {"reason": reason})
    if as_json:
        screen.as_json(found)
        return
    screen.say(f"incident {incident} of {_subject(found)} is accepted as the new normal")
    for one in found["anew"]:
        name = f"{one['adapter']}@{one['version']}"
        if one["generation"] is not None:
            screen.say(
                f"{name}: generation {one['generation']} of its reference is being built of"
                f" {one['records']} records since the onset; it is provisional at first"
            )
        if one["perplexity"]:
            screen.say(f"{name}: the next probe registers its perplexity anew")


def _subject(incident: dict[str, Any]) -> str:
    """Whom it is about: a version, or all adapters on a base."""
    if incident["adapter"] is not None:
        return f"{incident['adapter']}@{incident['version']}"
    return f"all on {incident['base_model'] or 'one base model'}"


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
    if found["base_model"] is not None:
        facts.insert(0, ("base_model", found["base_model"] or "not registered"))
    if found["onset"] is not None:
        facts.append(("began between", f"{found['onset']['start']} and {found['onset']['end']}"))
    screen.table(
        f"incident {incident}",
        ["what", "value"],
        [[key.replace("_", " "), str(value)] for key, value in facts],
    )
    _print_members(found["members"])
    _print_changes(found["changes"])
    _print_told(found["deliveries"])
    _print_done(done)


def _actions(service: Service, incident: dict[str, Any]) -> list[dict[str, Any]]:
    """What was decided about its versions while it was open, newest first."""
    opened = datetime.fromisoformat(incident["opened_at"])
    closed = incident["closed_at"] and datetime.fromisoformat(incident["closed_at"])
    about = [incident] if incident["adapter"] is not None else incident["members"]
    versions = {(one["adapter"], one["version"]) for one in about}
    # a fleet incident has no adapter: its members' actions are picked from those of all
    return [
        action
        for action in service.get("/actions", adapter=incident["adapter"], limit=LARGEST_PAGE)[
            "items"
        ]
        if (action["adapter"], action["version"]) in versions
        and opened <= datetime.fromisoformat(action["created_at"])
        and (closed is None or datetime.fromisoformat(action["created_at"]) <= closed)
    ]


def _print_members(members: list[dict[str, Any]]) -> None:
    if not members:
        return
    screen.table(
        "members, the first joined first",
        ["version", "since", "until"],
        [
            [
                f"{one['adapter']}@{one['version']}",
                screen.moment(one["joined_at"]),
                screen.moment(one["left_at"], otherwise="now"),
            ]
            for one in members
        ],
    )


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
                screen.moment(sent["delivered_at"]),
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
                screen.moment(action["created_at"]),
                action["reason"],
            ]
            for action in actions
        ],
    )

"""Commands that list incidents, acknowledge them, and judge them."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli import options, screen
from monitor.cli.client import Service, place
from monitor.cli.explaining import explain
from monitor.cli.marks import judged
from monitor.views.incident import AcceptedIncident, IncidentBody
from monitor.views.shape import Page

app = options.CommandGroup("Show incidents, acknowledge them, and say what they were.")

Incident = Annotated[int, typer.Argument(min=1, help="Number of the incident in its link.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; sent to everyone who was alerted.")]


@app.asks("list")
def list_incidents(
    service: Service,
    adapter: Annotated[
        str | None, typer.Option("--adapter", "-a", help="Only those of this adapter.")
    ] = None,
    state: Annotated[
        list[str] | None, typer.Option("--state", help="open, acknowledged or resolved.")
    ] = None,
    severity: Annotated[str | None, typer.Option(help="page or ticket.")] = None,
    blame: Annotated[
        str | None,
        typer.Option(help="input, adapter, base, serving or unknown: the suspected cause."),
    ] = None,
    owner: Annotated[str | None, typer.Option(help="Only those of this owner's adapters.")] = None,
    base: Annotated[str | None, typer.Option(help="Only those on this base model.")] = None,
    order: Annotated[str, typer.Option(help="newest, or severity: pages first.")] = "newest",
    limit: options.Limit = 50,
    *,
    open_only: Annotated[
        bool, typer.Option("--open", help="Only those that are not resolved.")
    ] = False,
) -> None:
    """Show incidents, newest first."""
    asked = {
        "adapter": adapter,
        "open": "true" if open_only else None,
        "state": state or None,
        "severity": severity,
        "blame": blame,
        "owner": owner,
        "base": base,
        "order": order,
        "limit": limit,
    }
    found = service.look("/incidents", Page[IncidentBody], **asked)
    narrowed = any((adapter, state, severity, blame, owner, base, open_only))
    screen.table(
        "incidents, pages first" if order == "severity" else "incidents, newest first",
        ["incident", "of", "severity", "since", "until", "judged", "summary"],
        [
            [
                str(one.incident),
                _subject(one),
                one.severity,
                screen.moment(one.opened_at),
                _until(one),
                judged(one.marked) if one.marked else "-",
                one.summary,
            ]
            for one in found.items
        ],
        none=(
            "no incident matches; `driftline incident list` shows all"
            if narrowed
            else "no incident yet; `driftline channels test NAME` tries how one would reach you"
        ),
    )


app.command("show")(explain)


@app.asks("ack")
def acknowledge(
    service: Service,
    incident: Incident,
    hours: Annotated[
        float, typer.Option(min=0.01, max=168.0, help="Remind nobody for this many hours.")
    ] = 24.0,
) -> None:
    """Acknowledge an incident: nobody is reminded of it until then, unless it worsens."""
    found = service.order(place("incidents", incident, "ack"), {"hours": hours}, IncidentBody)
    screen.say(f"{found.acknowledged_by} has incident {incident}")


@app.asks("false")
def mark_false(service: Service, incident: Incident, reason: Reason) -> None:
    """Mark an incident as a false alarm; an open one ends, and its evidence starts from nothing."""
    found = service.order(place("incidents", incident, "false"), {"reason": reason}, IncidentBody)
    screen.say(f"incident {incident} of {_subject(found)} is marked as a false alarm")


@app.asks("accept")
def accept(service: Service, incident: Incident, reason: Reason) -> None:
    """Accept what an incident found as normal: it ends, and a new reference is built."""
    path = place("incidents", incident, "accept")
    found = service.order(path, {"reason": reason}, AcceptedIncident)
    screen.say(f"incident {incident} of {_subject(found)} is accepted as normal")
    for one in found.anew:
        name = f"{one.adapter}@{one.version}"
        if one.generation is not None:
            screen.say(
                f"{name}: generation {one.generation} of its reference is being built of"
                f" {one.records} records since the onset; it is provisional at first"
            )
        if one.perplexity:
            screen.say(f"{name}: the next probe registers its perplexity anew")
        if one.left is not None:
            screen.say(f"{name}: its reference stands. {one.left}")


def _until(incident: IncidentBody) -> str:
    """Return when the incident ended; for an open one, whether a silence holds its messages."""
    silence = incident.silenced_by
    open_still = "open" if silence is None else f"open, silence {silence}"
    return screen.moment(incident.closed_at, otherwise=open_still)


def _subject(incident: IncidentBody) -> str:
    """Return the subject of an incident: a version, or all adapters on a base."""
    if incident.adapter is not None:
        return f"{incident.adapter}@{incident.version}"
    return f"all on {incident.base_model or 'one base model'}"

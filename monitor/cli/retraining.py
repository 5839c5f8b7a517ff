"""Requests to retrain an adapter: listed, and asked for by a person."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from monitor.cli import options, screen
from monitor.cli.client import place

app = typer.Typer(help="Requests to retrain an adapter.", no_args_is_help=True)


@app.command("list")
def listed(
    adapter: Annotated[str | None, typer.Argument(help="Of one adapter only.")] = None,
    limit: Annotated[int, typer.Option(min=1, max=1000, help="At most so many.")] = 20,
    config: options.Config = None,
    *,
    as_json: options.Json = False,
) -> None:
    """List requests, newest first."""
    with options.service(config) as service:
        found = service.get("/retraining", adapter=adapter, limit=limit)
    if as_json:
        screen.as_json(found)
        return
    if not found["items"]:
        screen.say("no retraining was asked for yet")
        return
    screen.table(
        "requests to retrain, newest first",
        ["request", "version", "cause", "asked at", "unlike training", "replay", "reason"],
        [
            [
                str(one["retraining"]),
                f"{one['adapter']}@{one['version']}",
                one["cause"],
                screen.moment(one["created_at"]),
                _unlike(one["evidence"]),
                screen.weight(one["replay_share"]),
                one["reason"],
            ]
            for one in found["items"]
        ],
    )


@app.command("request")
def request(
    adapter: options.Adapter,
    reason: Annotated[str, typer.Option("--reason", help="Why; it stands in the request.")],
    config: options.Config = None,
    *,
    force: Annotated[
        bool, typer.Option("--force", help="Also within the cool-down of another request.")
    ] = False,
    as_json: options.Json = False,
) -> None:
    """Ask for an adapter to be retrained from the version in charge."""
    with options.service(config) as service:
        made = service.post(
            place("adapters", adapter, "retraining"), {"reason": reason, "force": force}
        )
    if as_json:
        screen.as_json(made)
        return
    window = made["window"]
    screen.say(
        f"request {made['retraining']}: retrain {made['adapter']} from {made['version']} on what"
        f" came from {screen.moment(window['start'])} to {screen.moment(window['end'])}, mixed"
        f" with {screen.weight(made['replay_share'])} of its earlier training"
    )
    screen.say(f"records: GET {made['manifest']}; unlike training: {_unlike(made['evidence'])}")


def _unlike(evidence: dict[str, Any]) -> str:
    if "compared" not in evidence:
        return "not compared"
    return f"{evidence['unlike']:,} of {evidence['compared']:,}"

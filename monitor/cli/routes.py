"""Commands that show an adapter's route and its history, and set, hold or release it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Annotated

import typer

from alerts.gist import gist
from monitor.cli import options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.failures import CommandFailed, failing
from monitor.domain import ArmKind
from monitor.views.route import EpochBody, RouteChange, RouteDetail
from monitor.views.shape import Page

app = options.CommandGroup("Show and change which versions answer for an adapter.")

Reason = Annotated[str, typer.Option("--reason", help="Why; people read it beside the route.")]
Until = Annotated[
    str, typer.Option("--for", help="Keep Driftline's hands off the route for this long: 2h, 14d.")
]


@app.asks("show")
def show(service: Service, adapter: options.Adapter) -> None:
    """Show which versions answer now, since when and why."""
    _print(service.look(place("routes", adapter), RouteDetail))


@app.asks("history")
def history(service: Service, adapter: options.Adapter, limit: options.Limit = 20) -> None:
    """Show every route that the adapter had, newest first."""
    found = service.look(place("routes", adapter, "history"), Page[RouteChange], limit=limit)
    screen.table(
        f"route of {adapter}, newest first",
        ["generation", "since", "arms", "by", "reason"],
        [
            [str(one.generation), screen.moment(one.since), _arms(one), one.by, gist(one.reason)]
            for one in found.items
        ],
    )


@app.asks("set")
def set_route(
    service: Service,
    adapter: options.Adapter,
    arms: Annotated[
        list[str], typer.Argument(help="ARM=VERSION:WEIGHT, such as stable=v7:0.9 canary=v8:0.1.")
    ],
    reason: Reason,
    held_for: Annotated[
        str | None,
        typer.Option("--hold", help="Keep Driftline's hands off it for this long: 2h, 14d."),
    ] = None,
    *,
    unproven: Annotated[
        bool,
        typer.Option(
            "--unproven", help="Set it although no engine is known to serve these versions."
        ),
    ] = False,
) -> None:
    """Replace the route, unless somebody else has replaced it meanwhile."""
    wanted = [_arm(word) for word in arms]
    until = _until(held_for) if held_for else None
    known = read(service.get(place("routes", adapter)), RouteDetail)
    body = {"arms": wanted, "reason": reason, "hold_until": until, "unproven": unproven}
    _put(service, body, seen=known)


@app.asks("hold")
def hold(
    service: Service, adapter: options.Adapter, reason: Reason, held_for: Until = "24h"
) -> None:
    """Keep the route as it is: Driftline changes nothing of it until then."""
    _hold(service, adapter, _until(held_for), reason)


@app.asks("release")
def release(service: Service, adapter: options.Adapter, reason: Reason) -> None:
    """End a hold; the route stays as it is."""
    _hold(service, adapter, None, reason)


@app.asks("renew")
def renew(service: Service, reason: Reason) -> None:
    """Let every router take the routes of this service, although it holds newer ones.

    For a database that was put back without `driftline restore`.
    """
    opened = service.order(place("routes", "epoch"), {"reason": reason}, EpochBody)
    screen.say(f"epoch {opened.epoch}: routers take these routes at their next look")


def _hold(service: Service, adapter: str, until: str | None, reason: str) -> None:
    known = read(service.get(place("routes", adapter)), RouteDetail)
    body = {
        "arms": [
            {"arm": arm.arm, "version": arm.version, "weight": arm.weight} for arm in known.arms
        ],
        "reason": reason,
        "hold_until": until,
        "valid_until": known.valid_until and known.valid_until.isoformat(),
        "on_expiry": known.on_expiry,
    }
    _put(service, body, seen=known)


def _put(service: Service, body: object, *, seen: RouteDetail) -> None:
    tag = f'"{seen.epoch}-{seen.generation}"'
    made = service.put(place("routes", seen.adapter), body, headers={"if-match": tag})
    _print(service.shown(made, RouteDetail))


def _arm(word: str) -> dict[str, object]:
    """Read ``stable=v7:0.9``; a version may itself contain a colon."""
    kind, _, target = word.partition("=")
    version, _, weight = target.rpartition(":")
    try:
        return {"arm": ArmKind(kind).value, "version": version or target, "weight": float(weight)}
    except ValueError:
        kinds = ", ".join(kind.value for kind in ArmKind)
        raise CommandFailed(
            f"{word}: write ARM=VERSION:WEIGHT, such as canary=v8:0.1; arms are {kinds}"
        ) from None


def _until(text: str) -> str:
    from monitor.config.reading import duration

    with failing(ValueError):
        length = duration(text)
    if length <= timedelta():
        raise CommandFailed(f"{text}: a hold lasts longer than 0")
    try:
        return (datetime.now(UTC) + length).isoformat()
    except OverflowError:
        raise CommandFailed(f"{text}: that is too long") from None


def _print(found: RouteDetail) -> None:
    screen.table(
        f"{found.adapter}, generation {found.generation}",
        ["arm", "version", "served as", "share"],
        [[arm.arm, arm.version, arm.model, f"{arm.weight:.4g}"] for arm in found.arms],
    )
    screen.say(f"since {screen.moment(found.since)} by {found.by}: {gist(found.reason)}")
    if found.valid_until is not None:
        screen.say(f"until {screen.moment(found.valid_until)}, then all to {found.on_expiry}")
    if found.behind is not None:
        since = screen.moment(found.behind.since)
        screen.say(f"the router does not go by it since {since}: {found.behind.why}")
    if found.hold_until is not None:
        screen.say(f"held until {screen.moment(found.hold_until)}: only people change it")


def _arms(found: RouteChange) -> str:
    return ", ".join(f"{arm.arm} {arm.version} {arm.weight:.4g}" for arm in found.arms)

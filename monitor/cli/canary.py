"""Command that plans a canary: its share of traffic, and the date of its verdict."""

from __future__ import annotations

from typing import Annotated

import typer

from monitor.cli import canary_trials, options, screen
from monitor.cli.budget import hours
from monitor.cli.client import Service, place
from monitor.views.canary import CanaryPlanBody, ChoiceBody, StepBody, WayBody

app = options.CommandGroup("Put a version on trial, follow it, and decide.")

app.command("start")(canary_trials.start)
app.command("list")(canary_trials.listed)
app.command("show")(canary_trials.show)
app.command("pause")(canary_trials.pause)
app.command("resume")(canary_trials.resume)
app.command("promote")(canary_trials.promote)
app.command("abort")(canary_trials.abort)


@app.asks("plan")
def plan(
    service: Service,
    adapter: options.Adapter,
    drop: Annotated[
        float, typer.Option(help="Fall of the success rate that must be seen, in points.")
    ] = 10.0,
    rate: Annotated[float, typer.Option(help="Requests of a hundred that succeed now.")] = 85.0,
    margin: Annotated[
        float, typer.Option(help="Fall in points up to which a canary may be promoted.")
    ] = 5.0,
    guardrails: Annotated[
        int | None,
        typer.Option(
            help="Metrics that share the false rollbacks; the adapter's own when left out."
        ),
    ] = None,
    within: Annotated[float, typer.Option(help="Days until a verdict, at most.")] = 3.0,
    requests_per_day: Annotated[
        float | None, typer.Option(help="Requests a day; those of the last 24 hours when left out.")
    ] = None,
    *,
    critical: Annotated[
        bool, typer.Option("--critical", help="Roll back any proven fall, however small.")
    ] = False,
) -> None:
    """Choose weight and duration of a canary for the drop that must be seen."""
    found = service.look(
        place("adapters", adapter, "canary-plan"),
        CanaryPlanBody,
        drop=drop / 100,
        rate=rate / 100,
        margin=margin / 100,
        guardrails=guardrails,
        within_days=within,
        requests_per_day=requests_per_day,
        critical=critical,
    )
    source = "counted in the last 24 hours" if found.measured else "as you say"
    screen.say(
        f"{adapter}: {found.requests_per_day:,.0f} requests a day ({source}),"
        f" {rate:g} % succeed; a fall of {drop:g} points shall be seen in 9 of 10 canaries"
    )
    screen.table(
        "by the canary's share of traffic",
        ["weight", "drop seen", "promoted", "verdict", "at", "one day would show"],
        [_row(one, found) for one in found.choices],
    )
    screen.say(_advice(found))
    if found.ways:
        screen.table(
            "ways to begin now, for a version that is no worse",
            ["way", "steps", "without a person", "verdict", "else a person is asked"],
            [_way(one) for one in found.ways],
        )


def _way(one: WayBody) -> list[str]:
    prospect = one.prospect
    first = next((step for step in prospect.steps if not step.decided), None)
    if not prospect.known:
        decided = "not known"
    else:
        decided = "yes" if prospect.promotable else f"{10 * prospect.chance:.0f} in 10 or more"
    copies = f", {one.copies:,} prompts" if one.copies else ""
    return [
        _WAYS[one.way],
        ", ".join(_step(step) for step in one.steps),
        f"{decided}{copies}",
        screen.moment(prospect.verdict_at),
        screen.moment(first.asked_at if first else prospect.latest_at),
    ]


def _step(step: StepBody) -> str:
    share = screen.weight(step.weight) if step.weight else "copies"
    return f"{share} {hours(step.hours)}"


_WAYS = {"steps": "by default", "one": "one step", "shadow": "--shadow"}


def _row(one: ChoiceBody, found: CanaryPlanBody) -> list[str]:
    chosen = " *" if one.weight == found.chosen else ""
    return [
        f"{screen.weight(one.weight)}{chosen}",
        f"{one.requests_to_see:,} requests, {hours(24 * one.days_to_see)}",
        f"{one.requests_to_promote:,} requests, {hours(24 * one.days_to_promote)}",
        hours(24 * one.days),
        screen.moment(one.verdict_at),
        f"{one.detectable_in_a_day * 100:.1f} points" if one.detectable_in_a_day < 1 else "-",
    ]


def _advice(found: CanaryPlanBody) -> str:
    within = f"{found.within_days:g} days"
    for one in found.choices:
        if one.weight == found.chosen:
            lasts = hours(24 * one.days)
            return f"* {screen.weight(one.weight)} for {lasts}: the smallest share in {within}"
    return (
        f"no share of this traffic brings a verdict in {within}: accept a larger drop, or wait"
        f" longer (--within)"
    )

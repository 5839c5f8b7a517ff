"""Commands that begin and show canaries, and give them orders."""

from __future__ import annotations

import math
from typing import Annotated, Any, Final

import typer

from alerts.gist import gist
from monitor.cli import options, screen
from monitor.cli.budget import hours
from monitor.cli.client import Service, place
from monitor.cli.failures import CommandFailed
from monitor.views.canary import CanaryBegun, CanaryBody, CanaryDetail, ForeseenBody, GuardBody
from monitor.views.shape import Page

Number = Annotated[int, typer.Argument(min=1, help="Number of the canary, as `list` shows it.")]
Reason = Annotated[
    str | None, typer.Option("--reason", help="Why; people read it in the canary's history.")
]


@options.asks
def start(
    service: Service,
    adapter: options.Adapter,
    version: options.Version,
    step: Annotated[
        list[str] | None,
        typer.Option(
            "--step", help="SHARE:TIME, such as 0.05:24h; several; instead of the config's."
        ),
    ] = None,
    unchecked: Annotated[
        list[str] | None,
        typer.Option(help="A pre-check to leave out: weights, served, applied or perplexity."),
    ] = None,
    mode: Annotated[
        str | None, typer.Option(help="observe, approve or auto; else the adapter's.")
    ] = None,
    *,
    shadow: Annotated[
        bool,
        typer.Option(
            "--shadow", help="Let it answer only copies of requests, until it is promoted."
        ),
    ] = False,
) -> None:
    """Put a version on trial beside the one in charge."""
    body = {
        "adapter": adapter,
        "version": version,
        "steps": [_step(text) for text in step or ()],
        "shadow": shadow,
        "mode": mode,
        "unchecked": unchecked or [],
    }
    _say(service.order("/canaries", body, CanaryBegun))


@options.asks
def listed(
    service: Service,
    adapter: Annotated[str | None, typer.Argument(help="Only those of this adapter.")] = None,
    limit: options.Limit = 20,
    *,
    active: Annotated[bool, typer.Option("--active", help="Only what has not ended.")] = False,
) -> None:
    """List canaries, newest first."""
    found = service.look(
        "/canaries", Page[CanaryBody], adapter=adapter, active=active or None, limit=limit
    )
    screen.table(
        "canaries, newest first",
        ["canary", "version", "beside", "stands", "share", "since", "reason"],
        [
            [
                str(one.canary),
                f"{one.adapter}@{one.version}",
                one.control,
                _stands(one),
                screen.weight(one.weight),
                screen.moment(one.since),
                gist(one.reason),
            ]
            for one in found.items
        ],
        none="no canary; `driftline canary start ADAPTER VERSION` begins one",
    )


@options.asks
def show(service: Service, canary: Number) -> None:
    """Show where a canary stands: each guardrail's interval beside its margin."""
    found = service.look(place("canaries", canary), CanaryDetail)
    _say(found)
    measured = [look for look in found.looks if look.guards]
    if not measured:
        screen.say("nothing has been measured yet")
        return
    last = measured[-1]
    screen.table(
        f"at {screen.moment(last.at)}: {last.trial_requests:,} requests of"
        f" {found.version}, {last.control_requests:,} of {found.control} in this step",
        ["guardrail", "worse by", "interval", "margin", "says"],
        [_guard(guard) for guard in last.guards or ()],
    )


@options.asks
def pause(service: Service, canary: Number, reason: Reason = None) -> None:
    """Keep a canary's share where it is; a version that is proven worse still goes back."""
    _order(service, canary, "pause", {"reason": reason})


@options.asks
def resume(service: Service, canary: Number, reason: Reason = None) -> None:
    """Let a paused canary go on, or a version that was rolled back try again."""
    _order(service, canary, "resume", {"reason": reason})


@options.asks
def promote(
    service: Service,
    canary: Number,
    reason: Reason = None,
    *,
    force: Annotated[
        bool,
        typer.Option("--force", help="Promote although not every guardrail is inside its margin."),
    ] = False,
) -> None:
    """Put the canary's version in charge now."""
    _order(service, canary, "promote", {"reason": reason, "force": force})


@options.asks
def abort(service: Service, canary: Number, reason: Reason = None) -> None:
    """Give all traffic back to the stable version."""
    _order(service, canary, "abort", {"reason": reason})


def _order(service: Service, canary: int, what: str, body: dict[str, Any]) -> None:
    _say(service.order(place("canaries", canary, what), body, CanaryBody))


def _say(found: CanaryBody) -> None:
    screen.say(
        f"canary {found.canary}: {found.adapter}@{found.version} beside"
        f" {found.control}, {_stands(found)}, {screen.weight(found.weight)} of the traffic"
        f" (step {found.step + 1} of {len(found.steps)}, since"
        f" {screen.moment(found.step_since)})"
    )
    steps = ", ".join(
        f"{screen.weight(step.weight)} for {hours(step.hours)}" if step.weight else
        f"copies for {hours(step.hours)}"
        for step in found.steps
    )  # fmt: skip
    screen.say(f"steps: {steps}, then everything")
    screen.say(f"because: {gist(found.reason)}")
    if found.unverified:
        screen.note(f"not as the route says: {found.unverified}")
    if isinstance(found, CanaryBegun) and found.prospect:
        _foresee(found.prospect)
    if isinstance(found, CanaryDetail) and found.registered_since:
        newer = ", ".join(found.registered_since)
        screen.say(f"registered since: {newer}; this canary goes on until another one is begun")


def _foresee(prospect: ForeseenBody) -> None:
    if prospect.warning is None:
        if prospect.verdict_at:
            screen.say(f"decided by {screen.moment(prospect.verdict_at)}, if it is no worse")
        return
    screen.note(f"mind: {prospect.warning}")
    if prospect.advice:
        screen.note(f"without a person: {prospect.advice}")


def _stands(found: CanaryBody) -> str:
    words = found.phase.replace("_", " ")
    why = found.pause or (found.proposal and f"would {found.proposal}")
    return f"{words} ({why})" if why else words


def _guard(guard: GuardBody) -> list[str]:
    if guard.kind == "hard":
        worse = f"{guard.trial} against {guard.control} failures"
        return [guard.title, worse, "-", f"evidence {guard.margin:.1f}", _says(guard)]
    interval = "-"
    if guard.lo is not None and guard.hi is not None:
        interval = f"{guard.lo:+.3f} to {guard.hi:+.3f}"
    margin = f"{guard.margin:g}" if guard.bar == guard.margin else "any"
    return [guard.title, screen.number(guard.value, digits=3), interval, margin, _says(guard)]


def _says(guard: GuardBody) -> str:
    return _SAYS.get(guard.outcome, guard.outcome)


_SAYS: Final = {
    "passed": "inside its margin",
    "failed": "worse",
    "unsure": "not sure yet",
    "absent": "not measured in either arm",
}


def _step(text: str) -> dict[str, float]:
    from monitor.config.reading import duration

    share, _, time = text.partition(":")
    try:
        return {"weight": _share(share), "hours": duration(time).total_seconds() / 3600}
    except ValueError as error:
        raise CommandFailed(f"{text!r} is no step such as 0.05:24h ({error})") from None


def _share(text: str) -> float:
    share = float(text)
    if not math.isfinite(share):
        raise ValueError(f"{text!r} is no share")
    return share

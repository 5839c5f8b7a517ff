"""``driftline explain``: an incident in words, the most urgent facts first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

import typer

from alerts.closing import CLOSINGS
from alerts.gist import gist
from monitor.cli import options, screen
from monitor.cli.client import Service, place, read
from monitor.cli.marks import judged
from monitor.views.incident import IncidentDetail, IncidentExamples, MemberBody, SignalBody
from monitor.views.request import RequestView

LONGEST_TEXT = 300
AFTER_THE_TIME = 23
"""Columns in which a moment of the history has its time."""
WAITING = frozenset({"recommended", "awaiting_approval"})


@options.asks
def explain(
    service: Service,
    incident: Annotated[int, typer.Argument(help="Number of the incident in its link.")],
) -> None:
    """Say what happened, what Driftline did, and what to do; the numbers come last."""
    found = service.look(place("incidents", incident), IncidentDetail)
    screen.say(found.summary, style="bold")
    screen.say(_state(found))
    _print_brief(found)
    _print_route(found)
    for change in found.changes:
        screen.say(f"declared: {change.text}, by {change.author}")
    _print_members(found.members)
    _print_next(found, f"{service.url}/incidents/{incident}")
    _print_examples(service, incident)
    _print_timeline(found)
    _print_details(found)


def _print_brief(found: IncidentDetail) -> None:
    said = found.brief
    steps = [f"{number}) {step}" for number, step in enumerate(said.you, start=1)]
    parts = {
        "Impact": said.impact,
        "Likely cause": said.likely_cause,
        "Driftline": said.driftline,
        "You": "" if found.closed_at else " ".join(steps),
    }
    for name, text in parts.items():
        if text:
            screen.say(f"{name}: {text}")


def _state(found: IncidentDetail) -> str:
    since = f"{found.severity} since {screen.moment(found.opened_at)} UTC"
    over = f", over since {screen.moment(found.closed_at)}" if found.closed_at else ", open"
    if found.closing and found.closing.value != found.marked:
        over += f" ({CLOSINGS[found.closing]})"
    what = f"blame {found.blame_now}" if found.kind == "drift" else found.kind
    parts = [since + over, what]
    if found.acknowledged_by:
        until = screen.moment(found.acknowledged_until)
        parts.append(f"acknowledged by {found.acknowledged_by} until {until}")
    elif not found.closed_at:
        parts.append("nobody has acknowledged it")
    if found.silenced_by is not None:
        parts.append(f"silenced (silence {found.silenced_by}), so nobody hears of it")
    if found.part_of is not None:
        parts.append(f"part of incident {found.part_of}")
    if found.marked:
        parts.append(
            f"judged by {found.marked_by}: {judged(found.marked)} ({found.marked_because})"
        )
    return "; ".join(parts)


def _print_route(found: IncidentDetail) -> None:
    route = found.route
    if route is None:
        return
    arms = ", ".join(
        f"{arm.version} {screen.weight(arm.weight)}"
        + ("" if arm.arm == "stable" else f" as {arm.arm}")
        for arm in route.arms
        if arm.weight > 0
    )
    screen.say(f"traffic goes to {arms} (generation {route.generation}: {gist(route.reason)})")


def _print_examples(service: Service, incident: int) -> None:
    found = read(service.get(place("incidents", incident, "examples")), IncidentExamples).items
    if not found:
        return
    screen.table(
        "requests that show it, the clearest first",
        ["request", "at", "status", "tokens", "similarity", "nearest training"],
        [_example(one) for one in found],
        below=[[f"{name}: {_short(text)}" for name, text in _texts(one) if text] for one in found],
    )


def _example(one: RequestView) -> list[str]:
    asked, said = (str(n) if n is not None else "?" for n in (one.prompt_tokens, one.output_tokens))
    near = one.nearest
    return [
        one.id,
        screen.moment(one.at),
        str(one.status or "-"),
        f"{asked} in, {said} out",
        screen.number(one.similarity),
        "-" if near is None else f"line {near.row} ({near.similarity:.2f})",
    ]


def _texts(one: RequestView) -> tuple[tuple[str, str | None], ...]:
    return ("asked", one.prompt), ("answered", one.output)


def _short(text: str) -> str:
    line = " ".join(text.split())
    return line if len(line) <= LONGEST_TEXT else f"{line[:LONGEST_TEXT]}…"


def _print_details(found: IncidentDetail) -> None:
    if found.onset is not None:
        start, end = screen.moment(found.onset.start), screen.moment(found.onset.end)
        screen.say(f"began between {start} and {end} UTC")
    if found.base_model is not None:
        screen.say(f"base model: {found.base_model or 'not registered'}")
    if found.brief.details:
        screen.say(f"details: {found.brief.details}")
    if not found.signals:
        screen.say("no detector has scored it in this time")
        return
    screen.table(
        "what was measured; the verdict rests on those that alert",
        [
            "detector",
            "alerts",
            "effect, 95 %",
            "acts from",
            "smallest change",
            "requests",
            "evidence",
        ],
        [_signal(one) for one in found.signals],
    )


def _signal(one: SignalBody) -> list[str]:
    return [
        one.detector,
        one.words if one.crossed else "-",
        f"{one.effect:+.2f} [{one.interval[0]:+.2f}, {one.interval[1]:+.2f}]",
        screen.number(one.margin),
        screen.number(one.minimum_detectable),
        "-" if one.n is None else str(one.n),
        f"page {screen.number(one.evidence_page)}, ticket {screen.number(one.evidence_notice)}",
    ]


def _print_members(members: Sequence[MemberBody]) -> None:
    if not members:
        return
    screen.table(
        "members, the first joined first",
        ["version", "since", "until"],
        [
            [
                f"{one.adapter}@{one.version}",
                screen.moment(one.joined_at),
                screen.moment(one.left_at, otherwise="now"),
            ]
            for one in members
        ],
    )


def _print_timeline(found: IncidentDetail) -> None:
    if found.waits_since is not None:
        screen.say(f"a message about it waits since {screen.moment(found.waits_since)} UTC")
    elif not found.deliveries:
        screen.say("nobody was told, as no channel takes it")
    if not found.actions:
        screen.say("no action was taken or recommended")
    screen.say("what happened, UTC:")
    for one in found.timeline:
        style = "bold red" if one.bad else ""
        screen.say(f"  {screen.moment(one.at)}  {one.text}", style=style, hanging=AFTER_THE_TIME)


def _print_next(found: IncidentDetail, page: str) -> None:
    """Print the possible next steps, as lines to copy."""
    number = found.incident
    screen.say(f"page: {page}, or driftline open incident {number}")
    for action in found.actions:
        if action.state in WAITING:
            screen.say(f"waits for you: {action.kind}, on the page or by the API:")
            screen.say(f"  POST /v1/actions/{action.action}/approve")
    if not found.closed_at and not found.acknowledged_by:
        screen.say(f"acknowledge it: driftline incident ack {number}")
    if not found.marked and found.kind == "drift":
        screen.say(f'if it was a false alarm: driftline incident false {number} --reason "…"')

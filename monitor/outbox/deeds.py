"""Put actions on traffic and routes into the words of messages and pages."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, assert_never

from sqlalchemy import Connection

from alerts.message import ActionLine, Done
from alerts.words import clock_time
from monitor.domain import Version
from monitor.store.people.words import by_a_person
from monitor.store.traffic import actions, routes
from monitor.store.traffic.actions import (
    AUTOMATIC,
    OPEN,
    TAKEN,
    WORSE,
    ActionKind,
    ActionRow,
    ActionState,
)
from monitor.store.traffic.routes import RouteRow
from monitor.traffic.fallback.gate_names import blocked_line

RECENT_ACTIONS: Final = 20
ENDED: Final = frozenset({ActionState.BLOCKED, ActionState.EXPIRED})
"""Actions in these states were not carried out."""


def done(tx: Connection, version: Version, *, since: datetime) -> ActionLine | None:
    """Return what was done about a version's traffic since its incident opened.

    The newest action that was taken, awaits approval or was a person's own; else who has served its
    traffic since before; else what blocked an action.
    """
    ours = [
        one
        for one in actions.action_list(tx, adapter_id=version.adapter_id, limit=RECENT_ACTIONS)
        if one.version_id == version.id and one.created_at >= since
    ]
    taken = next((one for one in ours if one.state in TAKEN | OPEN), None)
    route = next(iter(routes.history(tx, version.adapter, limit=1)), None)
    if route is not None and by_a_person(route.actor):
        after = since if taken is None else _when(taken)
        if route.route.since >= after:
            return _set_by(version, route)
    if taken is not None:
        return with_stand_in(deed(taken), taken, ours)
    if route is not None and _serves_nothing(version, route):
        return _away(route)
    ended = next((one for one in ours if one.state in ENDED), None)
    return None if ended is None else deed(ended)


def with_stand_in(line: ActionLine, back: ActionRow, ours: Sequence[ActionRow]) -> ActionLine:
    """Name the version that served until the traffic came back, with its times."""
    away = next(
        (one for one in ours if one.kind is ActionKind.FALLBACK and one.state in TAKEN), None
    )
    if back.kind is not ActionKind.RETURN or back.state is not ActionState.VERIFIED or away is None:
        return line
    until = _when(back)
    served = f"{clock_time(_when(away), now=until)} to {clock_time(until, now=until)}"
    return replace(line, text=f"{line.text}; {_target(away)} served from {served}")


def _when(action: ActionRow) -> datetime:
    return action.decided_at or action.created_at


def _target(action: ActionRow) -> str:
    return str((action.target or {}).get("version") or "another version")


def _serves_nothing(version: Version, route: RouteRow) -> bool:
    return all(arm.weight <= 0 for arm in route.route.arms if arm.version == version.name)


def _away(route: RouteRow) -> ActionLine:
    """Describe a route that gave the version no traffic already before the finding."""
    text = f"traffic already went to {shares(route)} when this was found"
    return ActionLine(
        done=Done.TAKEN, kind="route", text=text, short=f"{shares(route)} answers already"
    )


def _set_by(version: Version, route: RouteRow) -> ActionLine:
    to = shares(route)
    text = f"the route was set to {to} by {route.actor}: {route.route.reason}"
    short = f"{to} has its traffic" if to == version.name else f"route set to {to}"
    return ActionLine(done=Done.TAKEN, kind="route", text=text, short=short)


def shares(route: RouteRow) -> str:
    """Name the versions that get traffic, each with its share if there are several."""
    arms = [arm for arm in route.route.arms if arm.weight > 0]
    if len(arms) == 1:
        return arms[0].version
    return ", ".join(f"{arm.version} {100 * arm.weight:.3g} %" for arm in arms)


def deed(action: ActionRow) -> ActionLine:
    """Describe an action's result in a message, without times, since those are no news."""
    target = str((action.target or {}).get("version", ""))
    what, short = _moves(action, target or "another version")
    by = "" if action.actor == AUTOMATIC else f" (approved by {action.actor})"
    kind, unsure = action.kind.value, action.state is ActionState.VERIFY_FAILED
    match action.state:
        case ActionState.VERIFIED:
            text, short = f"moved {what}, confirmed by the router", f"traffic moved {short}"
        case ActionState.VERIFY_FAILED:
            text, short = _unconfirmed(action, what), "move unconfirmed"
        case ActionState.EXECUTING | ActionState.APPLIED:
            text, short = f"moving {what}", f"moving traffic {short}"
        case ActionState.RECOMMENDED | ActionState.AWAITING_APPROVAL:
            short = "waits for approval"
            if action.state is ActionState.RECOMMENDED:
                short = "a move is recommended"
            return ActionLine(
                done=Done.RECOMMENDED, kind=kind, text=f"move {what}", short=short, target=target
            )
        case ActionState.BLOCKED | ActionState.EXPIRED:
            gate = action.evidence.get("gate")
            return blocked_line(kind, gate, reason=action.reason, target=target)
        case _:
            assert_never(action.state)
    return ActionLine(
        done=Done.TAKEN,
        kind=kind,
        text=f"{text}{by}",
        short=short,
        target=target,
        unconfirmed=unsure,
        under_way=action.state in {ActionState.EXECUTING, ActionState.APPLIED},
        then="" if unsure else str(action.evidence.get("then") or ""),
    )


def _moves(action: ActionRow, target: str) -> tuple[str, str]:
    """Describe the traffic that an action moves, in a sentence and in a title."""
    return {
        ActionKind.FALLBACK: (f"100 % of traffic to {target}", f"to {target}"),
        ActionKind.TRIAL: (f"a trial share of traffic back to {action.version}", "back in part"),
        ActionKind.END_TRIAL: (f"the trial's traffic away from {action.version}", "away again"),
        ActionKind.RETURN: (f"100 % of traffic back to {action.version}", "back"),
    }[action.kind]


def _unconfirmed(action: ActionRow, what: str) -> str:
    if WORSE in action.evidence:
        return f"moved {what}; {action.reason}"
    return f"asked the router to move {what}; it has not confirmed"


_SUBJECTS: Final = {
    Done.TAKEN: "Driftline",
    Done.RECOMMENDED: "Driftline recommends to",
    Done.BLOCKED: "Driftline moved no traffic:",
}


def action_words(action: ActionRow) -> str:
    """Describe an action in a sentence of its own.

    The counts behind it stand in the incident's details.
    """
    line = deed(action)
    return f"{_SUBJECTS[line.done]} {line.text}"


def route_words(changed: RouteRow) -> str:
    """Say who gets the traffic from then on, and who set it so."""
    automatic = changed.actor.startswith(AUTOMATIC)
    by, why = ("Driftline", "") if automatic else (changed.actor, f": {changed.route.reason}")
    arms = [arm for arm in changed.route.arms if arm.weight > 0]
    to = f"100 % of traffic to {arms[0].version}" if len(arms) == 1 else shares(changed)
    return f"{by} {'moved' if len(arms) == 1 else 'set the route to'} {to}{why}"

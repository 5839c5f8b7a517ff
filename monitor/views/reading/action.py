"""Actions on traffic, and those that only the mode prevented, as people see them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from sqlalchemy import Connection

from monitor.domain import Adapter, Mode
from monitor.store import teams
from monitor.store.traffic import actions, aftermath
from monitor.store.traffic.actions import AUTOMATIC, ActionKind, ActionRow, ActionState
from monitor.store.traffic.aftermath import Aftermath
from monitor.traffic.fallback.gate_names import WHY_BLOCKED, Gate
from monitor.traffic.fallback.gates import adapter_spent, cooling_down, fleet_spent
from monitor.traffic.settings import RoutingSettings
from monitor.views.action import ActionBody, ActionReportBody, WouldHaveBody

MOST: Final = 1000
"""Actions read for a report; the oldest of the period come first."""


def action(row: ActionRow) -> ActionBody:
    """Write an action."""
    return ActionBody.of(row, action=row.id, canary=None)


def report(
    tx: Connection,
    adapter: Adapter | None = None,
    *,
    settings: RoutingSettings,
    days: int,
    now: datetime,
) -> ActionReportBody:
    """Read an adapter's fallbacks of the last ``days``, or the fleet's.

    They are those that only the mode prevented, those done, and those that gates stopped.
    """
    since, adapter_id = now - timedelta(days=days), adapter.id if adapter else None
    rows = actions.between(tx, since=since, until=now, adapter_id=adapter_id, limit=MOST + 1)
    fallbacks = [row for row in rows[:MOST] if row.kind is ActionKind.FALLBACK]
    wanted = [row for row in fallbacks if _only_recommended(row)]
    with teams.whole(tx):  # what the fleet's budget would have stopped depends on every team
        every = actions.between(tx, since=since, until=now, limit=MOST + 1)[:MOST]
    of_fleet = [row for row in every if row.kind is ActionKind.FALLBACK and _only_recommended(row)]
    gates = {row.id: gate for row, gate in zip(of_fleet, kept_by(of_fleet, settings), strict=True)}
    came = aftermath.after(tx, wanted, until=now)
    acted = sum(gates.get(row.id) is None for row in wanted)
    blocked = [row for row in fallbacks if row.state is ActionState.BLOCKED]
    return ActionReportBody(
        since=since,
        until=now,
        adapter=adapter.name if adapter else None,
        would_have_acted=acted,
        taken=sum(row.state in actions.TAKEN and row.actor == AUTOMATIC for row in fallbacks),
        # no gate: the action had begun, and the kill switch, read again, stopped it
        blocked=Counter(row.evidence.get("gate") or Gate.KILL_SWITCH.value for row in blocked),
        complete=len(rows) <= MOST,
        items=[
            WouldHaveBody.of(
                row,
                action=row.id,
                at=row.created_at,
                target=row.target and str(row.target.get("version")),
                kept_by=gates.get(row.id),
                after=_in_words(row, after),
            )
            for row, after in zip(wanted, came, strict=True)
        ],
        summary=_summary(acted, days=days),
    )


def told(found: ActionReportBody, *, days: int) -> str:
    """Say what Driftline did by itself and what it was kept from, as people read it.

    One sentence of the last ``days``; blocked actions are counted by their reason.
    """
    moved = f"{found.taken or 'no'} automatic fallback{'' if found.taken == 1 else 's'}"
    blocked = [
        f"{count} blocked because {WHY_BLOCKED.get(gate, gate)}"
        for gate, count in found.blocked.items()
    ]
    return f"Last {days} days: " + "; ".join([moved, *blocked]) + "."


def kept_by(wanted: Sequence[ActionRow], settings: RoutingSettings) -> list[Gate | None]:
    """Return the gate that would have stopped each fallback, oldest first, had all been done.

    It is the cool-down or a budget. Recommendations are not limited by these; without this
    check a report would promise more than ``auto`` ever does.
    """
    done: list[ActionRow] = []
    stopped: list[Gate | None] = []
    for row in wanted:
        here = [one for one in done if one.adapter_id == row.adapter_id]
        stop = _shut(row, here, done, settings)
        stopped.append(stop)
        if stop is None:
            done.append(row)
    return stopped


def _shut(
    row: ActionRow, here: Sequence[ActionRow], fleet: Sequence[ActionRow], settings: RoutingSettings
) -> Gate | None:
    now = row.created_at
    own, all_of_them = ([one.created_at for one in reversed(rows)] for rows in (here, fleet))
    reasons = {
        Gate.COOL_DOWN: cooling_down(own, settings, now=now),
        Gate.ADAPTER_BUDGET: adapter_spent(own, settings, now=now),
        Gate.FLEET_BUDGET: fleet_spent(all_of_them, settings, now=now),
    }
    return next((gate for gate, reason in reasons.items() if reason is not None), None)


def _in_words(action: ActionRow, found: Aftermath) -> tuple[str, ...]:
    """Describe the events after a recommendation, in order."""
    began, said = action.created_at, []
    if action.actor != AUTOMATIC:
        said.append(f"approved by {action.actor}: {action.state.value}")
    if found.rerouted_at is not None:
        said.append(f"{found.rerouted_by} set another route {found.rerouted_at - began} later")
    if found.marked is not None:
        words = {"false_page": "false", "accepted": "the new normal"}
        said.append(f"marked as {words.get(found.marked, found.marked)} by {found.marked_by}")
    if found.recovered_at is not None:
        said.append(f"stable again {found.recovered_at - began} later")
    else:
        said.append(f"not recovered so far: {found.verdict or 'no verdict'}")
    return tuple(said)


def _summary(acted: int, *, days: int) -> str:
    if not acted:
        return f"would not have acted in {days} days"
    times = "once" if acted == 1 else f"{acted} times"
    return f"would have acted {times} in {days} days"


def _only_recommended(row: ActionRow) -> bool:
    recommended = row.evidence.get("mode") in {Mode.OBSERVE.value, Mode.APPROVE.value}
    return recommended and row.state is not ActionState.BLOCKED

"""What was done with traffic, as people see it."""

from __future__ import annotations

from monitor.store.traffic.actions import ActionRow
from monitor.traffic.fallback.gate_names import WHY_BLOCKED
from monitor.traffic.fallback.report import Report, WouldHave
from monitor.traffic.moves import of_action
from monitor.views.action import ActionBody, ActionReportBody, WouldHaveBody


def action(row: ActionRow) -> ActionBody:
    """Write an action."""
    return ActionBody.of(of_action(row))


def report(found: Report, *, adapter: str | None, days: int) -> ActionReportBody:
    """Write what would have been done by itself, and what came of it."""
    return ActionReportBody.of(
        found,
        adapter=adapter,
        would_have_acted=len(found.acted),
        items=[_would_have(one) for one in found.would_have],
        summary=summary(found, days=days),
    )


def summary(found: Report, *, days: int) -> str:
    """Say in a sentence how often it would have acted."""
    acted = found.acted
    if not acted:
        return f"would not have acted in {days} days"
    times = "once" if len(acted) == 1 else f"{len(acted)} times"
    return f"would have acted {times} in {days} days"


def told(found: Report, *, days: int) -> str:
    """Say what Driftline did by itself and what it was kept from, as people read it.

    One sentence of the last ``days``; blocked actions are counted by their reason.
    """
    moved = f"{found.taken or 'no'} automatic fallback{'' if found.taken == 1 else 's'}"
    blocked = [
        f"{count} blocked because {WHY_BLOCKED.get(gate, gate)}"
        for gate, count in found.blocked.items()
    ]
    return f"Last {days} days: " + "; ".join([moved, *blocked]) + "."


def _would_have(one: WouldHave) -> WouldHaveBody:
    action = one.action
    return WouldHaveBody.of(
        action,
        action=action.id,
        at=action.created_at,
        target=action.target and str(action.target.get("version")),
        kept_by=one.kept_by,
        after=one.after,
    )

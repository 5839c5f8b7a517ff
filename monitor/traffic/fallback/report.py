"""The report of what Driftline would have done by itself, and what happened instead."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from sqlalchemy import Connection

from monitor.domain import AdapterId, Mode
from monitor.store import teams
from monitor.store.traffic import actions, aftermath
from monitor.store.traffic.actions import AUTOMATIC, ActionKind, ActionRow, ActionState
from monitor.store.traffic.aftermath import Aftermath
from monitor.traffic.fallback.gate_names import Gate
from monitor.traffic.fallback.gates import adapter_spent, cooling_down, fleet_spent
from monitor.traffic.settings import RoutingSettings

MOST: Final = 1000
"""Actions read for a report; the oldest of the period come first."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WouldHave:
    """One fallback that only the mode prevented.

    kept_by
        The gate that would have been shut in ``auto``: cool-down or a budget, counting the
        fallbacks before this one; None: it would have been done.
    after
        What happened instead, in plain words.
    """

    action: ActionRow
    kept_by: Gate | None
    after: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Report:
    """A period's fallbacks: those the mode prevented, those done, and those that gates stopped.

    ``blocked`` counts by gate; ``complete`` is False where the period had more actions than
    are read.
    """

    since: datetime
    until: datetime
    would_have: Sequence[WouldHave]
    taken: int
    blocked: Mapping[str, int] = field(default_factory=dict)
    complete: bool = True

    @property
    def acted(self) -> Sequence[WouldHave]:
        """The prevented fallbacks that no budget would have stopped."""
        return [one for one in self.would_have if one.kept_by is None]


def report(
    tx: Connection,
    *,
    since: datetime,
    until: datetime,
    settings: RoutingSettings,
    adapter_id: AdapterId | None = None,
) -> Report:
    """Report an adapter's fallbacks in ``[since, until)``, or the fleet's."""
    rows = actions.between(tx, since=since, until=until, adapter_id=adapter_id, limit=MOST + 1)
    fallbacks = [row for row in rows[:MOST] if row.kind is ActionKind.FALLBACK]
    wanted = [row for row in fallbacks if _only_recommended(row)]
    with teams.whole(tx):  # what the fleet's budget would have stopped depends on every team
        every = actions.between(tx, since=since, until=until, limit=MOST + 1)[:MOST]
    of_fleet = [row for row in every if row.kind is ActionKind.FALLBACK and _only_recommended(row)]
    gates = {row.id: gate for row, gate in zip(of_fleet, kept_by(of_fleet, settings), strict=True)}
    stopped = [gates.get(row.id) for row in wanted]
    blocked = [row for row in fallbacks if row.state is ActionState.BLOCKED]
    return Report(
        since=since,
        until=until,
        would_have=[
            WouldHave(action=row, kept_by=stop, after=in_words(row, came))
            for row, stop, came in zip(
                wanted, stopped, aftermath.after(tx, wanted, until=until), strict=True
            )
        ],
        taken=sum(row.state in actions.TAKEN and row.actor == AUTOMATIC for row in fallbacks),
        # no gate: the action had begun, and the kill switch, read again, stopped it
        blocked=Counter(row.evidence.get("gate") or Gate.KILL_SWITCH.value for row in blocked),
        complete=len(rows) <= MOST,
    )


def kept_by(wanted: Sequence[ActionRow], settings: RoutingSettings) -> list[Gate | None]:
    """Return the gate that would have stopped each fallback, oldest first, had all been done.

    Recommendations are not limited by budgets; without this check a report would promise
    more than ``auto`` ever does.
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
    row: ActionRow,
    here: Sequence[ActionRow],
    fleet: Sequence[ActionRow],
    settings: RoutingSettings,
) -> Gate | None:
    now = row.created_at
    own, all_of_them = ([one.created_at for one in reversed(rows)] for rows in (here, fleet))
    reasons = {
        Gate.COOL_DOWN: cooling_down(own, settings, now=now),
        Gate.ADAPTER_BUDGET: adapter_spent(own, settings, now=now),
        Gate.FLEET_BUDGET: fleet_spent(all_of_them, settings, now=now),
    }
    return next((gate for gate, reason in reasons.items() if reason is not None), None)


def in_words(action: ActionRow, found: Aftermath) -> tuple[str, ...]:
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


def _only_recommended(row: ActionRow) -> bool:
    recommended = row.evidence.get("mode") in {Mode.OBSERVE.value, Mode.APPROVE.value}
    return recommended and row.state is not ActionState.BLOCKED

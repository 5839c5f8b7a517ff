"""All moves of traffic, done or withheld, as one list for people.

The list is computed from other tables: actions in their present state, and the changes of
canaries from the audit.
"""

from __future__ import annotations

import heapq
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import islice
from typing import Any, Final, NamedTuple

from sqlalchemy import Connection

from monitor.domain import ActionId, AdapterId
from monitor.store.traffic import actions
from monitor.store.traffic.actions import ActionRow, ActionState
from monitor.store.traffic.canaries import CanaryId
from monitor.store.traffic.canary_moves import MADE, CanaryMove, canary_moves
from monitor.traffic.trial.states import CanaryState, Phase, state_from_json

CANARY: Final = "canary"
"""Kind of a move made by a canary."""
LARGEST: Final = 2**63 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class MoveRecord:
    """An action in its present state, or one change of a canary.

    action, canary
        The number of the one or the other; the other is None.
    state
        The state of the action; of a canary, the phase that it entered.
    evidence
        The evidence behind the action; of a canary its step, share and guardrails.
    entry
        The canary's entry of the audit; None for an action.
    """

    action: ActionId | None = None
    canary: CanaryId | None = None
    adapter: str
    version: str
    kind: str
    state: ActionState | Phase
    reason: str
    evidence: Mapping[str, Any]
    expected_generation: int | None = None
    target: Mapping[str, Any] | None = None
    actor: str
    created_at: datetime
    decided_at: datetime | None
    entry: int | None = None


class Before(NamedTuple):
    """The start of a page: only actions and audit entries older than these are on the page."""

    action: int = LARGEST
    entry: int = LARGEST

    def after(self, page: Sequence[MoveRecord]) -> Before:
        """Return where the page after ``page`` begins."""
        return Before(
            action=min((one.action for one in page if one.action is not None), default=self.action),
            entry=min((one.entry for one in page if one.entry is not None), default=self.entry),
        )


NEWEST: Final = Before()
"""The start of the first page."""


def moves(
    tx: Connection,
    *,
    adapter_id: AdapterId | None = None,
    state: ActionState | Phase | None = None,
    since: datetime | None = None,
    before: Before = NEWEST,
    limit: int,
) -> list[MoveRecord]:
    """Read moves, newest first: of one adapter, of one state, since a time, where given."""
    found: list[list[MoveRecord]] = []
    if not isinstance(state, Phase):
        rows = actions.action_list(
            tx,
            adapter_id=adapter_id,
            state=state,
            since=since,
            before_id=before.action,
            limit=limit,
        )
        found.append([of_action(row) for row in rows])
    if not isinstance(state, ActionState):
        entries = canary_moves(
            tx,
            adapter_id=adapter_id,
            acts=() if state is None else _acts(state),
            since=since,
            before_id=before.entry,
            limit=limit,
        )
        found.append([_of_canary(entry) for entry in entries])
    newest = heapq.merge(*found, key=lambda move: move.created_at, reverse=True)
    return list(islice(newest, limit))


def of_action(row: ActionRow) -> MoveRecord:
    """Return an action as a line of the list."""
    shared = (
        "adapter",
        "version",
        "state",
        "reason",
        "evidence",
        "expected_generation",
        "target",
        "actor",
        "created_at",
        "decided_at",
    )
    fields = {name: getattr(row, name) for name in shared}
    return MoveRecord(action=row.id, kind=row.kind.value, **fields)


def _of_canary(entry: CanaryMove) -> MoveRecord:
    state = CanaryState() if entry.act == MADE else state_from_json(entry.details["state"])
    return MoveRecord(
        canary=entry.canary,
        entry=entry.id,
        adapter=entry.adapter,
        version=entry.version,
        kind=CANARY,
        state=state.phase,
        reason=state.reason,
        evidence={
            "step": state.step,
            "weight": state.weight,
            "pause": state.pause and state.pause.value,
            "proposal": state.proposal and state.proposal.value,
            "guards": entry.details.get("guards", []),
        },
        actor=entry.actor,
        created_at=entry.at,
        decided_at=entry.at,
    )


def _acts(phase: Phase) -> tuple[str, ...]:
    return (MADE, phase.value) if phase is Phase.DRAFT else (phase.value,)

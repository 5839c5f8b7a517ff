"""All moves of traffic, done or withheld, as one list for people.

The list is computed from other tables: actions in their present state, and the changes of
canaries from the audit.
"""

from __future__ import annotations

import heapq
from collections.abc import Sequence
from datetime import datetime
from itertools import islice
from typing import Final, NamedTuple

from sqlalchemy import Connection

from monitor.domain import AdapterId
from monitor.store.traffic import actions
from monitor.store.traffic.actions import ActionState
from monitor.store.traffic.canary_moves import MADE, CanaryMove, canary_moves
from monitor.traffic.trial.states import CanaryState, Phase, state_from_json
from monitor.views.action import ActionBody
from monitor.views.reading.action import action

CANARY: Final = "canary"
"""Kind of a move made by a canary."""
LARGEST: Final = 2**63 - 1

Move = tuple[ActionBody, int | None]
"""A line of the list, and the number of a canary's entry of the audit; None for an action."""


class Before(NamedTuple):
    """The start of a page: only actions and audit entries older than these are on the page."""

    action: int = LARGEST
    entry: int = LARGEST

    def after(self, page: Sequence[Move]) -> Before:
        """Return where the page after ``page`` begins."""
        return Before(
            action=min(
                (one.action for one, _ in page if one.action is not None), default=self.action
            ),
            entry=min((entry for _, entry in page if entry is not None), default=self.entry),
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
) -> list[Move]:
    """Read moves, newest first: of one adapter, of one state, since a time, where given."""
    found: list[list[Move]] = []
    if not isinstance(state, Phase):
        rows = actions.action_list(
            tx,
            adapter_id=adapter_id,
            state=state,
            since=since,
            before_id=before.action,
            limit=limit,
        )
        found.append([(action(row), None) for row in rows])
    if not isinstance(state, ActionState):
        entries = canary_moves(
            tx,
            adapter_id=adapter_id,
            acts=() if state is None else _acts(state),
            since=since,
            before_id=before.entry,
            limit=limit,
        )
        found.append([(_of_canary(entry), entry.id) for entry in entries])
    newest = heapq.merge(*found, key=lambda move: move[0].created_at, reverse=True)
    return list(islice(newest, limit))


def _of_canary(entry: CanaryMove) -> ActionBody:
    state = CanaryState() if entry.act == MADE else state_from_json(entry.details["state"])
    return ActionBody.of(
        entry,
        action=None,
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
        expected_generation=None,
        target=None,
        created_at=entry.at,
        decided_at=entry.at,
    )


def _acts(phase: Phase) -> tuple[str, ...]:
    return (MADE, phase.value) if phase is Phase.DRAFT else (phase.value,)

"""Fallbacks, trials and returns, as changes that the router must be seen to carry out."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import datetime

from sqlalchemy import Connection

from alerts.words import duration
from monitor.domain import ActionId, Route
from monitor.store import clock
from monitor.store.traffic import actions
from monitor.store.traffic.actions import WORSE, ActionRow, ActionState
from monitor.traffic.fallback.ledger import advance
from monitor.traffic.readback import AGAIN, NOT_READ, REPLACED, Approach, RouterAnswer, UnreadChange
from monitor.traffic.settings import RoutingSettings


def _nobody() -> None:
    """Wake no loop: none is waiting."""


@dataclass(slots=True, kw_only=True)
class FallbackChanges:
    """Moves actions from ``applied`` to ``verified`` or ``verify_failed``, and back again.

    The process that changed the route tells the router. Other processes take over only
    changes older than ``execution_timeout``. A step is taken only from the state on which
    it was decided.

    Parameters
    ----------
    wake
        Called when there is a change to tell the router, to wake the loop that does so.
    """

    settings: RoutingSettings
    wake: Callable[[], None] = _nobody
    _begun: dict[ActionId, datetime | None] = field(default_factory=dict)
    """Actions applied by this process, each with the time from which the router must be told."""

    def begin(self, action_id: ActionId) -> None:
        """Queue an action whose route was changed here, for the router to be told."""
        self._begun[action_id] = None
        self.wake()

    def unread(self, tx: Connection, *, now: datetime) -> Sequence[UnreadChange]:
        """List changes applied here or left by a crash, and those the router did not carry out."""
        before = now - self.settings.execution_timeout
        mine = frozenset(self._begun)
        found = actions.unread(tx, before=before, begun=mine)
        for settled in mine - {row.id for row in found}:
            self._begun.pop(settled, None)
        for begun, since in tuple(self._begun.items()):
            self._begun[begun] = since or now
        return [self.of(row, now=now) for row in found]

    def unsettled(self, tx: Connection) -> bool:
        """Return whether an action is yet to be seen done, by this process or another."""
        return bool(actions.unread(tx, before=clock.now(tx), begun=()))

    def of(self, action: ActionRow, *, now: datetime) -> UnreadChange:
        """Return an action as a change for the router."""
        timeout = self.settings.execution_timeout
        approach = Approach.TELL
        if action.state is ActionState.VERIFY_FAILED:
            approach = Approach.READ
        elif now - self._told_from(action) >= timeout:
            approach = Approach.TELL_IF_LOST
        return UnreadChange(
            owner=action.id,
            adapter=action.adapter,
            generation=(action.expected_generation or 0) + 1,
            approach=approach,
            pause=max(timeout, AGAIN),
        )

    def _told_from(self, action: ActionRow) -> datetime:
        """Return since when the router was to be told; asking engines first may have taken long."""
        return self._begun.get(action.id) or action.decided_at or action.created_at

    def settle(
        self,
        tx: Connection,
        change: UnreadChange,
        route: Route | None,
        answer: RouterAnswer,
        *,
        now: datetime,
    ) -> bool:
        """Store the router's answer; a failed action is settled once the router carries it out."""
        del route
        action = actions.fetch(tx, ActionId(change.owner), lock=True)
        if action.state is ActionState.VERIFY_FAILED:
            state, reason = ActionState.VERIFIED, "confirmed late by the router"
            obeyed = answer.goes and answer is not REPLACED
            moves = bool(obeyed) and WORSE not in action.evidence
        else:
            state, reason = self._after(answer, change)
            repeats = state is action.state and action.reason.startswith(NOT_READ)
            moves = action.state is ActionState.APPLIED and not repeats
        if moves:
            advance(tx, action, state, reason, now=now)
        return moves and state is not ActionState.APPLIED

    def _after(self, answer: RouterAnswer, change: UnreadChange) -> tuple[ActionState, str]:
        if answer.goes is not None:
            verified = ActionState.VERIFIED if answer.goes else ActionState.VERIFY_FAILED
            return verified, answer.reason
        if change.approach is Approach.TELL_IF_LOST:
            late = f"not within {duration(self.settings.execution_timeout)}: {answer.reason}"
            return ActionState.VERIFY_FAILED, late
        return ActionState.APPLIED, answer.reason

"""Whether a move of traffic did what it should: by the router's word, and by what came of it."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import Connection

from monitor.store import actions, routes
from monitor.store.actions import WORSE, ActionRow, ActionState
from monitor.store.database import Database
from monitor.traffic.asking import Answer, read, tell
from monitor.traffic.fallback.ledger import advance, target_id, write_down
from monitor.traffic.fallback.machine import fires
from monitor.traffic.fallback.survey import stored_verdict
from monitor.traffic.routers import Router
from monitor.traffic.settings import RoutingSettings


@dataclass(frozen=True, slots=True, kw_only=True)
class Verifying:
    """The steps from ``applied`` to ``verified`` or ``verify_failed``, and back again.

    Two daemons may do this at once: each step is taken from the state it was decided on, or
    not at all.
    """

    database: Database
    settings: RoutingSettings
    router: Router

    def verify(self, action: ActionRow, *, now: datetime, again: bool = False) -> ActionRow:
        """Compare what the router does with what the table says, and write the result down.

        ``again`` reads back first: the router may have been told before a crash. Where it
        does something else it is told once more; it wants an end state, so that cannot do
        anything twice.
        """
        route = self.database.run(lambda tx: routes.get(tx, action.adapter))
        if route is None or route.generation != (action.expected_generation or 0) + 1:
            state, reason = ActionState.VERIFIED, "replaced by a later route"
        else:
            answer = read(self.router, route) if again else tell(self.router, route)
            if again and not answer.goes:
                answer = tell(self.router, route)
            state, reason = _state(answer), answer.reason
            if again and state is ActionState.APPLIED:
                late = self.settings.execution_timeout
                state, reason = ActionState.VERIFY_FAILED, f"not within {late}: {reason}"

        def work(tx: Connection) -> ActionRow:
            current = actions.fetch(tx, action.id, lock=True)
            if current.state is not ActionState.APPLIED:
                return current
            return advance(tx, current, state, reason, now=now)

        return self.database.run(work)

    def reread(self, *, now: datetime) -> int:
        """Settle what the router did not confirm, once it does; say how many were."""
        left = self.database.run(actions.unverified)
        return sum(self._settled(action, now=now) for action in left)

    def prove(self, *, now: datetime) -> int:
        """Say of a fallback whose target fires within two windows that it did not help.

        The window under way when it moved is not one of them. Such an action has failed, and
        nothing else is done by itself until somebody sets another route.
        """
        proof = 3 * self.settings.cycle

        def work(tx: Connection) -> int:
            worse = 0
            for action in actions.moved_since(tx, since=now - proof):
                reason = _worse(tx, action)
                if reason is not None:
                    write_down(tx, actions.found_worse(tx, action, reason=reason, now=now))
                    worse += 1
            return worse

        return self.database.run(work)

    def _settled(self, action: ActionRow, *, now: datetime) -> bool:
        route = self.database.run(lambda tx: routes.get(tx, action.adapter))
        if route is None or not read(self.router, route).goes:
            return False
        reason = f"read back late at generation {route.generation}"

        def work(tx: Connection) -> bool:
            current = actions.fetch(tx, action.id, lock=True)
            failed = current.state is ActionState.VERIFY_FAILED and WORSE not in current.evidence
            if failed:
                advance(tx, current, ActionState.VERIFIED, reason, now=now)
            return failed

        return self.database.run(work)


def _state(answer: Answer) -> ActionState:
    if answer.goes is None:
        return ActionState.APPLIED
    return ActionState.VERIFIED if answer.goes else ActionState.VERIFY_FAILED


def _worse(tx: Connection, action: ActionRow) -> str | None:
    """Say since when the version that got the traffic fires, or None."""
    verdict = stored_verdict(tx, target_id(action), lock=False)
    began = action.decided_at or action.created_at
    if verdict is None or not fires(verdict) or verdict.since < began:
        return None
    target = action.target["version"] if action.target else "the target"
    return f"{target} is {verdict.kind.value} {verdict.since - began} after it got the traffic"

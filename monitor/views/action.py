"""What Driftline did with traffic, or would have done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any

from monitor.views.shape import View
from monitor.views.vocabulary import ActionWord, MoveState, MoveWord


class WouldHaveBody(View):
    """A fallback that only the mode kept Driftline from."""

    action: int
    adapter: str
    version: str
    at: datetime
    target: str | None
    reason: str
    state: ActionWord
    kept_by: str | None
    """The budget that would have stopped it in `auto` too; null: none."""
    after: Sequence[str]
    """What happened instead."""


class ActionReportBody(View):
    """Fallbacks of a period: those it would have done, those it did, and what stopped others."""

    since: datetime
    until: datetime
    adapter: str | None
    would_have_acted: int
    taken: int
    """Done by Driftline itself."""
    blocked: Mapping[str, int]
    """Refused, by gate."""
    complete: bool
    """false: there were more actions than are read."""
    items: Sequence[WouldHaveBody]
    """Oldest first."""
    summary: str


class ActionBody(View):
    """One move of traffic that was made, recommended, refused or waits for a person.

    Or one thing that became of a canary: its ``state`` is the phase that it entered then, and
    its ``evidence`` has the share, and the guardrails as they were.
    """

    action: int | None
    """null: what became of a canary."""
    canary: int | None
    """null: an action."""
    adapter: str
    version: str
    kind: MoveWord
    state: MoveState
    reason: str
    evidence: Mapping[str, Any]
    expected_generation: int | None
    target: Mapping[str, Any] | None
    actor: str
    created_at: datetime
    decided_at: datetime | None

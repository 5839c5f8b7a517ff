"""What somebody declared to have changed."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from monitor.domain import ChangeKind
from monitor.views.shape import View


class ChangeBody(View):
    """What somebody declared to have changed."""

    change: int
    kind: ChangeKind
    title: str
    adapters: Sequence[str] | None
    """null: the whole fleet."""
    begun_at: datetime
    ended_at: datetime | None
    """null: it is under way."""
    author: str
    details: Mapping[str, str | float]
    created_at: datetime


class Rebaselined(View):
    """How much perplexity is measured anew."""

    versions: int


class DeclaredChange(ChangeBody):
    """A change, and what this request did."""

    rebaselined: Rebaselined | None
    """null: this request re-baselined nothing."""

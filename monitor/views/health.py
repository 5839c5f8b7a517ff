"""How a version is, in the words that messages use."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.domain import VerdictSeverity
from monitor.views.shape import View


class HealthBody(View):
    """How a version is; a part of which nothing is known is empty."""

    sentence: str
    """What its users get, since when, and where traffic went."""
    severity: VerdictSeverity
    """How urgently people are told."""
    since: datetime | None
    """null: it was never judged."""
    impact: str
    """How users are affected, as a share beside the normal one."""
    cause: str
    """Where the change lies, and how sure that is."""
    done: str
    """What was done with traffic, or why it was left alone."""
    steps: Sequence[str]
    """What to do, in order."""
    incident: int | None
    """The open incident; null: nobody was told."""

"""Who did what, as it was written down for good."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from monitor.views.shape import View


class EntryBody(View):
    """One entry of the audit log."""

    entry: int
    at: datetime
    actor: str
    """A key's name, or what of Driftline did it."""
    act: str
    subject: str
    details: Mapping[str, object]

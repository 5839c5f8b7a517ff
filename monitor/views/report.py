"""Evidently's report of a version: how far it is, and what it compares."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime

from monitor.views.shape import View
from monitor.views.vocabulary import ReportWord


class ReportFacts(View):
    """What a report compares."""

    generation: int
    """Of the reference."""
    signals: Sequence[str]
    rates: Sequence[str]
    """Those of the signals that are no or yes."""
    texts: Sequence[str]
    """Whose texts Evidently's descriptors describe: prompt, answer."""
    left_out: Sequence[str]
    """Signals of the reference that these records did not measure."""
    n_window: int
    n_reference: int


class ReportBody(View):
    """A report; it is deleted a day after it was requested."""

    number: int
    adapter: str
    version: str
    since: datetime
    until: datetime
    state: ReportWord
    progress: float
    """Of the one that is running, in [0, 1]."""
    requested_at: datetime
    finished_at: datetime | None
    error: str | None
    """Why there is no report."""
    facts: ReportFacts | None
    """null: it is not done."""

"""The numbers of the rules; each field is a key of ``[policy]`` in the config."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import timedelta
from enum import StrEnum


class Preset(StrEnum):
    """The sets of rules that decide whether an adapter drifts."""

    BUDGET = "budget"
    """Only evidence within the budget."""
    CLASSIC = "classic"
    """Textbook thresholds open tickets as well: :mod:`monitor.policy.classic`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PolicySettings:
    """The limits by which a verdict opens, holds and recovers.

    page_wait
        How long a page crossing of a soft signal waits for the suspicion probe, and twice as long
        for one that runs. If no result comes in time, it pages.
    recovery_window, recovery_records
        The winner's evidence must fall over this long or this many records, whichever
        is longer.
    hard_records
        Records since onset before a hard signal may page.
    action_records
        Records since onset before an effect may move traffic.
    action_perplexity
        Lower bound of the perplexity ratio minus one that may move traffic.
    insufficient_records
        Fewer records than this that can be compared in 24 h and the verdict says
        ``insufficient``.
    blind_below, blind_windows, blind_requests
        A detector that compared less than this share of what it should have, over so many of
        the newest windows with requests and at least so many requests, makes the verdict
        ``blind``.
    """

    page_wait: timedelta = timedelta(minutes=5)
    recovery_window: timedelta = timedelta(hours=24)
    recovery_records: int = 600
    hard_records: int = 20
    action_records: int = 50
    action_perplexity: float = 0.05
    insufficient_records: int = 50
    blind_below: float = 0.5
    blind_windows: int = 4
    blind_requests: int = 10

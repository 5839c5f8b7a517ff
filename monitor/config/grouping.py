"""Read ``[alerting.grouping]``: which messages are grouped and repeated."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import timedelta

from alerts.channels import Groups
from alerts.telling import AT_ONCE, FACTS, Manner
from alerts.types import Severity


@dataclass(frozen=True, slots=True, kw_only=True)
class GroupingSection:
    """The grouping of messages, its waits, and the repeats.

    ``repeat_pages`` or ``repeat_tickets`` of 0 turns repeats off.
    """

    by: tuple[str, ...] = ("owner", "blame")
    wait: timedelta = timedelta(seconds=30)
    interval: timedelta = timedelta(minutes=5)
    repeat_pages: timedelta = timedelta(hours=4)
    repeat_tickets: timedelta = timedelta(hours=24)

    def manner(
        self,
        groups: Groups,
        *,
        acknowledges: bool = False,
        unacknowledged_for: timedelta = timedelta(),
    ) -> Manner:
        """Return the manner of a kind of channel."""
        if groups is Groups.THEIRS:
            return replace(AT_ONCE, unacknowledged_for=unacknowledged_for)
        repeats = {Severity.PAGE: self.repeat_pages, Severity.TICKET: self.repeat_tickets}
        together = groups is Groups.TOGETHER
        return Manner(
            wait=self.wait,
            interval=self.interval if together else timedelta(),
            together=together,
            by=self.by,
            repeat={severity: after for severity, after in repeats.items() if after},
            acknowledges=acknowledges,
            unacknowledged_for=unacknowledged_for,
        )


def contradictions(grouping: GroupingSection) -> list[str]:
    """List the section's problems, each by its path."""
    found = [
        f"alerting.grouping.{name}: must be 0 or longer"
        for name in ("wait", "interval", "repeat_pages", "repeat_tickets")
        if getattr(grouping, name) < timedelta()
    ]
    found += [
        f"alerting.grouping.by: no fact {name!r:.60}; known: {', '.join(FACTS)}"
        for name in grouping.by
        if name not in FACTS
    ]
    return found

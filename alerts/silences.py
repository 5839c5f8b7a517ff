"""Silences: a person mutes matching alerts for a while, with a reason.

A silenced incident opens, lives and ends like any other, and pages show it as silenced; only its
messages wait. An incident still open when the silence ends is told then. An end or an
acknowledgement of something told before does not wait, since it only quietens the receiver.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alerts.matching import Matchable, Matcher

LONGEST: Final = timedelta(days=90)
LONGEST_COMMENT: Final = 500


class SilenceRefused(ValueError):  # noqa: N818 - named as the outcome it reports
    """The silence makes no sense; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """A mute from ``starts_at`` until before ``ends_at``, with its author and comment."""

    id: int
    matcher: Matcher
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str

    def active(self, now: datetime) -> bool:
        """True if the silence holds now."""
        return self.starts_at <= now < self.ends_at


def check(
    matcher: Matcher, *, starts_at: datetime, ends_at: datetime, comment: str, now: datetime
) -> None:
    """Refuse a silence that must be a mistake.

    Raises
    ------
    SilenceRefused
        It ends before it starts, is over already, lasts longer than 90 days, has no comment,
        or matches everything.
    """
    if matcher == Matcher():
        raise SilenceRefused("a silence needs something to match; nothing would silence all")
    if ends_at <= starts_at:
        raise SilenceRefused("a silence ends after it starts")
    if ends_at <= now:
        raise SilenceRefused("a silence that is over already silences nothing")
    if ends_at - starts_at > LONGEST:
        raise SilenceRefused(f"a silence lasts {LONGEST.days} days at most; renew it then")
    if not comment.strip() or len(comment) > LONGEST_COMMENT:
        raise SilenceRefused(f"say why, in at most {LONGEST_COMMENT} characters")


def silencing(silences: Iterable[Silence], facts: Matchable, *, now: datetime) -> Silence | None:
    """Return the silence that matches ``facts`` for longest; None if none does."""
    found = [one for one in silences if one.active(now) and one.matcher.accepts(facts)]
    return max(found, key=lambda one: (one.ends_at, one.id), default=None)

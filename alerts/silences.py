"""Silences: what nobody is told of for a while, because a person said so and why.

A silenced incident opens, lives and ends like any other, and pages show it as silenced; only
messages about it wait. Whatever is still open when the silence ends is told then. What only
quietens a receiver that was told before, an end or an acknowledgement, does not wait.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from alerts.matching import Facts, Matcher

LONGEST: Final = timedelta(days=90)
LONGEST_COMMENT: Final = 500


class SilenceRefused(ValueError):  # noqa: N818 - named as the outcome it reports
    """What is asked for is no silence; the text says why."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Silence:
    """What is not told from ``starts_at`` until before ``ends_at``, by whom and why."""

    id: int
    matcher: Matcher
    starts_at: datetime
    ends_at: datetime
    author: str
    comment: str

    def active(self, now: datetime) -> bool:
        """Whether it holds now."""
        return self.starts_at <= now < self.ends_at


def check(
    matcher: Matcher, *, starts_at: datetime, ends_at: datetime, comment: str, now: datetime
) -> None:
    """Refuse a silence that nobody could have meant.

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


def silencing(silences: Iterable[Silence], facts: Facts, *, now: datetime) -> Silence | None:
    """Give the silence that holds longest over what ``facts`` say; None: it is told."""
    found = [one for one in silences if one.active(now) and one.matcher.accepts(facts)]
    return max(found, key=lambda one: (one.ends_at, one.id), default=None)

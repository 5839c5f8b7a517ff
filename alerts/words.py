"""Write facts of an incident in plain words: shares, times, causes, changes."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from alerts.message import NewRequests, ScoreLine, Uncompared, Unseen, finite
from alerts.types import Blame, Sureness

SURE = 0.995
"""Shares nearer to all or none are not rounded to it."""
MINUTE = 60
HOUR = 60 * MINUTE
DAY = 24 * HOUR
LONGEST_TITLE: Final = 80


def cause_words(blame: Blame, sure: Sureness, *, probe_due: datetime | None, now: datetime) -> str:
    """Write the blame and its certainty; empty if nothing is known or awaited.

    >>> at = datetime(2026, 3, 4, 14, 10, tzinfo=UTC)
    >>> cause_words(Blame.ADAPTER, Sureness.CONFIRMED, probe_due=None, now=at)
    'adapter'
    >>> cause_words(Blame.INPUT, Sureness.LIKELY, probe_due=at, now=at)
    'input (likely; probe due at 14:10 UTC)'
    >>> cause_words(Blame.UNKNOWN, Sureness.NOT_CONFIRMED, probe_due=at, now=at)
    'not confirmed, probe due at 14:10 UTC'
    """
    awaited = [f"probe due at {clock_time(probe_due, now=now)}"] if probe_due is not None else []
    if blame is Blame.UNKNOWN:
        return ", ".join(["not confirmed", *awaited]) if awaited else ""
    doubts = [*([] if sure is Sureness.CONFIRMED else ["likely"]), *awaited]
    return f"{blame} ({'; '.join(doubts)})" if doubts else str(blame)


def finding_words(score: ScoreLine) -> str:
    """Write what changed; the name of the detector where nothing else is known.

    >>> finding_words(ScoreLine(detector="tone_of_voice"))
    'tone of voice changed'
    """
    return score.words or f"{score.detector.replace('_', ' ')} changed"


def share_words(score: ScoreLine) -> str | None:
    """Write the share of affected requests beside the usual one; None if they are not counted.

    >>> failing = ScoreLine(detector="errors", clause="requests fail", count=77, of=140, usual=0.0)
    >>> share_words(failing)
    '55 % of requests fail (normally 0 %)'
    """
    if not score.clause or score.count is None or not score.of or score.usual is None:
        return None
    share = percent(score.count / score.of)
    return f"{share} of {score.clause} (normally {percent(score.usual)})"


def rate_words(per_second: float) -> str:
    """Write how often requests come, in the unit in which it is at least 1.

    >>> rate_words(1234.0), rate_words(0.5), rate_words(0.001)
    ('1,200 requests/s', '30 requests/min', '3.6 requests/h')
    """
    unit, count = next(
        ((unit, per_second * n) for unit, n in (("s", 1), ("min", 60)) if per_second * n >= 1.0),
        ("h", per_second * 3600),
    )
    return f"{float(f'{count:.2g}'):,g} requests/{unit}"


def percent(share: float) -> str:
    """Write a share of [0, 1], never rounding to exactly none or all."""
    if 0.0 < share < 1.0 - SURE:
        return "under 1 %" if share < 0.01 else f"{100 * share:.1f} %"  # noqa: PLR2004
    if SURE < share < 1.0:
        return "over 99 %"
    return f"{100 * share:.0f} %"


def often(effect: float) -> float:
    """Return in how many of 100 comparisons new requests show more than normal ones; 50 is normal.

    ``effect`` is Cliff's delta, in [-1, 1].

    >>> often(0.38)
    69.0
    """
    return 50.0 + 50.0 * effect


def size_words(scores: Sequence[ScoreLine]) -> str:
    """Write the leading score's effect size, and the smallest detectable one.

    >>> size_words([ScoreLine(detector="logit_ks", evidence=1.6, effect=0.38,
    ...     interval=(0.31, 0.45), minimum_detectable=0.1, n=412)])
    'effect +0.38 (95 % interval +0.31 to +0.45) on 412 requests; smallest detectable change 0.10'
    """
    known = [one for one in scores if finite(one.effect) is not None]
    lead = max(known, key=lambda one: one.evidence or 0.0, default=None)
    if lead is None:
        return ""
    low, high = lead.interval or (None, None)
    between = finite(low) is not None and finite(high) is not None
    return (
        f"effect {lead.effect:+.2f}"
        + (f" (95 % interval {low:+.2f} to {high:+.2f})" if between else "")
        + (f" on {_plural(lead.n, 'request')}" if lead.n else "")
        + (
            f"; smallest detectable change {lead.minimum_detectable:.2f}"
            if finite(lead.minimum_detectable) is not None
            else ""
        )
    )


def unseen_words(unseen: Unseen, *, now: datetime) -> str:
    """Write how many requests could be compared, and since when some could not.

    >>> from datetime import datetime, UTC
    >>> at = datetime(2026, 3, 4, 14, 5, tzinfo=UTC)
    >>> unseen_words(Unseen(since=at, compared=8, requests=100, cause="", mend=""), now=at)
    '8 of the newest 100 requests could be compared with the reference; some not since 14:05 UTC'
    """
    return (
        f"{unseen.compared:,} of the newest {_plural(unseen.requests, 'request')} could be compared"
        f" with the reference; some not since {clock_time(unseen.since, now=now)}"
    )


def uncompared_words(of: Uncompared) -> str:
    """Write how many requests one detector could compare, and why not the rest.

    >>> uncompared_words(Uncompared(detector="entropy", compared=8, requests=100,
    ...     words="token entropy", cause="92 % of requests use temperature 0.7"))
    'token entropy: 8 of 100; 92 % of requests use temperature 0.7'
    """
    named = of.words or of.detector.replace("_", " ")
    return f"{named}: {of.compared:,} of {of.requests:,}; {of.cause}"


def new_words(new: NewRequests) -> str:
    """Write how many requests are new in the same way, and their typical words.

    >>> new = NewRequests(count=23, of=112, subjects=14, words=("refund", "gift card"))
    >>> new_words(new)
    '23 of 112 recent requests are on one new topic (refund, gift card), from 14 users'
    """
    typical = f" ({', '.join(new.words)})" if new.words else ""
    return (
        f"{new.count:,} of {new.of:,} recent requests are on one new topic{typical},"
        f" from {_plural(new.subjects, 'user')}"
    )


def _plural(count: int, what: str) -> str:
    return f"{count:,} {what}" if count == 1 else f"{count:,} {what}s"


def change_words(
    kind: str,
    title: str,
    *,
    begun_at: datetime,
    ended_at: datetime | None,
    onset: datetime | None,
    now: datetime,
) -> str:
    """Write a declared change, and its start relative to the onset.

    >>> from datetime import datetime, timedelta, UTC
    >>> at = datetime(2026, 3, 4, 14, 5, tzinfo=UTC)
    >>> print(change_words(
    ...     "engine", "vLLM 0.33", begun_at=at, ended_at=at + timedelta(minutes=9),
    ...     onset=at + timedelta(minutes=5), now=at + timedelta(hours=1),
    ... ))
    14:05 UTC engine change: vLLM 0.33 (began 5 min before the onset)
    """
    notes = [] if onset is None else [_beside_onset(begun_at, onset)]
    notes += ["still under way"] if ended_at is None else []
    said = f" ({', '.join(notes)})" if notes else ""
    named = "change" if kind == "other" else f"{kind} change"
    return f"{clock_time(begun_at, now=now)} {named}: {title}{said}"


def _beside_onset(begun_at: datetime, onset: datetime) -> str:
    apart = onset - begun_at
    if abs(apart) < timedelta(minutes=1):
        return "began with the onset"
    side = "before" if apart > timedelta() else "after"
    return f"began {duration(abs(apart))} {side} the onset"


def clock_time(at: datetime, *, now: datetime) -> str:
    """Write a time in UTC, with its date unless it is today."""
    utc = at.astimezone(UTC)
    if utc.date() == now.astimezone(UTC).date():
        return f"{utc:%H:%M} UTC"
    return f"{utc:%Y-%m-%d %H:%M} UTC"


def duration(span: timedelta) -> str:
    """Write a duration in the largest unit that fits.

    >>> duration(timedelta(minutes=20)), duration(timedelta(hours=36))
    ('20 min', '36 h')
    """
    seconds = span.total_seconds()
    if seconds < 2 * MINUTE:
        return f"{seconds:.0f} s"
    if seconds < 2 * HOUR:
        return f"{seconds / MINUTE:.0f} min"
    if seconds < 2 * DAY:
        return f"{seconds / HOUR:.0f} h"
    return f"{seconds / DAY:.0f} days"


def sentence(text: str) -> str:
    """Begin with a capital, unless with a name, and end with a full stop.

    >>> sentence("traffic moved"), sentence("v6 answers")
    ('Traffic moved.', 'v6 answers.')
    """
    text = text.strip()
    if not text:
        return ""
    first, _, _ = text.partition(" ")
    named = not first.strip(",:;").isalpha()  # v6, 50 %, adapter-0@v1
    text = text if named else f"{text[0].upper()}{text[1:]}"
    return f"{text}{'' if text.endswith(('.', '!', '?')) else '.'}"


def cut(text: str, longest: int | None = LONGEST_TITLE) -> str:
    """Cut a text to so many characters, the last a …; None: leave it whole."""
    if longest is None or len(text) <= longest:
        return text
    return f"{text[: longest - 1].rstrip()}…"

"""Values as text on a page: ages, numbers, and no characters that would hide or reorder it."""

from __future__ import annotations

import math
from datetime import UTC, datetime, timedelta
from typing import Final
from urllib.parse import quote

from markupsafe import Markup, escape

from alerts.closing import CLOSINGS, Closing
from alerts.types import VerdictKind
from monitor.incident.chart import visible

VERDICTS: Final = {
    VerdictKind.STABLE: "healthy",
    VerdictKind.BLIND: "not covered",
    VerdictKind.INSUFFICIENT: "too little traffic",
    VerdictKind.ERROR: "checks failing",
}
"""The others are words already."""
SELDOM: Final = 0.01
NOTHING: Final = "\N{EN DASH}"
_NOW: Final = 5
_MINUTE: Final = 60
_HOUR: Final = 3600
_DAY: Final = 86400


def reveal(value: object) -> object:
    r"""Write control, formatting and bidi characters as escapes.

    >>> reveal("safe\u202etxt.exe")
    'safe\\u202etxt.exe'
    """
    if type(value) is not str:
        return "" if value is None else value
    return visible(value)


def number(value: float | None, digits: int = 3) -> str:
    """Write a number with ``digits`` significant digits; a dash for none.

    >>> number(0.31249), number(1234.5), number(float("-inf")) == NOTHING
    ('0.312', '1,234', True)
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if value == 0:
        return "0"
    if abs(value) >= 10 ** (digits - 1):
        return f"{value:,.0f}"
    return f"{value:.{digits}g}"


def rare(value: float | None) -> str:
    """Write how often something is expected, to two decimals.

    >>> rare(0.000178), rare(0.0), rare(0.254), rare(12.0)
    ('< 0.01', '0', '0.25', '12')
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    if 0 < value < SELDOM:
        return f"< {SELDOM:g}"
    return f"{round(value, 2):g}"


def signed(value: float | None, digits: int = 2) -> str:
    """Write a number with its sign, for evidence and effects.

    >>> signed(1.234), signed(float("-inf")) == NOTHING
    ('+1.23', True)
    """
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{value:+.{digits}f}".replace("-", "\N{MINUS SIGN}")


def verdict_words(kind: str) -> str:
    """Return a verdict as pages write it.

    >>> verdict_words("stable"), verdict_words("drifting")
    ('healthy', 'drifting')
    """
    return VERDICTS.get(VerdictKind(kind), kind)


def ended(closing: str) -> str:
    """Return the word for how an incident ended without recovering.

    >>> ended("out_of_service")
    'taken out of service'
    """
    return CLOSINGS[Closing(closing)]


def ago(at: datetime | None, now: datetime) -> str:
    """Write how long ago something was.

    >>> from datetime import timedelta
    >>> now = datetime(2026, 1, 2, tzinfo=UTC)
    >>> ago(now - timedelta(seconds=90), now), ago(None, now)
    ('1 min ago', 'never')
    """
    if at is None:
        return "never"
    seconds = (now - at).total_seconds()
    if abs(seconds) < _NOW:
        return "just now"
    return f"{span(seconds)} ago" if seconds > 0 else f"in {span(-seconds)}"


def span(seconds: float) -> str:
    """Write a duration in its largest unit."""
    if seconds < _MINUTE:
        return f"{seconds:.0f} s"
    if seconds < _HOUR:
        return f"{seconds // _MINUTE:.0f} min"
    if seconds < 2 * _DAY:
        return f"{seconds // _HOUR:.0f} h"
    return f"{seconds // _DAY:.0f} days"


def clock(at: datetime | None) -> str | Markup:
    """Write a time in UTC, to the minute, as ``<time>``.

    >>> str(clock(datetime(2026, 11, 5, 7, 4, 9, tzinfo=UTC)))
    '<time datetime="2026-11-05T07:04Z">5 Nov 07:04</time>'
    """
    if at is None:
        return NOTHING
    utc = at.astimezone(UTC)
    moment = f"{utc:%Y-%m-%dT%H:%MZ}"
    return Markup('<time datetime="{}">{}</time>').format(moment, f"{utc.day} {utc:%b %H:%M}")


def hour(since: datetime, hours: int = 0) -> str:
    """Write the hour that begins so many hours after a time, in UTC.

    >>> hour(datetime(2026, 11, 5, 22, tzinfo=UTC), 3)
    '01:00'
    """
    return f"{(since + timedelta(hours=hours)).astimezone(UTC):%H:%M}"


def stamp(at: datetime | None, now: datetime) -> Markup:
    """Write a time as ``<time>``: its age to read, its moment in the title."""
    if at is None:
        return Markup("never")
    moment = at.astimezone(UTC).isoformat(timespec="seconds")
    return Markup('<time datetime="{0}" title="{0}">{1}</time>').format(moment, ago(at, now))


def coded(text: str) -> Markup:
    """Write what stands between backticks as code.

    >>> str(coded("Run `driftline discover` <now>."))
    'Run <code>driftline discover</code> &lt;now&gt;.'
    """
    parts = visible(text).split("`")
    return Markup("").join(
        Markup("<code>{}</code>").format(part) if place % 2 else escape(part)
        for place, part in enumerate(parts)
    )


def path_part(name: str) -> str:
    """Write a name as one part of a path.

    >>> path_part("acme/support")
    'acme%2Fsupport'
    """
    return quote(name, safe="")


def percent(share: float) -> str:
    """Write a share as a percentage."""
    return f"{share:.0%}"


def share(weight: float) -> str:
    """Write an arm's share of the traffic; less than one percent is not rounded to nothing.

    >>> share(0.05), share(0.005), share(0.0)
    ('5 %', '0.5 %', '0 %')
    """
    return f"{100 * weight:.3g} %"


def field(at: datetime) -> str:
    """Write a time in UTC as a form's field takes it.

    >>> field(datetime(2026, 11, 5, 7, 4, tzinfo=UTC))
    '2026-11-05T07:04'
    """
    return f"{at.astimezone(UTC):%Y-%m-%dT%H:%M}"

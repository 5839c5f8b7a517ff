"""The coverage of detectors, in words. Pure."""

from __future__ import annotations

import math
from collections.abc import Iterable
from datetime import timedelta
from typing import Final

from detectors.words import name_words
from monitor.policy.coverage import BLINDING, Coverage, Why
from monitor.policy.words import why_words

WORTH_TELLING: Final = 0.05
"""A smaller share of the requests is not mentioned beside a verdict."""


def largest_first(one: Coverage) -> list[tuple[Why, int]]:
    """Return why requests were not compared: blinding causes first, the largest first."""
    return sorted(one.gaps.items(), key=lambda gap: (gap[0].cause not in BLINDING, -gap[1], gap[0]))


def least(found: Iterable[Coverage]) -> Coverage | None:
    """Return the detector with the lowest compared share; None: none could compare anything."""
    asked = [one for one in found if one.of_expected is not None]
    return min(asked, key=lambda one: (one.of_expected, one.detector), default=None)


def coverage_words(one: Coverage) -> str:
    """Say how much a detector compared and why not the rest.

    >>> from monitor.policy.coverage import Cause
    >>> gaps = {Why(Cause.SETTINGS, "temperature 0.7"): 2}
    >>> print(coverage_words(Coverage(detector="errors", requests=9, compared=7, gaps=gaps)))
    errors compared 7 of 9 requests; 2 use temperature 0.7, which the reference does not cover
    """
    said = f"{name_words(one.detector)} compared {one.compared:,} of {one.requests:,} requests"
    return "; ".join([said, *(f"{n:,} {why_words(why)}" for why, n in largest_first(one))])


def blind_share_words(one: Coverage) -> str | None:
    """Say which share of the requests is lost to the largest cause; None: to none worth a word.

    >>> from monitor.policy.coverage import Cause
    >>> gaps = {Why(Cause.SETTINGS, "temperature 0.7"): 92}
    >>> blind_share_words(Coverage(detector="entropy", requests=100, compared=8, gaps=gaps))
    '92 % of requests use temperature 0.7, which the reference does not cover'
    """
    lost = [gap for gap in largest_first(one) if gap[0].cause in BLINDING]
    if not lost or lost[0][1] < WORTH_TELLING * one.requests:
        return None
    why, n = lost[0]
    return f"{percent(n / one.requests)} of requests {why_words(why)}"


def sampling_words(*, requests: int, sampled_out: int) -> str | None:
    """Say what sampling set aside; None where it was nothing.

    >>> sampling_words(requests=40_112, sampled_out=36_112)
    'sampling set 36,112 of 40,112 requests aside; no loss'
    """
    if not sampled_out:
        return None
    return f"sampling set {sampled_out:,} of {requests:,} requests aside; no loss"


def percent(share: float) -> str:
    """Write a share; only all of it is 100 %.

    >>> percent(0.9999), percent(1.0), percent(0.004)
    ('99 %', '100 %', '0 %')
    """
    return f"{math.floor(100 * share + 1e-9)} %"


def lasting(span: timedelta) -> str:
    """Write how long a version was blind.

    >>> lasting(timedelta(minutes=50)), lasting(timedelta(hours=30))
    ('50 min', '30 h')
    """
    minutes = span / timedelta(minutes=1)
    return f"{minutes:.0f} min" if minutes < 60 else f"{minutes / 60:.3g} h"  # noqa: PLR2004

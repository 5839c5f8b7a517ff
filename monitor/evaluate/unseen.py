"""The gaps in a version's coverage, as a message describes them."""

from __future__ import annotations

from datetime import datetime
from shlex import quote

from alerts.message import Uncompared, Unseen
from detectors.words import name_words
from monitor.domain import Version
from monitor.outbox.writing import learn_command
from monitor.policy.coverage import BLINDING, Blindness, Cause, Coverage, Why
from monitor.policy.words import why_words


def unseen(
    blind: Blindness,
    covered: tuple[Coverage, ...],
    version: Version,
    *,
    now: datetime,
    well: bool,
) -> Unseen:
    """Describe a version's blindness for a message, the least seen detector first.

    ``well``: nothing is found wrong with the version.
    """
    named = [one for one in covered if one.detector in blind.detectors]
    return Unseen(
        since=blind.since or now,
        compared=blind.compared,
        requests=blind.requests,
        cause=_cause(blind.why, blind.n, blind.requests),
        mend=mend(blind, version, well=well),
        detectors=tuple(
            _uncompared(one)
            for one in sorted(named, key=lambda one: (one.ratio or 0.0, one.detector))
        ),
    )


def mend(blind: Blindness, version: Version, *, well: bool) -> str:
    """Name the command that makes the requests comparable, or shows what they lack.

    A version that is not ``well`` must not be learned from.
    """
    if blind.why.cause is Cause.SETTINGS and well:
        return learn_command(version)
    return f"driftline status {quote(version.adapter)}"


def _uncompared(one: Coverage) -> Uncompared:
    lost = {why: n for why, n in one.gaps.items() if why.cause in BLINDING}
    why, n = max(lost.items(), key=lambda item: (item[1], item[0]))
    return Uncompared(
        detector=one.detector,
        words=name_words(one.detector),
        compared=one.compared,
        requests=one.requests,
        cause=_cause(why, n, one.requests),
    )


def _cause(why: Why, n: int, requests: int) -> str:
    return f"{n / requests:.0%} of requests {why_words(why)}"

"""The checks of one version taken together, as the page ``/budget`` shows them. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from monitor.views.budget import DRIFTS, DelayBody, ShareBody, common_reason

ALL: Final = "all detectors"
"""The one line of a version without a reference stands for all its checks."""


@dataclass(frozen=True, slots=True, kw_only=True)
class WeakestCheck:
    """The check of a version that takes longest; ``hours`` inf: it never sees the drift."""

    title: str
    drift: str
    hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionSeen:
    """The checks of one version."""

    items: Sequence[ShareBody]

    @property
    def name(self) -> str:
        return f"{self.items[0].adapter}@{self.items[0].version}"

    @property
    def pages(self) -> float:
        return math.fsum(item.pages_per_30_days for item in self.items)

    @property
    def tickets(self) -> float:
        return math.fsum(item.notices_per_30_days for item in self.items)

    @property
    def requests_per_day(self) -> float:
        return max(item.requests_per_day for item in self.items)

    @property
    def seeing(self) -> int:
        return sum(item.blind is None for item in self.items)

    @property
    def blind(self) -> list[str]:
        """How many checks are blind for each reason, the most common reason first."""
        reasons: dict[str, int] = {}
        for item in self.items:
            if item.blind is not None:
                reason = common_reason(item.blind)
                reasons[reason] = reasons.get(reason, 0) + 1
        if self.items[0].detector == ALL:
            return [f"every check is blind: {reason}" for reason in reasons]
        ordered = sorted(reasons.items(), key=lambda one: -one[1])
        return [
            f"{count} of {len(self.items)} checks {'is' if count == 1 else 'are'} blind: {reason}"
            for reason, count in ordered
        ]

    @property
    def weakest(self) -> WeakestCheck | None:
        """The slowest check of those that see something."""
        known = [_soonest(item) for item in self.items if item.blind is None]
        return max((one for one in known if one), key=lambda one: one.hours, default=None)


def by_version(items: Sequence[ShareBody]) -> list[VersionSeen]:
    """Put the checks of each version together; the versions with most blind ones first."""
    ordered = sorted(items, key=_version)
    found = [VersionSeen(items=list(own)) for _, own in groupby(ordered, key=_version)]
    return sorted(found, key=lambda one: one.seeing / len(one.items))


def _version(item: ShareBody) -> tuple[str, str]:
    return item.adapter, item.version


def _soonest(item: ShareBody) -> WeakestCheck | None:
    """Return when a check sees bad requests; of one without such a drift, what it sees first."""
    hours = _hours(item)
    if not hours:
        return None
    drift = "bad_requests" if "bad_requests" in hours else min(hours, key=hours.__getitem__)
    return WeakestCheck(title=item.title, drift=DRIFTS.get(drift, drift), hours=hours[drift])


def _hours(item: ShareBody) -> Mapping[str, float]:
    """Return the hours until each drift is told, by a page where the check can page."""
    delays: dict[str, DelayBody | None] = {
        drift: found.page if item.only_tickets is None else found.notice
        for drift, found in item.delays.items()
    }
    return {
        drift: math.inf if delay.hours is None else delay.hours
        for drift, delay in delays.items()
        if delay is not None
    }

"""The checks of one version taken together, as a row of ``/budget``. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Final

from monitor.views.budget import DRIFTS, ShareBody, common_reason

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
    def first(self) -> ShareBody:
        """Any of them: adapter, version and tier are the same in all."""
        return self.items[0]

    @property
    def name(self) -> str:
        return f"{self.first.adapter}@{self.first.version}"

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
    def seeing(self) -> Sequence[ShareBody]:
        return [item for item in self.items if item.blind is None]

    @property
    def unlearned(self) -> bool:
        """Whether one line stands for all checks, as there is no reference."""
        return self.first.detector == ALL

    @property
    def blind(self) -> Mapping[str, Sequence[ShareBody]]:
        """The blind checks by reason, the most common reason first."""
        found: dict[str, list[ShareBody]] = {}
        for item in self.items:
            if item.blind is not None:
                found.setdefault(common_reason(item.blind), []).append(item)
        return dict(sorted(found.items(), key=lambda one: -len(one[1])))

    def how_many(self, blind: Sequence[ShareBody]) -> str:
        """Say how many of the checks some blind ones are, before a colon and the reason."""
        if self.unlearned:
            return "every check is blind"
        verb = "is" if len(blind) == 1 else "are"
        return f"{len(blind)} of {len(self.items)} checks {verb} blind"

    @property
    def weakest(self) -> WeakestCheck | None:
        """The slowest check of those that see something."""
        known = [found for item in self.seeing if (found := _soonest(item)) is not None]
        return max(known, key=lambda one: one.hours, default=None)


def by_version(items: Sequence[ShareBody]) -> list[VersionSeen]:
    """Put the checks of each version together; the versions with most blind ones first."""
    ordered = sorted(items, key=_version)
    found = [VersionSeen(items=list(own)) for _, own in groupby(ordered, key=_version)]
    return sorted(found, key=lambda one: len(one.seeing) / len(one.items))


def _version(item: ShareBody) -> tuple[str, str]:
    return item.adapter, item.version


def _soonest(item: ShareBody) -> WeakestCheck | None:
    """Return when a check sees bad requests; of one without such a drift, what it sees first."""
    hours = {
        drift: math.inf if delay.hours is None else delay.hours
        for drift, delay in item.told.items()
    }
    if not hours:
        return None
    drift = "bad_requests" if "bad_requests" in hours else min(hours, key=hours.__getitem__)
    return WeakestCheck(title=item.title, drift=DRIFTS.get(drift, drift), hours=hours[drift])

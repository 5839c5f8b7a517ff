"""The contents of the budget page: a row for each version, its checks below it."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Any, Final

from sqlalchemy import Connection

from detectors.expected_delay import Delay, Drift
from monitor.evaluate.outlook import EVERY_DETECTOR, Outlook, OutlookLine
from monitor.outbox.receipt import read_receipt, read_watched
from monitor.policy.budget import pages_of_adapter
from monitor.store.registry import watching
from monitor.views.budget import DRIFTS, common_reason

VERSIONS_A_PAGE: Final = 20
MOST_PAGES: Final = 20
MOST_UNCOMPARED: Final = 20


@dataclass(frozen=True, slots=True, kw_only=True)
class Weakest:
    """The check of a version that takes longest; ``hours`` inf: it never sees the drift."""

    line: OutlookLine
    drift: str
    hours: float


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionBudget:
    """The checks of one version, those that see something first the slowest."""

    lines: Sequence[OutlookLine]

    @property
    def first(self) -> OutlookLine:
        """Any of them: adapter, version and tier are the same in all."""
        return self.lines[0]

    @property
    def pages(self) -> float:
        return math.fsum(line.share.page for line in self.lines)

    @property
    def tickets(self) -> float:
        return math.fsum(line.share.notice for line in self.lines)

    @property
    def per_day(self) -> float:
        return max(line.per_day for line in self.lines)

    @property
    def seeing(self) -> list[OutlookLine]:
        return [line for line in self.lines if line.blind is None]

    @property
    def unlearned(self) -> bool:
        """Whether one line stands for all checks, as there is no reference."""
        return self.first.detector == EVERY_DETECTOR

    @property
    def blind(self) -> Mapping[str, Sequence[OutlookLine]]:
        """The blind checks by reason, the most common reason first."""
        found: dict[str, list[OutlookLine]] = {}
        for line in self.lines:
            if line.blind is not None:
                found.setdefault(common_reason(line.blind), []).append(line)
        return dict(sorted(found.items(), key=lambda item: -len(item[1])))

    @property
    def weakest(self) -> Weakest | None:
        """The slowest check of those that see something."""
        known = [found for line in self.seeing if (found := _soonest(line)) is not None]
        return max(known, key=lambda one: one.hours, default=None)


def _soonest(line: OutlookLine) -> Weakest | None:
    """Return when a check sees bad requests; of one without such a drift, what it sees first."""
    delays: dict[Drift, Delay] = {
        drift: delay for (drift, process), delay in line.delays.items() if process is line.opens
    }
    if not delays:
        return None
    best = min(delays, key=lambda one: delays[one].hours)
    drift = Drift.BAD_REQUESTS if Drift.BAD_REQUESTS in delays else best
    return Weakest(line=line, drift=DRIFTS[drift], hours=delays[drift].hours)


def read_budget(
    tx: Connection, outlook: Outlook, *, now: datetime, page: int = 1
) -> dict[str, Any]:
    """Read the versions' parts of the budget, those with most blind checks first.

    ``page`` counts from 1; a number beyond the last page means the last.
    """
    versions = by_version(outlook.read(tx, now=now))
    adapters = watching.adapters_by_tier(tx)
    settings = outlook.settings.budget
    tiers = [
        {
            "name": tier,
            "adapters": count,
            "pages": pages_of_adapter(settings, tier, adapters=adapters),
        }
        for tier, count in sorted(adapters.items())
    ]
    last = max(1, -(-len(versions) // VERSIONS_A_PAGE))
    page = min(page, last)
    first = (page - 1) * VERSIONS_A_PAGE
    receipts = [
        read_receipt(tx, settings, month=month, now=now) for month in (None, f"{now:%Y-%m}")
    ]
    watched = read_watched(tx, start=receipts[0].start, end=receipts[0].end)
    return {
        "versions": versions[first : first + VERSIONS_A_PAGE],
        "first": first,
        "of": len(versions),
        "page": page,
        "last": last,
        "drifts": list(DRIFTS.items())[::-1],
        "tiers": tiers,
        "settings": settings,
        "rounds": outlook.rounds(tx, now=now),
        "receipts": receipts,
        "most_pages": MOST_PAGES,
        "uncompared": [one for one in watched if not one.whole],
        "most_uncompared": MOST_UNCOMPARED,
    }


def by_version(lines: Sequence[OutlookLine]) -> list[VersionBudget]:
    """Put the checks of each version together; the versions with most blind ones first."""
    ordered = sorted(lines, key=_version)
    found = [VersionBudget(lines=list(own)) for _, own in groupby(ordered, key=_version)]
    return sorted(found, key=lambda one: len(one.seeing) / len(one.lines))


def _version(line: OutlookLine) -> tuple[str, str]:
    return line.adapter, line.version

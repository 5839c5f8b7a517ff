"""The division of the accepted false pages and notices; no other module divides them.

Pages are promised for the fleet. They are divided over its tiers, over the watched adapters
of each tier, over the watched versions of each adapter, and over the detectors of each
version that may page. Notices are promised for each adapter, and are divided over its
watched versions and their detectors.

A share is settled before the data on which it is spent: by the fleet, the route and the
measurements of the reference. A re-division is therefore exact. The expected false pages of
a process are its shares added up over time, and at any time all shares add up to the
promise or less.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from typing import Any, Final

from detectors import DETECTORS
from detectors.design_effect import DAY_BLOCKS_FROM_DAYS

FEWEST_WEEKDAYS: Final = 3
"""Fewest weekdays a detector must have seen, in a reference of a week or more, to page."""

_ANY = "standard"


@dataclass(frozen=True, slots=True, kw_only=True)
class TierBudget:
    """An adapter's part of the fleet's pages, in this tier.

    weight
        Its part beside a tier of weight 1; None is 1.
    false_pages_per_30_days
        Set aside for the whole tier, out of the fleet's; None: by weight.
    """

    weight: float | None = None
    false_pages_per_30_days: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class BudgetSettings:
    """The false alarms accepted in 30 days while nothing has changed.

    false_pages_per_30_days
        Of the whole fleet.
    notices_per_30_days
        Of each adapter; ``notices_of`` has those of adapters with a number of their own.
    tiers
        Tiers that differ from weight 1.
    """

    false_pages_per_30_days: float = 1.0
    notices_per_30_days: float = 1.0
    tiers: Mapping[str, TierBudget] = field(default_factory=dict)
    notices_of: Mapping[str, float] = field(default_factory=dict)

    def own_pages(self, tier: str) -> float | None:
        """Return the pages set aside for a tier; None where its pages go by weight."""
        return self.tiers.get(tier, TierBudget()).false_pages_per_30_days

    def uniform(self, budget: float) -> BudgetSettings:
        """Return settings with this number of pages and of notices, tiers by weight."""
        weights = {name: TierBudget(weight=tier.weight) for name, tier in self.tiers.items()}
        return BudgetSettings(
            false_pages_per_30_days=budget, notices_per_30_days=budget, tiers=weights
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class ShareStanding:
    """The standing of one version in the fleet when its share is settled.

    adapters
        By tier, the adapters that are watched: those with a reference in force.
    versions
        Watched versions of this adapter; ``watched`` says whether this is one of them.
    """

    adapter: str
    tier: str
    adapters: Mapping[str, int]
    versions: int = 1
    watched: bool = True

    @classmethod
    def among(cls, adapter: str, *, of: int) -> ShareStanding:
        """Return the standing of one adapter among this many equal ones, as a replay assumes."""
        return cls(adapter=adapter, tier=_ANY, adapters={_ANY: of})


@dataclass(frozen=True, slots=True, kw_only=True)
class Share:
    """Accepted false alarms in 30 days of one detector on one version."""

    page: float = 0.0
    notice: float = 0.0


def saw_too_few_days(fitted: Mapping[str, Any], *, span_days: float) -> frozenset[str]:
    """Name the detectors whose signal a reference has measured on one or two weekdays only.

    ``fitted`` are the calibrations of a reference that spans ``span_days``. Each signal
    counts separately, because few of the records may have it: two days do not show how days
    differ. A whole reference of less than a week is provisional unless a person, who knows
    its length, approved it. Hard signals are exempt.
    """
    if span_days < DAY_BLOCKS_FROM_DAYS:
        return frozenset()
    return frozenset(
        name
        for name, one in fitted.items()
        if not DETECTORS[name].hard and one.coverage.weekdays.sum() < FEWEST_WEEKDAYS
    )


def pages(detector: str) -> bool:
    """Return whether a detector has a page process."""
    return detector not in DETECTORS or DETECTORS[detector].pages


def shares(
    settings: BudgetSettings,
    standing: ShareStanding,
    *,
    detectors: Collection[str],
    only_tickets: Collection[str] = frozenset(),
) -> dict[str, Share]:
    """Divide one version's part over its detectors.

    ``detectors`` are those that its reference can carry: a detector that was never measured
    takes no share from the others. A version that is not watched gets no share, and neither
    does one that has no page process, or is one of ``only_tickets``
    (:func:`saw_too_few_days`).
    """
    if not standing.watched or not detectors:
        return dict.fromkeys(detectors, Share())
    versions = max(1, standing.versions)
    silent = {name for name in detectors if name in only_tickets or not pages(name)}
    paging = sum(name not in silent for name in detectors)
    page = pages_of_adapter(settings, standing.tier, adapters=standing.adapters)
    page /= versions * max(1, paging)
    notice = notices_of_adapter(settings, standing.adapter) / (versions * len(detectors))
    return {name: Share(page=0.0 if name in silent else page, notice=notice) for name in detectors}


def pages_of_adapter(settings: BudgetSettings, tier: str, *, adapters: Mapping[str, int]) -> float:
    """Accepted false pages in 30 days of each adapter of a tier.

    Tiers with pages of their own are served first, from the fleet's, and cut down together
    where they promise more than it; the others share the rest by weight. What a tier with
    no adapter was promised goes to the rest.

    >>> settings = BudgetSettings(
    ...     tiers={
    ...         "gold": TierBudget(weight=2.0), "batch": TierBudget(false_pages_per_30_days=0.1)
    ...     }
    ... )
    >>> fleet = {"gold": 1, "standard": 4, "batch": 2}
    >>> [round(pages_of_adapter(settings, tier, adapters=fleet), 3) for tier in fleet]
    [0.3, 0.15, 0.05]
    """
    present = {name: count for name, count in adapters.items() if count > 0}
    if tier not in present:
        return 0.0
    promised = settings.false_pages_per_30_days
    own = {name: pages for name in present if (pages := settings.own_pages(name)) is not None}
    together = sum(own.values())
    cut = min(1.0, promised / together) if together > 0.0 else 1.0
    if tier in own:
        return own[tier] * cut / present[tier]
    total = sum(weight(settings, name) * n for name, n in present.items() if name not in own)
    return max(0.0, promised - together * cut) * weight(settings, tier) / total


def notices_of_adapter(settings: BudgetSettings, adapter: str) -> float:
    """Accepted notices of an adapter in 30 days."""
    return settings.notices_of.get(adapter, settings.notices_per_30_days)


def weight(settings: BudgetSettings, tier: str) -> float:
    """Return the weight of an adapter of this tier."""
    chosen = settings.tiers.get(tier, TierBudget()).weight
    return 1.0 if chosen is None else chosen

"""What an evaluation is told by the config."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import timedelta

from detectors import DETECTORS
from monitor.policy import PolicySettings

NO_PAGE_BUDGET = frozenset({"input_similarity"})
"""Detectors without a page process: they take nothing from the page budget."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Margins:
    """The smallest effect that may move traffic; half of it is "small again".

    ``rank`` is Cliff's delta, ``rate`` a difference of rates.
    """

    rank: float = 0.2
    rate: float = 0.05


@dataclass(frozen=True, slots=True, kw_only=True)
class EvaluateSettings:
    """How windows are scored and judged.

    detectors
        Names from the table of detectors, in order.
    false_pages_per_30_days
        Of the whole fleet, divided over its versions and their paging detectors.
    notices_per_30_days
        Of one adapter version, divided over its detectors.
    effect_window, effect_records
        Effects are taken since onset over at most this long and this many records.
    silence_records
        This many records expected and none seen opens a ``no_data`` incident.
    shown_examples
        Least similar prompts shown in a message; 0 unless text is stored.
    """

    detectors: tuple[str, ...] = tuple(DETECTORS)
    false_pages_per_30_days: float = 1.0
    notices_per_30_days: float = 1.0
    margins: Margins = field(default_factory=Margins)
    policy: PolicySettings = field(default_factory=PolicySettings)
    effect_window: timedelta = timedelta(hours=24)
    effect_records: int = 4_000
    silence_records: int = 50
    shown_examples: int = 0

    def shares(self, *, watched: int) -> dict[str, dict[str, float]]:
        """Divide the budget: per detector, the pages and notices of one version.

        ``watched`` versions share the fleet's pages; the shares of all add up to the
        budget, and a change of the fleet re-divides it exactly.
        """
        paging = sum(1 for name in self.detectors if name not in NO_PAGE_BUDGET)
        pages = self.false_pages_per_30_days / (max(1, watched) * max(1, paging))
        notices = self.notices_per_30_days / max(1, len(self.detectors))
        return {
            name: {"page": 0.0 if name in NO_PAGE_BUDGET else pages, "notice": notices}
            for name in self.detectors
        }

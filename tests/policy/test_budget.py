"""The shares of all add up to what was promised, whatever the fleet is and becomes."""

from collections import Counter
from dataclasses import dataclass

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors import DETECTORS
from detectors.types import Window
from monitor.policy.budget import (
    BudgetSettings,
    ShareStanding,
    TierBudget,
    pages_of_adapter,
    saw_too_few_days,
    shares,
)

TIERS = ("gold", "standard", "batch")
ROUNDING = 1 + 1e-9

budgets = st.floats(0.0, 50.0)
tiers = st.dictionaries(
    st.sampled_from(TIERS),
    st.builds(TierBudget, weight=st.floats(0.01, 100.0))
    | st.builds(TierBudget, false_pages_per_30_days=budgets),
)
settings = st.builds(
    BudgetSettings,
    false_pages_per_30_days=budgets,
    notices_per_30_days=budgets,
    tiers=tiers,
    notices_of=st.dictionaries(st.sampled_from(["a0", "a1"]), budgets),
)


@dataclass(frozen=True)
class Adapter:
    """An adapter's tier, and of each version what its reference measured and if it counts."""

    tier: str
    versions: list[tuple[frozenset[str], bool]]


measured = st.frozensets(st.sampled_from(list(DETECTORS)))
adapters = st.builds(
    Adapter,
    tier=st.sampled_from(TIERS),
    versions=st.lists(st.tuples(measured, st.booleans()), min_size=1, max_size=4),
)
fleets = st.lists(adapters, max_size=6)


def divided(chosen: BudgetSettings, fleet: list[Adapter]) -> list[tuple[str, str, float, float]]:
    """Adapter, tier, pages and notices of every (adapter, version, detector)."""
    counts = Counter(adapter.tier for adapter in fleet)
    rows = []
    for number, adapter in enumerate(fleet):
        watched = sum(counts_for for _, counts_for in adapter.versions)
        for detectors, counts_for in adapter.versions:
            standing = ShareStanding(
                adapter=f"a{number}",
                tier=adapter.tier,
                adapters=counts,
                versions=watched,
                watched=counts_for,
            )
            rows += [
                (f"a{number}", adapter.tier, share.page, share.notice)
                for share in shares(chosen, standing, detectors=detectors).values()
            ]
    return rows


@given(settings, fleets, fleets)
def test_the_shares_never_add_up_to_more_than_the_promise(
    chosen: BudgetSettings, before: list[Adapter], after: list[Adapter]
) -> None:
    # any two fleets: the one after a change is divided as exactly as the one before it
    for fleet in (before, after, before + after):
        rows = divided(chosen, fleet)
        assert sum(pages for _, _, pages, _ in rows) <= chosen.false_pages_per_30_days * ROUNDING
        for tier, budget in chosen.tiers.items():
            own = budget.false_pages_per_30_days
            if own is not None:
                assert sum(pages for _, of, pages, _ in rows if of == tier) <= own * ROUNDING
        for name in {adapter for adapter, *_ in rows}:
            notices = sum(notice for adapter, _, _, notice in rows if adapter == name)
            promised = chosen.notices_of.get(name, chosen.notices_per_30_days)
            assert notices <= promised * ROUNDING


@given(st.floats(0.01, 50.0), st.lists(st.sampled_from(TIERS), min_size=1), tiers)
def test_a_fleet_that_measures_something_gets_all_of_it(
    promised: float, of_tiers: list[str], chosen: dict[str, TierBudget]
) -> None:
    weights = {name: tier for name, tier in chosen.items() if tier.false_pages_per_30_days is None}
    fleet = [Adapter(tier, [(frozenset({"logit_ks", "empty"}), True)]) for tier in of_tiers]
    rows = divided(BudgetSettings(false_pages_per_30_days=promised, tiers=weights), fleet)
    assert sum(pages for _, _, pages, _ in rows) == pytest.approx(promised)


def test_what_cannot_be_measured_or_never_pages_takes_nothing_from_the_others() -> None:
    standing = ShareStanding(adapter="a", tier="standard", adapters={"standard": 2})
    found = shares(BudgetSettings(), standing, detectors=("logit_ks", "empty", "input_similarity"))
    assert {name: share.page for name, share in found.items()} == {
        "logit_ks": 1 / 4,  # one page, two adapters, two detectors that page
        "empty": 1 / 4,
        "input_similarity": 0.0,
    }
    assert {share.notice for share in found.values()} == {1 / 3}


def test_what_was_seen_on_two_weekdays_has_no_page_and_leaves_it_to_the_others() -> None:
    day = 86_400.0
    at = np.sort(np.random.default_rng(3).uniform(0.0, 14.0 * day, 8_000))
    two = (at // day).astype(int) % 7 < 2
    rate = (np.arange(at.size) % 20 == 0).astype(float)
    fitted = {
        name: DETECTORS[name].fit(
            Window(start=0.0, end=14.0 * day, at=at, signals={signal: values})
        )
        for name, signal, values in (
            ("refusal", "refusal", np.where(two, rate, np.nan)),
            ("truncated", "truncated", rate),
            ("empty", "empty", np.where(two, rate, np.nan)),  # hard: exempt
        )
    }
    silent = saw_too_few_days(fitted, span_days=14.0)
    assert silent == {"refusal"}
    # a person who approves a reference of days knows that it is one
    assert saw_too_few_days(fitted, span_days=6.9) == frozenset()
    standing = ShareStanding(adapter="a", tier="standard", adapters={"standard": 1})
    found = shares(BudgetSettings(), standing, detectors=fitted, only_tickets=silent)
    assert {name: share.page for name, share in found.items()} == {
        "refusal": 0.0,
        "truncated": 1 / 2,
        "empty": 1 / 2,
    }
    assert {share.notice for share in found.values()} == {1 / 3}


def test_a_tier_that_promises_more_than_the_fleet_is_cut_down() -> None:
    chosen = BudgetSettings(
        tiers={
            "gold": TierBudget(false_pages_per_30_days=3.0),
            "batch": TierBudget(false_pages_per_30_days=1.0),
        }
    )
    fleet = {"gold": 3, "batch": 1, "standard": 5}
    assert [pages_of_adapter(chosen, tier, adapters=fleet) for tier in fleet] == [0.25, 0.25, 0.0]

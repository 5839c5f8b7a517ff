"""Pairs: bounds that are exact at every look; how many prompts they take is simulated elsewhere."""

from dataclasses import astuple

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from detectors.trial_pairs import design_effect, pair_bounds, paired
from detectors.types import Floats

ALPHA = 0.04
"""Of one guardrail beside the hard ones, as :mod:`monitor.traffic.trial.guards` divides .05."""

counts = st.tuples(*[st.integers(0, 60)] * 3).filter(any)


def of(worse: int, same: int, better: int) -> Floats:
    return np.repeat([1.0, 0.0, -1.0], [worse, same, better])


def test_a_version_that_is_no_worse_is_hardly_ever_refuted() -> None:
    """P(more than 9 of 100 | 4 %) = .7 %: of each end, at all 15 looks together."""
    rng = np.random.default_rng(3)
    for apart in (0.1, 1.0):
        differ = rng.random((100, 300)) < apart
        pairs = np.where(differ, rng.choice([-1.0, 1.0], (100, 300)), 0.0)
        found = [[pair_bounds(one[:n], alpha=ALPHA) for n in range(20, 301, 20)] for one in pairs]
        assert sum(any(look.lo > 0 for look in looks) for looks in found) <= 9
        assert sum(any(look.hi < 0 for look in looks) for looks in found) <= 9


def test_pairs_of_a_subject_that_come_out_alike_count_as_one() -> None:
    """P(more than 9 of 100 | 4 %) = .7 %; without subjects 38 % of the first went back."""
    rng = np.random.default_rng(7)
    one, of_subjects = of(11, 200, 4), np.repeat(np.arange(215), 5)
    repeated = pair_bounds(np.repeat(one, 5), alpha=ALPHA, subjects=of_subjects)
    assert astuple(repeated) == pytest.approx(astuple(pair_bounds(one, alpha=ALPHA)))
    assert design_effect(one, np.arange(215)) == 1.0
    subjects = np.repeat(np.arange(180), 5)
    for alike in (True, False):
        differ = rng.choice([1.0, 0.0, -1.0], (100, 900), p=[0.04, 0.92, 0.04])
        pairs = np.repeat(differ[:, ::5], 5, axis=1) if alike else differ
        found = [
            [pair_bounds(one[:n], alpha=ALPHA, subjects=subjects[:n]) for n in range(60, 901, 60)]
            for one in pairs
        ]
        assert sum(any(look.lo > 0 for look in looks) for looks in found) <= 9
        assert sum(any(look.hi < 0 for look in looks) for looks in found) <= 9
    assert paired(np.repeat(one, 5)[:95], of_subjects[:95]) is None  # 19 subjects


@given(counts=counts, alpha=st.floats(0.001, 0.2))
def test_both_ends_lie_about_what_was_seen_and_change_places_with_the_versions(
    counts: tuple[int, int, int], alpha: float
) -> None:
    found = pair_bounds(of(*counts), alpha=alpha)
    assert -1.0 <= found.lo <= found.value <= found.hi <= 1.0
    other = pair_bounds(of(*counts[::-1]), alpha=alpha)
    assert (other.lo, other.hi) == pytest.approx((-found.hi, -found.lo))
    surer = pair_bounds(of(*counts), alpha=alpha / 2)
    assert surer.lo <= found.lo + 1e-9
    assert surer.hi >= found.hi - 1e-9


@given(counts=counts)
def test_a_worse_answer_more_is_never_better(counts: tuple[int, int, int]) -> None:
    worse, same, better = counts
    before = pair_bounds(of(*counts), alpha=ALPHA)
    after = pair_bounds(of(worse + 1, same, better), alpha=ALPHA)
    assert after.lo >= before.lo - 1e-9


def test_against_no_difference_only_pairs_that_differ_count() -> None:
    """8 of 8 that differ: 1.55^8 x 27/30 + 1.05^8/30 + ... = 30.2 > 25 = 1/.04; 7 are too few."""
    for same in (12, 500):
        assert pair_bounds(of(8, same, 0), alpha=ALPHA).lo > 0
        assert pair_bounds(of(7, same, 0), alpha=ALPHA).lo <= 0


def test_equal_answers_prove_little_and_few_pairs_nothing() -> None:
    same = pair_bounds(of(0, 30, 0), alpha=ALPHA)
    assert (same.value, same.lo) == (0.0, -same.hi)
    assert same.hi > 0.05
    assert paired(of(0, 19, 0)) is None
    found = paired(of(0, 30, 0))
    assert found is not None
    assert found.variance > 0

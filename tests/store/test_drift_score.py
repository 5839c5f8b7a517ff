"""The drift score sorts adapters as their verdicts do."""

from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from alerts.types import VerdictKind
from monitor.store.evaluation.verdicts import drift_score
from monitor.store.traffic.fleet import WORST_FIRST

sizes = st.floats(0.0, 100.0)


@given(sizes, sizes, st.sampled_from(list(pairwise(WORST_FIRST))))
def test_a_worse_verdict_never_has_the_lower_score(
    one: float, other: float, kinds: tuple[VerdictKind, VerdictKind]
) -> None:
    worse, better = kinds
    calm = {VerdictKind.INSUFFICIENT, VerdictKind.LEARNING, VerdictKind.STABLE}
    if not calm.issuperset(kinds):
        assert drift_score(worse, one) >= drift_score(better, other)


@given(sizes, sizes, st.sampled_from(list(VerdictKind)))
def test_within_a_verdict_the_larger_effect_has_the_higher_score(
    one: float, other: float, kind: VerdictKind
) -> None:
    low, high = sorted((one, other))
    assert 0.0 <= drift_score(kind, low) <= drift_score(kind, high) <= 100.0

import numpy as np
import pytest
from scipy import stats

from detectors.design_effect import FEW_DAYS, _limit, design_effect, with_shifts

DAY = 86_400.0


def times(units: int, days: float) -> np.ndarray:
    return DAY * days * np.arange(units) / units


def test_independent_units_of_two_days_count_in_full(rng: np.random.Generator) -> None:
    at = times(40 * 192, days=2)
    deff = design_effect(at, rng.random((at.size, 28)), check_seconds=900.0)
    assert np.median(deff) == 1.0
    assert deff.max() < 1.5


def test_sessions_of_four_that_agree_count_as_one(rng: np.random.Generator) -> None:
    at = times(40 * 192, days=2)
    shared = np.repeat(rng.random((at.size // 4, 1)), 4, axis=0)
    # truth 4; 192 blocks: the upper limit lies 17 % above an estimate that has 10 % error
    assert 3.2 < design_effect(at, shared, check_seconds=900.0)[0] < 6.0


def test_the_limit_is_above_the_truth_in_most_short_references(rng: np.random.Generator) -> None:
    # the point estimate is below it in half of them (1.88 false alarms a month at budget 1).
    # 25 blocks: r/truth ~ chi2(24)/24, P(1.47 r > truth) = .88; 200 references: fewer than
    # 155 with probability below 1e-4
    at = times(40 * 25, days=25 / 96)
    shared = np.repeat(rng.random((at.size // 4, 200)), 4, axis=0)
    assert (design_effect(at, shared, check_seconds=900.0) >= 4.0).sum() >= 155


def test_a_short_reference_pays_for_what_it_cannot_rule_out(rng: np.random.Generator) -> None:
    at = times(40 * 25, days=25 / 96)
    deff = design_effect(at, rng.random((at.size, 200)), check_seconds=900.0)
    # 1 + 1.645 sqrt(2 / 24) = 1.47 at an estimate of 1
    assert np.median(deff) == pytest.approx(1.47, abs=0.12)


def test_fourteen_days_pay_for_the_days_they_have(rng: np.random.Generator) -> None:
    at = times(40 * 96 * 14, days=14)
    deff = design_effect(at, rng.random((at.size, 100)), check_seconds=900.0)
    # 1 + 1.645 sqrt(2 / 13) = 1.65 at an estimate of 1
    assert np.median(deff) == pytest.approx(1.6, abs=0.15)


def test_seven_days_pay_the_exact_limit_although_they_look_alike(rng: np.random.Generator) -> None:
    at = times(40 * 96 * 7, days=7)
    deff = design_effect(at, rng.random((at.size, 200)), check_seconds=900.0)
    # 6 / chi2_.05(6) = 3.67 at an estimate of 1, whose median is chi2_.5(6) / 6 = .891
    assert np.median(deff) == pytest.approx(3.27, abs=0.3)


@pytest.mark.parametrize(
    ("days", "missed", "share"),
    [(7, 8.0, 0.201), (9, 6.0, 0.18), (10, 5.5, 0.172), (14, 4.0, 0.15)],
)
def test_what_the_approximation_misses_up_to_which_inflation(
    days: int, missed: float, share: float
) -> None:
    # the mean square between b days over the variance is truth * chi2(b - 1) / (b - 1)
    quantiles = (np.arange(20_000) + 0.5) / 20_000
    ratio = stats.chi2.ppf(quantiles, days - 1) / (days - 1)

    def below(truth: float, *, exact_below: int) -> float:
        limit = _limit(truth * ratio, np.full(ratio.size, days), exact_below=exact_below)
        return float((limit < truth).mean())

    assert below(2.0, exact_below=0) == pytest.approx(share, abs=1e-3)
    assert below(missed - 0.5, exact_below=0) > 0.0505 > below(missed, exact_below=0)
    exact = below(2.0, exact_below=FEW_DAYS)
    assert exact == pytest.approx(0.05 if days < FEW_DAYS else share, abs=1e-3)


def test_days_that_differ_are_seen(rng: np.random.Generator) -> None:
    at = times(1000 * 14, days=14)
    z = rng.normal(size=(at.size, 1)) + np.repeat(rng.normal(size=(14, 1)) * 0.3, 1000, axis=0)
    # 1 + (1000 - 1) .09 / 1.09 = 83
    assert design_effect(at, z, check_seconds=900.0)[0] > 40


def test_days_that_are_seen_to_differ_pay_the_exact_limit(rng: np.random.Generator) -> None:
    # truth 1 + 999 .0825 = 83; P(ratio * 13 / 5.89 < 83) = P(chi2(13) < 5.89) = .05: of 200
    # references 20 or more lie below with probability .002
    at = times(1000 * 14, days=14)
    low = 0
    for _ in range(200):
        z = np.repeat(rng.normal(size=(14, 1)) * 0.3, 1000, axis=0) + rng.normal(size=(at.size, 1))
        low += design_effect(at, z, check_seconds=900.0)[0] < 83.5
    assert low < 20


def test_a_score_has_only_the_days_it_was_measured_in(rng: np.random.Generator) -> None:
    # a signal that began to come on the 10th of 14 days, beside one that always came: truth 83;
    # counted as 14 days, its five would show a third of what they do. P(ratio 4 / .71 < 83)
    # = P(chi2(4) < .71) = .05: of 200 references 24 or more lie below with probability 1e-4
    at = times(1000 * 14, days=14)
    low = 0
    for _ in range(200):
        z = np.repeat(rng.normal(size=(14, 2)) * 0.3, 1000, axis=0) + rng.normal(size=(at.size, 2))
        z[:9_000, 1] = np.nan
        low += design_effect(at, z, check_seconds=900.0)[1] < 83.5
    assert low < 24


def test_shifts_imply_what_the_other_scores_may_do() -> None:
    names = ("a:down", "a:spread", "a:top5%", "a:top1%", "b:top1%", "c:rate")
    deff = np.array([101.0, 1.2, 1.0, 40.0, 1.0, 1.0])
    raised = with_shifts(deff, names, units_per_day=np.full(6, 1000.0))
    # .67 100² / 1000; .23 x 100; .075 x 100 is less than what was measured; others are left
    assert raised == pytest.approx([101.0, 7.7, 24.0, 40.0, 1.0, 1.0])


@pytest.mark.parametrize("scores", [np.zeros((50, 1)), np.full((50, 1), np.nan)])
def test_constant_and_absent_scores_have_some_effect(scores: np.ndarray) -> None:
    deff = design_effect(times(50, days=1), scores, check_seconds=900.0)
    assert np.isfinite(deff).all()
    assert deff.min() >= 1.0


def test_lone_units_say_nothing_of_clustering(rng: np.random.Generator) -> None:
    at = times(100, days=2)  # one unit every half hour: no block of one check has two
    assert np.isfinite(design_effect(at, rng.random((100, 3)), check_seconds=900.0)).all()

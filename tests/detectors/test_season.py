import numpy as np
import pytest

from detectors.season import covered, fit_coverage, fit_season, remove_season

DAY = 86_400.0
MONDAY = 1_699_833_600.0


def steady(days: float, per_day: int = 500) -> np.ndarray:
    return MONDAY + DAY * np.arange(int(days * per_day)) / per_day


def test_a_daily_rhythm_is_removed_from_three_days_on(rng: np.random.Generator) -> None:
    at = steady(4)
    rhythm = 0.5 * np.sin(2 * np.pi * at / DAY) + 0.3 * np.cos(4 * np.pi * at / DAY)
    values = (rhythm + 0.1 * rng.normal(size=at.size))[:, None]
    left = remove_season(fit_season(at, values), at, values)
    assert left.std() == pytest.approx(0.1, rel=0.1)


def test_two_days_are_too_few_for_a_rhythm() -> None:
    at = steady(2)
    values = np.sin(2 * np.pi * at / DAY)[:, None]
    assert np.array_equal(remove_season(fit_season(at, values), at, values), values)


def test_a_weekend_is_removed_from_fourteen_days_on(rng: np.random.Generator) -> None:
    at = steady(14)
    weekend = (at // DAY + 3) % 7 >= 5
    values = (weekend + 0.1 * rng.normal(size=at.size))[:, None]
    left = remove_season(fit_season(at, values), at, values)[:, 0]
    assert left[weekend].mean() == pytest.approx(left[~weekend].mean(), abs=0.02)


def test_a_signal_of_the_last_days_keeps_its_weekend(rng: np.random.Generator) -> None:
    at = steady(14)
    weekend = ((at // DAY + 3) % 7 >= 5).astype(float)
    half = np.where(np.arange(at.size) < at.size // 2, np.nan, weekend)
    late = np.where(at < at[-1] - 2 * DAY, np.nan, np.sin(2 * np.pi * at / DAY))
    values = np.column_stack([weekend + 0.1 * rng.normal(size=at.size), half, late])
    found = fit_season(at, values + 0.001 * rng.normal(size=values.shape)).coefficients
    assert found[0, 4] == pytest.approx(1.0, abs=0.02)
    assert found[1, 4] == 0.0  # one weekend says nothing of the next
    assert not found[2].any()


def test_thirteen_days_keep_their_weekend() -> None:
    at = steady(13)
    values = ((at // DAY + 3) % 7 >= 5).astype(float)[:, None]
    assert fit_season(at, values).coefficients[0, 4] == 0.0


@pytest.mark.parametrize("values", [2, 5])
def test_a_signal_of_few_values_is_not_ranked_by_the_hour(
    rng: np.random.Generator, values: int
) -> None:
    at = steady(14)
    stars = rng.integers(values, size=(at.size, 1)) + 0.3 * np.sin(2 * np.pi * at / DAY)[:, None]
    rounded = stars.round()
    assert np.array_equal(remove_season(fit_season(at, rounded), at, rounded), rounded)


def test_outliers_do_not_bend_the_rhythm(rng: np.random.Generator) -> None:
    at = steady(5)
    values = rng.normal(size=(at.size, 1))
    calm = fit_season(at, values).coefficients
    values[::500] = [[np.inf], [1e30], [-np.inf], [1e9], [1e300]]
    assert fit_season(at, values).coefficients == pytest.approx(calm, abs=0.1)


def test_office_hours_do_not_swing_at_night(rng: np.random.Generator) -> None:
    at = steady(10)
    at = at[(at % DAY >= 9 * 3600) & (at % DAY < 17 * 3600)]
    season = fit_season(at, rng.normal(size=(at.size, 1)))
    night = MONDAY + 3600.0 * np.arange(24)
    assert np.abs(remove_season(season, night, np.zeros((24, 1)))).max() < 0.5


def test_a_signal_never_measured_has_no_rhythm() -> None:
    at = steady(5)
    assert not fit_season(at, np.full((at.size, 1), np.nan)).coefficients.any()


def test_hours_and_weekdays_unseen_are_not_covered() -> None:
    at = steady(4)  # Monday to Thursday
    at = at[at % DAY < 12 * 3600]
    coverage = fit_coverage(at)
    asked = MONDAY + np.array([6.0, 18.0, 24 * 4 + 6.0, 24 * 7 + 6.0]) * 3600
    assert covered(coverage, asked).tolist() == [True, False, False, True]

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


def test_a_day_at_every_hour_is_enough_for_a_rhythm_and_half_a_day_is_not() -> None:
    for days, left in ((1, 0.0), (1.4, 0.0), (0.5, 0.7)):
        at = steady(days)
        values = np.sin(2 * np.pi * at / DAY)[:, None]
        rest = remove_season(fit_season(at, values), at, values)
        assert np.sqrt(np.square(rest - rest.mean()).mean()) >= left * values.std()
        assert left or np.abs(rest - rest.mean()).max() < 1e-4


def test_a_day_that_began_higher_is_no_rhythm(rng: np.random.Generator) -> None:
    at = steady(1.4)
    values = (1.0 * (at >= MONDAY + DAY) + 0.1 * rng.normal(size=at.size))[:, None]
    assert np.abs(fit_season(at, values).coefficients).max() < 0.03


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
    assert found[2, :4] == pytest.approx([0.0, 1.0, 0.0, 0.0], abs=0.02)  # every hour, twice
    assert found[2, 4] == 0.0


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
    night = MONDAY + 3600.0 * np.arange(24, dtype=np.float64)
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

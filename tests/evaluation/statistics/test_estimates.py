import numpy as np
import pytest
from scipy import stats

from skindiff.evaluation.statistics.estimates import Estimate, estimate


def test_a_mean_of_units_has_the_variance_between_units_and_what_they_share() -> None:
    rng = np.random.default_rng(0)
    shared, own = rng.normal(0, 2.0, (1, 20000)), rng.normal(0, 3.0, (4, 20000))
    observed = np.array([[1.0], [2.0], [4.0], [5.0]])
    found = estimate(np.concatenate([observed, observed + shared + own], axis=1), [1, 1, 1, 1], groups=50)
    assert found is not None
    assert found.value == pytest.approx(3.0)
    assert found.seed_variance == pytest.approx(observed.var(ddof=1) / 4)
    assert found.image_variance == pytest.approx(4.0, rel=0.05)
    assert found.seed_floor == pytest.approx(9.0 / 4, rel=0.05)
    assert found.standard_error == pytest.approx(np.sqrt(found.seed_variance + found.image_variance))


def test_units_of_unequal_weight_are_unbiased() -> None:
    """Over many studies the estimated variance is that of the weighted means."""
    rng = np.random.default_rng(1)
    weights, groups, values, variances = [3, 1, 1], 60, [], []
    for _ in range(1500):
        patients, noise = rng.normal(0, 1, groups), rng.normal(0, 1.5, (3, groups))
        seeds = rng.normal(0, 0.3, 3)
        drawn = rng.integers(0, groups, (80, groups))
        units = seeds[:, None] + (patients + noise)
        replicates = np.concatenate([units.mean(1, keepdims=True), units[:, drawn].mean(2)], axis=1)
        found = estimate(replicates, weights, groups)
        assert found is not None
        values.append(found.value)
        variances.append(found.variance)
    assert np.mean(variances) == pytest.approx(np.var(values), rel=0.1)


def test_one_unit_has_the_bootstraps_variance_alone() -> None:
    rng = np.random.default_rng(2)
    drawn = rng.normal(0.5, 0.1, (1, 4000))
    found = estimate(np.concatenate([[[0.5]], drawn], axis=1), [1], groups=30)
    assert found is not None
    assert (found.seed_variance, found.units) == (0.0, 1)
    assert found.degrees_of_freedom == pytest.approx(29)
    low, high = found.interval()
    assert high - low == pytest.approx(2 * stats.t.ppf(0.975, 29) * drawn.std(ddof=1))


def test_too_many_missing_resamples_give_no_estimate() -> None:
    replicates = np.full((2, 11), 0.5)
    replicates[0, 1:5] = np.nan
    assert estimate(replicates, [1, 1], 20) is not None
    replicates[1, 5:7] = np.nan
    assert estimate(replicates, [1, 1], 20) is None


def test_degrees_of_freedom_are_those_of_what_dominates() -> None:
    assert Estimate(0.0, 1.0, 0.0, 0.0, 5, 100).degrees_of_freedom == pytest.approx(4)
    assert Estimate(0.0, 0.0, 1.0, 0.0, 5, 100).degrees_of_freedom == pytest.approx(99)
    assert 4 < Estimate(0.0, 1.0, 1.0, 0.0, 5, 100).degrees_of_freedom < 99


@pytest.mark.parametrize("units", [3, 4, 5, 10])
@pytest.mark.parametrize("image_variance", [0.0, 0.1, 1.0, 10.0])
def test_intervals_cover_normal_errors(units: int, image_variance: float) -> None:
    rng = np.random.default_rng(units)
    held = []
    for _ in range(3000):
        found = Estimate(
            value=rng.normal(0, np.sqrt(1 + image_variance)),
            seed_variance=rng.chisquare(units - 1) / (units - 1),
            image_variance=image_variance,
            seed_floor=0.0,
            units=units,
            groups=1000,
        )
        held.append(abs(found.value) <= found.half_width())
    # 94.1% to 96.2% in 200,000 draws; a binomial's three standard errors are 1.2 points.
    assert 0.929 <= np.mean(held) <= 0.974


def test_the_p_value_and_the_interval_say_the_same() -> None:
    for value in (0.0, 0.03, 0.07, 0.2):
        found = Estimate(value, 0.0004, 0.0003, 0.0, 5, 100)
        low, high = found.interval(1 - found.p_value()) if value else (0.0, 0.0)
        assert low == pytest.approx(0.0, abs=1e-9)
        assert high == pytest.approx(2 * value, abs=1e-9)


def test_power_is_that_of_the_noncentral_t() -> None:
    error, quantile = 0.02, stats.t.ppf(0.975, 29)
    found = Estimate(0.0, 0.0, error**2, 0.0, 1, 30)
    for effect in (0.01, 0.03, 0.05):
        size = effect / error
        by_scipy = stats.nct.sf(quantile, 29, size) + stats.nct.cdf(-quantile, 29, size)
        assert found.power(effect) == pytest.approx(by_scipy, abs=2e-3)
        assert found.power(-effect) == found.power(effect)
    assert found.power(0.0) == pytest.approx(0.05, abs=1e-3)


def test_the_minimum_effect_is_found_four_times_in_five() -> None:
    for found in (Estimate(0.1, 4e-4, 1e-4, 0.0, 3, 50), Estimate(0.0, 0.0, 1e-4, 0.0, 1, 50)):
        least = found.detectable()
        assert least is not None
        assert found.power(least) == pytest.approx(0.8, abs=1e-6)
        stricter = found.detectable(level=0.99)
        assert stricter is not None
        assert stricter > least


def test_power_is_planned_with_no_less_noise_than_the_images_make() -> None:
    """Three runs that agree by luck promise no more than three runs can keep."""
    lucky = Estimate(0.0, 1e-6, 1e-4, 4e-4, 3, 100)
    usual = Estimate(0.0, 4e-4, 1e-4, 4e-4, 3, 100)
    assert (lucky.lucky, usual.lucky) == (True, False)
    assert lucky.half_width() < usual.half_width() / 2
    assert lucky.power(0.05) <= Estimate(0.0, 4e-4 * np.log(2), 1e-4, 0.0, 3, 100).power(0.05) + 1e-9


def test_stated_power_is_true_in_the_median() -> None:
    rng = np.random.default_rng(3)
    units, effect = 5, 3.0
    stated, found = [], []
    for _ in range(3000):
        seeds = rng.chisquare(units - 1) / (units - 1)
        one = Estimate(effect + rng.normal(), seeds, 0.0, 0.0, units, 100)
        found.append(one.interval()[0] > 0)
        stated.append(one.power(effect))
    assert np.median(stated) == pytest.approx(np.mean(found), abs=0.04)


def test_where_nothing_varies_there_is_no_doubt_and_no_minimum_effect() -> None:
    same = Estimate(0.0, 0.0, 0.0, 0.0, 3, 20)
    assert (same.p_value(), same.interval(), same.detectable()) == (1.0, (0.0, 0.0), None)
    assert Estimate(0.1, 0.0, 0.0, 0.0, 3, 20).p_value() == 0.0


def test_the_interval_of_a_score_stays_inside_its_range() -> None:
    low, high = Estimate(0.97, 4e-3, 1e-4, 0.0, 3, 40).share_interval()
    assert 0 < low < 0.97 < high < 1
    narrow = Estimate(0.5, 0.0, 1e-6, 0.0, 1, 400)
    assert narrow.share_interval() == pytest.approx(narrow.interval(), abs=1e-6)


@pytest.mark.parametrize("groups", [1, 9, 40])
@pytest.mark.parametrize("value", [0.0, 1.0])
def test_around_a_score_that_never_varied_it_is_the_exact_one(value: float, groups: int) -> None:
    exact = stats.binomtest(int(value) * groups, groups).proportion_ci(method="exact")
    found = Estimate(value, 0.0, 0.0, 0.0, 3, groups).share_interval()
    assert found == pytest.approx((exact.low, exact.high))

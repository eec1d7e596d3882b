import json

import numpy as np
import pytest

from skindiff.evaluation.statistics.comparisons import comparison, holm, no_comparison
from skindiff.evaluation.statistics.estimates import Estimate


def test_holm_by_hand() -> None:
    found = holm([0.01, 0.04, 0.03, 0.005])
    assert [one.p_value for one in found] == pytest.approx([0.03, 0.06, 0.06, 0.02])
    # The first two are rejected at 0.05 / 4 and 0.05 / 3; it stops at the third, tested at 0.05 / 2.
    assert [1 - one.level for one in found] == pytest.approx([0.05 / 3, 0.05 / 2, 0.05 / 2, 0.05 / 4])
    assert holm([]) == []
    assert holm([0.2])[0].p_value == 0.2


def test_the_corrected_interval_leaves_out_zero_where_the_corrected_p_value_is_small() -> None:
    rng = np.random.default_rng(0)
    decided = 0
    for _ in range(200):
        family = [Estimate(rng.normal(0.03, 0.03), 2e-4, 1e-4, 0.0, 5, 100) for _ in range(5)]
        corrections = holm([one.p_value() for one in family])
        for one, correction in zip(family, corrections, strict=True):
            said = comparison(one, 5, correction=correction)
            off_zero = not said["delta_ci_low_corrected"] <= 0 <= said["delta_ci_high_corrected"]
            assert off_zero == (said["delta_p_corrected"] <= 0.05)
            assert said["delta_ci_low_corrected"] <= said["delta_ci_low"]
            assert said["minimum_effect_corrected"] >= said["minimum_effect"]
            decided += off_zero
    assert 50 < decided < 900


def test_holm_keeps_the_error_of_a_family() -> None:
    """Five arms share a reference; none differs from it, and in 1 of 20 families one may seem to."""
    rng = np.random.default_rng(1)
    wrong = []
    for _ in range(1500):
        arms = rng.normal(0, 0.02, (6, 4))
        deltas = arms[1:] - arms[0]
        family = [
            Estimate(float(delta.mean()), float(delta.var(ddof=1)) / 4, 0.0, 0.0, 4, 100) for delta in deltas
        ]
        wrong.append(any(one.p_value <= 0.05 for one in holm([one.p_value() for one in family])))
    assert 0.025 < np.mean(wrong) < 0.065


def test_what_is_said_is_plain_and_complete() -> None:
    said = comparison(Estimate(0.02, 1e-4, 1e-4, 0.0, 5, 100), 5)
    assert set(said) == set(no_comparison())
    assert said["comparisons"] == 0
    assert said["delta_p_corrected"] is None
    assert said["delta_seed_share"] == pytest.approx(0.5)
    assert 0 < said["power_at_5_points"] < 1
    assert said["caution"] is None
    json.dumps(said, allow_nan=False)
    assert comparison(None, 0) == no_comparison()


def test_few_seeds_carry_a_caution() -> None:
    def caution(units: int, seed_variance: float = 1e-4) -> str | None:
        words = comparison(Estimate(0.02, seed_variance, 1e-4, 1e-4, units, 100), units)["caution"]
        return str(words) if words else None

    assert "one run per arm" in str(caution(1))
    assert "two seeds" in str(caution(2))
    assert caution(3) is None
    assert "differ less" in str(caution(3, 1e-6))

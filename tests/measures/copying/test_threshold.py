"""The threshold keeps its promise on images yet unseen, and the bounds are those of scipy's exact tests."""

import numpy as np
import pytest
from scipy.stats import binomtest

from skindiff.measures.copying.threshold import THRESHOLD, held_out_threshold, share_interval, upper_bound

SETTINGS = {"false_flags": 0.02, "confidence": 0.95, "default": THRESHOLD}


def names(count: int) -> list[str]:
    return [str(row) for row in range(count)]


@pytest.mark.parametrize(("count", "total"), [(0, 149), (3, 500), (20, 40)])
def test_bounds_are_clopper_and_pearsons(count: int, total: int) -> None:
    exact = binomtest(count, total, alternative="less").proportion_ci(0.95, "exact").high
    assert upper_bound(count, total, 0.95) == pytest.approx(exact)
    flags = [row < count for row in range(total)]
    both = binomtest(count, total).proportion_ci(0.95, "exact")
    found = share_interval(flags, names(total))
    assert (found["share"], found["low"], found["high"]) == pytest.approx((count / total, *both))


def test_at_most_the_share_asked_for_is_flagged_in_nineteen_of_twenty_studies() -> None:
    stream = np.random.default_rng(0)
    kept = 0
    for _ in range(1000):
        # Uniform on [0, 0.9]: the share of unseen images at or above a threshold is known.
        limit = held_out_threshold(stream.uniform(0, 0.9, 400).round(4), names(400), **SETTINGS)
        kept += (0.9 - limit.value) / 0.9 <= 0.02
    assert 0.95 <= kept / 1000 < 0.99  # no less, and not by flagging nothing


def test_few_held_out_images_leave_the_default_threshold() -> None:
    few = np.linspace(0, 0.8, 148).round(4)
    limit = held_out_threshold(few, names(148), **SETTINGS)
    assert (limit.value, limit.source, limit.flagged_groups) == (THRESHOLD, "default", 0)
    assert limit.bound > 0.02
    enough = held_out_threshold(np.linspace(0, 0.8, 149).round(4), names(149), **SETTINGS)
    assert (enough.value, enough.source) == (0.8001, "held-out")
    assert enough.bound <= 0.02
    twice = held_out_threshold(np.append(few[2:], [0.97, 1.0]), names(148), **SETTINGS)
    assert (twice.value, twice.source, twice.flagged_groups) == (THRESHOLD, "default", 2)
    assert twice.bound > 0.04
    near = held_out_threshold(np.append(few[3:], [0.97, 0.98, 1.0]), names(148), **SETTINGS)
    assert (near.value, near.source, near.flagged_groups) == (0.9701, "held-out", 2)
    assert held_out_threshold(np.array([1.0]), ["a"], **SETTINGS).value == 1.0
    nothing = held_out_threshold(np.array([]), [], **SETTINGS)
    assert (nothing.value, nothing.source, nothing.groups, nothing.bound) == (THRESHOLD, "default", 0, 1.0)


def test_images_of_one_group_count_once() -> None:
    single = np.linspace(0, 0.8, 300).round(4)
    repeated = np.concatenate([single, np.full(50, 0.9)])
    limit = held_out_threshold(repeated, [*names(300), *["299"] * 50], **SETTINGS)
    assert limit.groups == 300
    assert limit.value < 0.8 < held_out_threshold(repeated, names(350), **SETTINGS).value


def test_clusters_widen_the_interval() -> None:
    flags = [row % 10 == 0 for row in range(200)]
    alone = share_interval(flags, names(200))
    together = share_interval(flags, [str(row // 5) for row in range(200)])
    assert together["share"] == alone["share"] == 0.1
    assert together["low"] < alone["low"] < 0.1 < alone["high"] < together["high"]
    assert share_interval([True] * 4, names(4))["high"] == 1

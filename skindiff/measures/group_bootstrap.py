"""The plain cluster bootstrap: resampling groups of rows, for measurements that are taken once per image."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skindiff.seeding import numpy_generator

FloatArray = NDArray[np.float64]


def resampled(units: int, replicates: int, *key: str | int) -> FloatArray:
    """Return how often each unit is sampled in every replicate.

    Args:
        units: their number.
        replicates: number of resamples with replacement, each as large as there are units.
        key: names the random stream.

    Returns:
        Shape ``(replicates + 1, units)``; the first row, all ones, is the data as observed.
    """
    chances = np.full(units, 1 / units)
    drawn = numpy_generator("group bootstrap", *key).multinomial(units, chances, size=replicates)
    return np.concatenate([np.ones((1, units)), drawn])


def group_weights(groups: Sequence[str], replicates: int, *key: str | int) -> NDArray[np.float32]:
    """Return how often each row's group is sampled.

    Args:
        groups: the group of each of n rows; rows of one group are sampled together.
        replicates: number of resamples.
        key: names the random stream.

    Returns:
        Shape ``(replicates + 1, n)``; the first row, all ones, is the data as observed.
    """
    names, row = np.unique(np.asarray(groups), return_inverse=True)
    return resampled(len(names), replicates, *key)[:, row].astype(np.float32)


def group_means(values: FloatArray, groups: Sequence[str], replicates: int, *key: str | int) -> FloatArray:
    """Return means of ``values`` ``(k, n)`` over rows under resampling of groups, ``(replicates + 1, k)``."""
    weights = group_weights(groups, replicates, *key).astype(np.float64)
    return np.asarray((weights @ values.T) / weights.sum(1, keepdims=True))


def weighted_medians(values: FloatArray, weights: NDArray[np.float32]) -> FloatArray:
    """Return the median of ``values`` ``(n,)`` under each row of ``weights`` ``(replicates, n)``."""
    order = np.argsort(values, kind="stable")
    ordered = values[order]
    summed = np.cumsum(weights[:, order], axis=1, dtype=np.float64)
    half = summed[:, -1:] / 2
    return np.asarray((ordered[(summed >= half).argmax(1)] + ordered[(summed > half).argmax(1)]) / 2)


def percentile_interval(replicates: FloatArray, level: float = 0.95) -> tuple[float, float, float]:
    """Return the observed value (the first entry) and the ends of the middle ``level`` of the others."""
    low, high = np.quantile(replicates[1:], [(1 - level) / 2, (1 + level) / 2])
    return float(replicates[0]), float(low), float(high)

"""Scores under many weightings of the same predictions at once: the inner loop of the bootstrap.

With all weights equal they are the scores of :mod:`skindiff.classification.metrics`, by the same rule
for absent classes; a class whose images all weigh zero is absent.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray
from scipy.sparse import csr_array

from skindiff.classification.metrics import BINS, SPECIFICITY, confidence_bins
from skindiff.classification.rows import BALANCED_BRIER, METRICS

FloatArray = NDArray[np.float64]
OfClass = Callable[[NDArray[np.bool_], FloatArray, FloatArray], FloatArray]


def weighted_auroc(positive: NDArray[np.bool_], scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted AUROC of one class in every replicate.

    Args:
        positive: which of n images are of the class, shape ``(n,)``.
        scores: their scores, shape ``(n,)``; tied pairs count one half.
        weights: non-negative, shape ``(replicates, n)``; fastest in column-major (Fortran) order.

    Returns:
        Shape ``(replicates,)``, in [0, 1]; NaN where positives or negatives weigh nothing.
    """
    by_image = np.ascontiguousarray(weights.T)
    few, many = sorted((np.flatnonzero(positive), np.flatnonzero(~positive)), key=len)
    levels, level = np.unique(scores[few], return_inverse=True)
    # Between two levels, where bins are even, or at one, where they are odd.
    place = np.searchsorted(levels, scores[many], "left") + np.searchsorted(levels, scores[many], "right")
    apart = _in_bins(place, many, 2 * len(levels) + 1, by_image)
    mine, below = _in_bins(level, few, len(levels), by_image), np.cumsum(apart, axis=0)
    wins = np.einsum("ij,ij->j", mine, below[:-1:2] + 0.5 * apart[1::2])
    pairs = mine.sum(0) * apart.sum(0)
    with np.errstate(invalid="ignore", divide="ignore"):
        share = wins / pairs
    return np.asarray(share if positive[few].all() else 1 - share)


def weighted_sensitivity(
    positive: NDArray[np.bool_], scores: FloatArray, weights: FloatArray, specificity: float
) -> FloatArray:
    """Return the weighted sensitivity of one class at a specificity, in every replicate.

    The threshold is each replicate's own: the lowest that leaves the specificity at what is asked or above.

    Args:
        positive: which of n images are of the class, shape ``(n,)``.
        scores: their scores, shape ``(n,)``; an image at the threshold is not called positive.
        weights: non-negative, shape ``(replicates, n)``; fastest in column-major (Fortran) order.
        specificity: in (0, 1).

    Returns:
        Shape ``(replicates,)``, in [0, 1]; NaN where positives or negatives weigh nothing.
    """
    by_image = np.ascontiguousarray(weights.T)
    negatives, own = np.flatnonzero(~positive), np.flatnonzero(positive)
    negatives = negatives[np.argsort(-scores[negatives], kind="stable")]
    total = (~positive).astype(np.float64) @ by_image
    limit = (1 - specificity) * total + 1e-9
    # Only the highest negatives decide, in most replicates no more than twice the false alarms allowed.
    first = min(int(2 * (1 - specificity) * len(negatives)) + 1, len(negatives))
    called = np.cumsum(by_image[negatives[:first]], axis=0)
    while first < len(negatives) and (called[-1] <= limit)[total > 0].any():
        first = min(2 * first, len(negatives))
        called = np.cumsum(by_image[negatives[:first]], axis=0)
    allowed = (called <= limit).sum(0)
    threshold = scores[negatives][np.minimum(allowed, len(negatives) - 1)]
    levels, level = np.unique(threshold, return_inverse=True)
    reached = _in_bins(np.searchsorted(levels, scores[own], "left"), own, len(levels) + 1, by_image)
    from_top = np.cumsum(reached[::-1], axis=0)[::-1]
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = from_top[level + 1, np.arange(len(weights))] / from_top[0]
    return np.where(total > 0, sensitivity, np.nan)


def _in_bins(
    bins: NDArray[np.intp], images: NDArray[np.intp], count: int, by_image: FloatArray
) -> FloatArray:
    """Return what images weigh together in each of ``count`` bins, in every replicate."""
    members = csr_array((np.ones(len(images)), (bins, images)), shape=(count, len(by_image)))
    return np.asarray(members @ by_image)


def _mean_of_present(values: FloatArray, present: NDArray[np.bool_]) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, values, 0.0).sum(1) / present.sum(1))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def weighted_scores(
    labels: NDArray[np.int64],
    probabilities: FloatArray,
    weights: FloatArray,
    metrics: Sequence[str] = tuple(METRICS),
) -> dict[str, FloatArray]:
    """Return scores of :data:`~skindiff.classification.rows.METRICS`, and the balanced Brier score of
    :data:`~skindiff.classification.rows.ELSEWHERE` where it is asked for, in every replicate.

    Args:
        labels: class codes, shape ``(n,)``.
        probabilities: shape ``(n, classes)``.
        weights: non-negative, shape ``(replicates, n)``.
        metrics: those that are wanted; AUROC and sensitivity each cost several times all others together.

    Returns:
        Arrays of shape ``(replicates,)``; NaN where a score does not exist.
    """
    predicted, classes = probabilities.argmax(1), probabilities.shape[1]
    is_class = labels[:, None] == np.arange(classes)
    is_said = predicted[:, None] == np.arange(classes)
    weight, said = weights @ is_class, weights @ is_said
    hits = weights @ (is_class & is_said)
    present = weight > 0
    total = weight.sum(1)
    recall, precision = _ratio(hits, weight), _ratio(hits, said)
    f1 = _ratio(2 * hits, weight + said)
    macro_recall = _mean_of_present(recall, present)
    found = {
        "precision": _mean_of_present(precision, present),
        "recall": macro_recall,
        "f1": _mean_of_present(f1, present),
        "balanced_accuracy": macro_recall,
    }
    with np.errstate(invalid="ignore"):
        found["accuracy"] = np.asarray(hits.sum(1) / total)
    if "calibration_error" in metrics:
        found["calibration_error"] = _calibration_error(labels, probabilities, weights)
    if BALANCED_BRIER in metrics:
        apart = (((probabilities - is_class) ** 2).sum(1) / 2)[:, None]
        found[BALANCED_BRIER] = _mean_of_present(_ratio(weights @ (is_class * apart), weight), present)
    of_class: dict[str, OfClass] = {
        "auroc": weighted_auroc,
        "sensitivity_at_90_specificity": partial(weighted_sensitivity, specificity=SPECIFICITY),
    }
    for name in of_class.keys() & set(metrics):
        found[name] = _macro(of_class[name], is_class, probabilities, weights)
    return {name: found[name] for name in metrics}


def _macro(
    score: OfClass, is_class: NDArray[np.bool_], probabilities: FloatArray, weights: FloatArray
) -> FloatArray:
    """Return the mean of a score over the classes that have positives and negatives."""
    by_column = np.asfortranarray(weights)
    found = np.full((len(weights), is_class.shape[1]), np.nan)
    for code in np.flatnonzero(is_class.any(0) & ~is_class.all(0)):
        found[:, code] = score(is_class[:, code], probabilities[:, code], by_column)
    return _mean_of_present(np.nan_to_num(found), np.isfinite(found))


def _calibration_error(
    labels: NDArray[np.int64], probabilities: FloatArray, weights: FloatArray
) -> FloatArray:
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    of_bin = np.zeros((len(labels), BINS))
    of_bin[np.arange(len(labels)), confidence_bins(sure)] = sure - right
    with np.errstate(invalid="ignore"):
        return np.asarray(np.abs(weights @ of_bin).sum(1) / weights.sum(1))

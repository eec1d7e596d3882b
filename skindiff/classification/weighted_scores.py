"""Scores under many weightings of the same predictions at once: the inner loop of the bootstrap.

With all weights equal they are the scores of :mod:`skindiff.classification.metrics`, by the same rule
for absent classes; a class whose images all weigh zero is absent.
"""

from collections.abc import Callable, Sequence
from functools import partial

import numpy as np
from numpy.typing import NDArray

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
    by_image = np.ascontiguousarray(weights.T)  # whole rows are gathered below, which is several times faster
    negatives = np.flatnonzero(~positive)
    negatives = negatives[np.argsort(scores[negatives], kind="stable")]
    below = np.zeros((len(negatives) + 1, len(weights)))
    np.cumsum(by_image[negatives], axis=0, out=below[1:])
    first = np.searchsorted(scores[negatives], scores[positive], side="left")
    last = np.searchsorted(scores[negatives], scores[positive], side="right")
    mine = by_image[positive]
    wins = 0.5 * np.einsum("ij,ij->j", mine, below[first] + below[last])
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(wins / (mine.sum(0) * below[-1]))


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
    own = own[np.argsort(-scores[own], kind="stable")]
    called, found = np.cumsum(by_image[negatives], axis=0), np.zeros((len(own) + 1, len(weights)))
    np.cumsum(by_image[own], axis=0, out=found[1:])
    total = called[-1]
    allowed = (called <= (1 - specificity) * total + 1e-9).sum(0)
    threshold = scores[negatives][np.minimum(allowed, len(negatives) - 1)]
    above = np.searchsorted(-scores[own], -threshold, side="left")
    with np.errstate(invalid="ignore", divide="ignore"):
        sensitivity = found[above, np.arange(len(weights))] / found[-1]
    return np.where(total > 0, sensitivity, np.nan)


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

"""Scores under many weightings of the same predictions at once: the inner loop of the bootstrap.

With all weights equal they are the scores of :mod:`skindiff.classification.metrics`, by the same rule
for absent classes; a class whose images all weigh zero is absent.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from skindiff.classification.metrics import METRICS

FloatArray = NDArray[np.float64]


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


def _mean_of_present(values: FloatArray, present: NDArray[np.bool_]) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, values, 0.0).sum(1) / present.sum(1))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def weighted_scores(
    labels: NDArray[np.int64],
    probabilities: FloatArray,
    weights: FloatArray,
    metrics: Sequence[str] = METRICS,
) -> dict[str, FloatArray]:
    """Return scores of :data:`~skindiff.classification.metrics.METRICS` in every replicate.

    Args:
        labels: class codes, shape ``(n,)``.
        probabilities: shape ``(n, classes)``.
        weights: non-negative, shape ``(replicates, n)``.
        metrics: those that are wanted; AUROC costs as much as all others together several times.

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
    if "auroc" in metrics:
        found["auroc"] = _macro_auroc(is_class, probabilities, weights)
    return {name: found[name] for name in metrics}


def _macro_auroc(is_class: NDArray[np.bool_], probabilities: FloatArray, weights: FloatArray) -> FloatArray:
    by_column = np.asfortranarray(weights)
    aurocs = np.full((len(weights), is_class.shape[1]), np.nan)
    for code in np.flatnonzero(is_class.any(0)):
        aurocs[:, code] = weighted_auroc(is_class[:, code], probabilities[:, code], by_column)
    return _mean_of_present(np.nan_to_num(aurocs), np.isfinite(aurocs))

"""Scores under many weightings of the same predictions at once: the inner loop of the bootstrap.

With all weights equal they are the scores of :mod:`skindiff.evaluation.downstream.metrics`, by the same rule
for absent classes; a class whose images all weigh zero is absent.
"""

import numpy as np
from numpy.typing import NDArray

FloatArray = NDArray[np.float64]


def weighted_auroc(positive: NDArray[np.bool_], scores: FloatArray, weights: FloatArray) -> FloatArray:
    """Return the weighted AUROC of one class in every replicate.

    Args:
        positive: which of n images are of the class, shape ``(n,)``.
        scores: their scores, shape ``(n,)``; tied pairs count one half.
        weights: non-negative, shape ``(replicates, n)``.

    Returns:
        Shape ``(replicates,)``, in [0, 1]; NaN where positives or negatives weigh nothing.
    """
    negatives = scores[~positive]
    order = np.argsort(negatives, kind="stable")
    below = np.zeros((len(weights), len(negatives) + 1))
    np.cumsum(weights[:, ~positive][:, order], axis=1, out=below[:, 1:])
    first = np.searchsorted(negatives[order], scores[positive], side="left")
    last = np.searchsorted(negatives[order], scores[positive], side="right")
    mine = weights[:, positive]
    wins = (mine * 0.5 * (below[:, first] + below[:, last])).sum(1)
    with np.errstate(invalid="ignore", divide="ignore"):
        return np.asarray(wins / (mine.sum(1) * below[:, -1]))


def _mean_of_present(values: FloatArray, present: NDArray[np.bool_]) -> FloatArray:
    with np.errstate(invalid="ignore"):
        return np.asarray(np.where(present, values, 0.0).sum(1) / present.sum(1))


def _ratio(numerator: FloatArray, denominator: FloatArray) -> FloatArray:
    return np.divide(numerator, denominator, out=np.zeros_like(numerator), where=denominator > 0)


def weighted_scores(
    labels: NDArray[np.int64], probabilities: FloatArray, weights: FloatArray
) -> dict[str, FloatArray]:
    """Return every score of :data:`~skindiff.evaluation.downstream.metrics.METRICS` in every replicate.

    Args:
        labels: class codes, shape ``(n,)``.
        probabilities: shape ``(n, classes)``.
        weights: non-negative, shape ``(replicates, n)``.

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
    aurocs = np.full((len(weights), classes), np.nan)
    for code in np.flatnonzero(is_class.any(0)):
        aurocs[:, code] = weighted_auroc(is_class[:, code], probabilities[:, code], weights)
    with np.errstate(invalid="ignore"):
        accuracy = np.asarray(hits.sum(1) / total)
    macro_recall = _mean_of_present(recall, present)
    return {
        "accuracy": accuracy,
        "precision": _mean_of_present(precision, present),
        "recall": macro_recall,
        "f1": _mean_of_present(f1, present),
        "balanced_accuracy": macro_recall,
        "auroc": _mean_of_present(np.nan_to_num(aurocs), np.isfinite(aurocs)),
    }

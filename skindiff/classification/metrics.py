"""Scores of one classifier on one test set, through scikit-learn, as a metric of the `evaluate` library.

One rule holds for every macro average: it runs over the classes that occur among the references. A class
without a test image has no recall, so it is left out instead of being counted as a zero; images that are
wrongly given that class still count against the classes they belong to. Where a score does not exist it is
``None`` (null in JSON), never NaN.
"""

from collections.abc import Mapping, Sequence
from typing import Any

import evaluate
import numpy as np
from datasets import Features, Value
from datasets import Sequence as SequenceFeature
from numpy.typing import ArrayLike, NDArray
from sklearn.metrics import accuracy_score, precision_recall_fscore_support, roc_auc_score, roc_curve

from skindiff.classification.rows import Scores
from skindiff.corpora.schema import SKIN_TYPES

SPECIFICITY = 0.9
"""At which sensitivity is given."""

BINS = 10
"""Bins of equal width of the calibration error of Guo et al. 2017 (who take 15, for thousands of images)."""

MINIMUM_GROUP_SIZE = 10
"""Scores of a skin type with fewer test images are suppressed: they would say more about chance."""


def _both_sides(labels: NDArray[np.int64], classes: int) -> list[int]:
    return [code for code in range(classes) if 0 < np.sum(labels == code) < len(labels)]


def _per_class_auroc(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[float]:
    """Return the one-vs-rest AUROC of every class that has both positive and negative test images."""
    classes = _both_sides(labels, probabilities.shape[1])
    return [float(roc_auc_score(labels == code, probabilities[:, code])) for code in classes]


def _per_class_sensitivity(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> list[float]:
    """Return the best sensitivity of every class at a threshold of :data:`SPECIFICITY` or more."""
    found = []
    for code in _both_sides(labels, probabilities.shape[1]):
        false, true, _ = roc_curve(labels == code, probabilities[:, code], drop_intermediate=False)
        found.append(float(true[false <= 1 - SPECIFICITY + 1e-9].max()))
    return found


def _calibration_error(labels: NDArray[np.int64], probabilities: NDArray[np.float64]) -> float:
    sure, right = probabilities.max(1), probabilities.argmax(1) == labels
    bins = confidence_bins(sure)
    return float(sum(abs((sure - right)[bins == one].sum()) for one in range(BINS)) / len(labels))


def confidence_bins(confidence: NDArray[np.float64]) -> NDArray[np.int64]:
    """Return the bin of every confidence in [0, 1], of :data:`BINS` of equal width."""
    return np.minimum((confidence * BINS).astype(np.int64), BINS - 1)


def _macro_recall(labels: NDArray[np.int64], predicted: NDArray[np.int64]) -> float:
    present = np.unique(labels)
    return float(np.mean([np.mean(predicted[labels == code] == code) for code in present]))


def recall_by_value(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    values: Sequence[str | None],
    order: Sequence[str] = SKIN_TYPES,
) -> dict[str, float | None]:
    """Return the macro recall of the images of each value that occurs.

    Args:
        labels: class codes, shape ``(n,)``.
        predicted: class codes, of the same shape.
        values: one of each image, such as its skin type; None where it is not recorded.
        order: of the values; others are not looked for.

    Returns:
        Recall by value, None below :data:`MINIMUM_GROUP_SIZE` images.
    """
    recall: dict[str, float | None] = {}
    for value in order:
        rows = np.array([name == value for name in values], dtype=bool)
        if rows.any():
            enough = int(rows.sum()) >= MINIMUM_GROUP_SIZE
            recall[value] = _macro_recall(labels[rows], predicted[rows]) if enough else None
    return recall


def recalls_by_column(
    labels: NDArray[np.int64],
    predicted: NDArray[np.int64],
    columns: Mapping[str, Sequence[str | None]],
) -> dict[str, dict[str, float | None]]:
    """Return :func:`recall_by_value` of each of several columns, by its name."""
    return {
        name: recall_by_value(labels, predicted, values, sorted({one for one in values if one is not None}))
        for name, values in columns.items()
    }


def classification_scores(
    labels: ArrayLike,
    probabilities: ArrayLike,
    *,
    class_names: Sequence[str],
    skin_types: Sequence[str | None] | None = None,
) -> Scores:
    """Score predictions.

    Args:
        labels: class codes, shape ``(n,)``, n at least 1.
        probabilities: predicted probabilities, shape ``(n, classes)``; the prediction is the first largest.
        class_names: names in the order of the codes.
        skin_types: Fitzpatrick type of every image, ``None`` where it is not recorded.

    Returns:
        ``accuracy``; ``precision``, ``recall``, ``f1`` (macro averages over the classes present; a class
        that is never predicted has precision 0); ``balanced_accuracy`` (equal to macro recall, as in
        scikit-learn); ``auroc`` (mean of the one-vs-rest AUROCs of the classes that have positives and
        negatives, ``None`` if there is none); ``sensitivity_at_90_specificity`` (mean over the same classes,
        one against the rest, of the best sensitivity on their ROC curve where specificity is 90% or more);
        ``calibration_error`` (expected, of the predicted class, in bins of confidence; never negative, so few
        images show one by chance); ``per_class_f1`` (by class name, ``None`` for an absent
        class); ``per_skin_type_recall`` (macro recall by the skin types present, ``None`` below
        :data:`MINIMUM_GROUP_SIZE` images).

    Raises:
        ValueError: the shapes do not fit, there is no image, or a probability is not finite.
    """
    codes, chances = np.asarray(labels, dtype=np.int64), np.asarray(probabilities, dtype=np.float64)
    if chances.shape != (len(codes), len(class_names)) or len(codes) == 0:
        raise ValueError(
            f"probabilities: shape {chances.shape}; give a row for each of {len(codes)} labels "
            f"and one column for each of {len(class_names)} classes"
        )
    if not np.isfinite(chances).all():
        raise ValueError("probabilities: not all finite; the classifier that made them has diverged")
    predicted, present = chances.argmax(1), np.unique(codes)
    precision, recall, f1, _ = precision_recall_fscore_support(
        codes, predicted, labels=present, zero_division=0
    )
    aurocs, sensitivities = (
        _per_class_auroc(codes, chances),
        _per_class_sensitivity(codes, chances),
    )
    by_code = dict(zip(present.tolist(), f1.tolist(), strict=True))
    return {
        "accuracy": float(accuracy_score(codes, predicted)),
        "precision": float(precision.mean()),
        "recall": float(recall.mean()),
        "f1": float(f1.mean()),
        "balanced_accuracy": float(recall.mean()),
        "auroc": float(np.mean(aurocs)) if aurocs else None,
        "sensitivity_at_90_specificity": float(np.mean(sensitivities)) if sensitivities else None,
        "calibration_error": _calibration_error(codes, chances),
        "per_class_f1": {name: by_code.get(code) for code, name in enumerate(class_names)},
        "per_skin_type_recall": recall_by_value(codes, predicted, skin_types or [None] * len(codes)),
    }


class SkinClassificationMetric(evaluate.Metric):
    """:func:`classification_scores` as an ``evaluate`` metric; needs no network.

    ``compute(predictions=probabilities, references=labels, skin_types=types, class_names=names)``, or batch
    by batch with ``add_batch(predictions=..., references=..., skin_types=...)`` and
    ``compute(class_names=names)``. ``skin_types`` holds ``""`` where the type is not recorded (``evaluate``
    refuses null in a text column).
    """

    def __init__(self, keep_in_memory: bool = True, **kwargs: Any) -> None:
        """Take ``evaluate``'s own options; rows are kept in memory unless told otherwise."""
        super().__init__(keep_in_memory=keep_in_memory, **kwargs)

    def _info(self) -> evaluate.MetricInfo:
        return evaluate.MetricInfo(
            description="Accuracy, macro scores, AUROC, per-class F1 and per-skin-type recall.",
            citation="",
            inputs_description=str(classification_scores.__doc__),
            features=Features(
                {
                    "predictions": SequenceFeature(Value("float64")),
                    "references": Value("int64"),
                    "skin_types": Value("string"),
                }
            ),
        )

    def _compute(
        self,
        *,
        predictions: Any = None,
        references: Any = None,
        skin_types: Any = None,
        class_names: Sequence[str] = (),
    ) -> Scores:
        recorded = [name or None for name in skin_types]
        return classification_scores(references, predictions, class_names=class_names, skin_types=recorded)

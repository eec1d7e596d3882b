import json
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    precision_score,
    recall_score,
    roc_auc_score,
)

from skindiff.classification.metrics import (
    SkinClassificationMetric,
    classification_scores,
    recalls_by_column,
)
from skindiff.classification.weighted_scores import weighted_scores

NAMES = ["alpha", "beta", "gamma", "delta"]


def made_up(classes: int = 4, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, 4))
    logits[np.arange(count), labels] += 1
    chances = np.exp(logits)
    return labels, chances / chances.sum(1, keepdims=True)


def test_recalls_are_of_each_value_of_each_column_that_is_recorded() -> None:
    labels, predicted = np.array([0, 0, 1, 1] * 10), np.array([0, 1, 1, 1] * 10)
    columns = {"sex": ["f", "f", "m", None] * 10, "age": ["old"] * 3 + [None] * 37}
    assert recalls_by_column(labels, predicted, columns) == {
        "sex": {"f": 0.5, "m": 1.0},
        "age": {"old": None},
    }


def test_scores_equal_scikit_learn_where_every_class_is_present() -> None:
    labels, chances = made_up()
    scores = classification_scores(labels, chances, class_names=NAMES)
    predicted = chances.argmax(1)
    expected = {
        "accuracy": accuracy_score(labels, predicted),
        "precision": precision_score(labels, predicted, average="macro"),
        "recall": recall_score(labels, predicted, average="macro"),
        "f1": f1_score(labels, predicted, average="macro"),
        "balanced_accuracy": balanced_accuracy_score(labels, predicted),
        "auroc": roc_auc_score(labels, chances, multi_class="ovr", average="macro"),
    }
    assert {name: scores[name] for name in expected} == pytest.approx(expected)
    assert list(scores["per_class_f1"].values()) == pytest.approx(f1_score(labels, predicted, average=None))


def test_sensitivity_is_read_off_the_roc_curve_where_specificity_is_90_percent() -> None:
    positives, negatives = [0.9, 0.8, 0.6, 0.5], [0.85, 0.7, 0.6, *[0.1] * 17]
    chances = np.array([*positives, *negatives])
    labels = np.array([1] * len(positives) + [0] * len(negatives))
    scores = classification_scores(labels, np.stack([1 - chances, chances], 1), class_names=["no", "yes"])
    # Of 20 negatives two may be called positive: 0.85 and 0.7, so that only 0.9 and 0.8 are found: 0.6 ties.
    # The other way round one of four... none may be, and 17 of 20 lie below the lowest positive.
    assert scores["sensitivity_at_90_specificity"] == pytest.approx((2 / 4 + 17 / 20) / 2)
    found = weighted_scores(labels, np.stack([1 - chances, chances], 1), np.ones((1, len(labels))))
    assert found["sensitivity_at_90_specificity"][0] == scores["sensitivity_at_90_specificity"]


def test_the_calibration_error_is_how_far_confidence_is_from_accuracy() -> None:
    right, wrong = [[0.75, 0.25]] * 6, [[0.75, 0.25]] * 4
    scores = classification_scores([0] * 6 + [1] * 4, right + wrong, class_names=["no", "yes"])
    assert scores["calibration_error"] == pytest.approx(0.15)


def test_an_absent_class_is_null_and_drags_no_average_down() -> None:
    labels, chances = made_up(classes=3)
    scores = classification_scores(labels, chances, class_names=NAMES)
    assert scores["per_class_f1"]["delta"] is None
    assert scores["recall"] == pytest.approx(
        recall_score(labels, chances.argmax(1), labels=[0, 1, 2], average="macro")
    )
    assert scores["f1"] == pytest.approx(np.mean([scores["per_class_f1"][name] for name in NAMES[:3]]))
    assert 0.5 < scores["auroc"] < 1


def test_one_class_alone_has_no_auroc_and_the_row_is_valid_json() -> None:
    scores = classification_scores([1, 1, 1], np.eye(4)[[1, 1, 0]], class_names=NAMES)
    assert scores["auroc"] is None
    assert scores["balanced_accuracy"] == pytest.approx(2 / 3)
    json.dumps(scores, allow_nan=False)


def test_recall_is_given_for_each_skin_type_that_has_enough_images() -> None:
    labels = np.array([0, 0, 0, 1] * 6)
    types = ["V"] * 12 + ["VI"] * 6 + [None] * 6
    chances = np.tile(np.eye(4)[0], (24, 1))
    recall = classification_scores(labels, chances, class_names=NAMES, skin_types=types)[
        "per_skin_type_recall"
    ]
    assert recall == {"V": pytest.approx(0.5), "VI": None}


def test_bad_predictions_are_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(3, 2\)"):
        classification_scores([0, 1, 0], np.ones((3, 2)), class_names=NAMES)
    with pytest.raises(ValueError, match="not all finite"):
        classification_scores([0], np.array([[np.nan, 0, 0, 0]]), class_names=NAMES)


def test_the_evaluate_metric_gives_the_same_scores_batch_by_batch(tmp_path: Path) -> None:
    labels, chances = made_up()
    types = ["V", "VI", "", "I"] * 50
    expected = classification_scores(
        labels, chances, class_names=NAMES, skin_types=[name or None for name in types]
    )
    metric = SkinClassificationMetric(cache_dir=str(tmp_path))
    at_once = metric.compute(predictions=chances, references=labels, skin_types=types, class_names=NAMES)
    assert at_once == expected
    for start in range(0, 200, 64):
        part = slice(start, start + 64)
        metric.add_batch(predictions=chances[part], references=labels[part], skin_types=types[part])
    assert metric.compute(class_names=NAMES) == expected
    assert not [path for path in tmp_path.rglob("*") if path.is_file()]

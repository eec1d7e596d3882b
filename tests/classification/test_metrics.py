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

from skindiff.classification.metrics import SkinClassificationMetric, classification_scores

NAMES = ["alpha", "beta", "gamma", "delta"]


def made_up(classes: int = 4, count: int = 200) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, classes, count)
    logits = rng.normal(size=(count, 4))
    logits[np.arange(count), labels] += 1
    chances = np.exp(logits)
    return labels, chances / chances.sum(1, keepdims=True)


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

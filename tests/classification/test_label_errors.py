"""Labels that the features of an image speak against, and images that are off topic."""

import csv
from pathlib import Path

import numpy as np
import pytest

from skindiff.classification.label_errors import LOOKED_AT, doubt_labels, off_topic
from skindiff.errors import TrainingError
from skindiff.seeding import numpy_generator

CLASSES = 3


def clouds(count: int = 360, width: int = 12) -> tuple[np.ndarray, np.ndarray, list[str]]:
    """Features of three classes that overlap little, two images to a group."""
    random = numpy_generator("clouds")
    labels = np.repeat(np.arange(count // 2) % CLASSES, 2)
    centres = 3.0 * np.eye(CLASSES, width)
    features = centres[labels] + random.standard_normal((count, width))
    return features.astype(np.float32), labels, [f"g{row // 2}" for row in range(count)]


def test_swapped_labels_are_doubted_and_their_own_is_suggested() -> None:
    features, labels, groups = clouds()
    swapped = numpy_generator("swaps").choice(len(labels), 14, replace=False)
    given = labels.copy()
    given[swapped] = (given[swapped] + 1) % CLASSES
    doubts = doubt_labels(features, given, groups, CLASSES)
    assert len(doubts.order) <= LOOKED_AT * len(labels)
    found = np.isin(doubts.order, swapped)
    assert found.mean() > 0.7
    assert found.sum() >= 9
    right = doubts.suggested[swapped] == labels[swapped]
    assert right.sum() >= 9
    np.testing.assert_allclose(doubts.probabilities.sum(axis=1), 1)
    untouched = np.setdiff1d(np.arange(len(labels)), doubts.order)
    np.testing.assert_array_equal(doubts.suggested[untouched], given[untouched])


def test_images_of_a_group_do_not_vouch_for_one_another() -> None:
    features, labels, _ = clouds()
    given = labels.copy()
    given[0:2] = (given[0:2] + 1) % CLASSES
    pairs = [f"g{row // 2}" for row in range(len(labels))]
    features[1] = features[0]  # the same picture twice, and the same wrong label
    assert {0, 1} <= set(doubt_labels(features, given, pairs, CLASSES).order.tolist())


def test_too_few_groups_or_classes_are_refused() -> None:
    features, labels, groups = clouds(36)
    with pytest.raises(TrainingError, match="label errors: 18 groups of 1 classes"):
        doubt_labels(features, np.zeros_like(labels), groups, 1)
    with pytest.raises(TrainingError, match="label errors: 1 groups of 3 classes"):
        doubt_labels(features, labels, ["one"] * len(labels), CLASSES)


def test_what_is_far_from_all_others_is_off_topic() -> None:
    features, _, groups = clouds()
    features[7] = -6.0
    found = off_topic(features, groups)
    assert found.argmax() == 7
    assert found[7] > 1
    assert (found > 1).sum() <= 4


@pytest.mark.slow
def test_swaps_in_ham10000(real_data: Path, tmp_path: Path) -> None:
    from skindiff.classification.suspects import find_suspects
    from skindiff.corpora.cache import resize_to_cache
    from skindiff.corpora.ham10000 import HAM10000

    images = HAM10000.load(HAM10000.config_class(data_dir=str(real_data / "ham10000"))).dataset
    cached = resize_to_cache(images, 128, tmp_path).dataset
    truth = np.asarray(cached["label"])
    random = numpy_generator("swapped labels")
    swapped = random.random(len(truth)) < 0.05
    given = np.where(swapped, (truth + random.integers(1, 7, len(truth))) % 7, truth)
    features = cached.features
    planted = (
        cached.remove_columns("label")
        .add_column("label", given.tolist())
        .cast(
            type(features)(
                {name: features[name] for name in [*(n for n in features if n != "label"), "label"]}
            )
        )
    )
    found = find_suspects(planted, tmp_path / "features")
    doubted = (found["doubt"] > 0).to_numpy()
    with (tmp_path / "suspects.csv").open("w") as file:
        csv.writer(file).writerows(found.to_numpy().tolist())
    assert swapped[doubted].mean() > 0.5
    assert doubted[swapped].mean() > 0.4

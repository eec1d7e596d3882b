"""Rows or weights that make every class, or every class within a skin type, equally likely in training."""

from collections import Counter
from typing import Literal

import numpy as np

from skindiff.corpora.image_table import ImageTable
from skindiff.seeding import numpy_generator

Balance = Literal["class", "class_and_skin_type", "oversample", "none"]


def balancing_weights(table: ImageTable, balance: Balance) -> np.ndarray | None:
    """Return (n,) weights that make every group as likely as any other, or None for no balancing.

    A group is a class, or a class within a skin type; rows whose type is not recorded form groups too.
    :func:`oversampled_rows` is no matter of weights.
    """
    if balance in ("none", "oversample"):
        return None
    groups: list[object] = [int(label) for label in table.labels]
    if balance == "class_and_skin_type":
        groups = list(zip(groups, table.skin_types, strict=True))
    counts = Counter(groups)
    return np.asarray([1.0 / counts[group] for group in groups])


def oversampled_rows(labels: np.ndarray, seed: int) -> np.ndarray:
    """Return rows that hold every class as often as the largest, each row of a class equally often up to one.

    Args:
        labels: (n,) class codes.
        seed: decides which rows of a class are taken once more than the others.
    """
    largest = np.bincount(labels).max()
    order = numpy_generator("oversampling", seed).permutation(len(labels))
    by_class = [order[labels[order] == code] for code in np.unique(labels)]
    return np.concatenate([np.resize(rows, largest) for rows in by_class])

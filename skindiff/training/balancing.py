"""Rows or weights that make every class, or every class within a value of what is scarce, equally likely."""

from collections.abc import Iterable
from typing import Literal

import numpy as np

from skindiff.corpora.image_table import ImageTable
from skindiff.errors import ConfigError
from skindiff.seeding import numpy_generator

Balance = Literal["class", "class_and_attribute", "none"]
ClassifierBalance = Literal[Balance, "oversample"]
BY_BOTH = "class_and_attribute"


def balancing_weights(table: ImageTable, balance: ClassifierBalance) -> np.ndarray | None:
    """Return (n,) weights that make every group as likely as any other, or None for no balancing.

    A group is a class, or a class within a value of what is scarce in the corpus, such as a skin type; rows
    whose value is not recorded form groups too.
    :func:`oversampled_rows` is no matter of weights.
    """
    if balance in ("none", "oversample"):
        return None
    groups = balanced_groups(table, balance)
    return np.asarray(1.0 / np.bincount(groups)[groups])


def drawing_rates(table: ImageTable, balance: ClassifierBalance, seed: int) -> np.ndarray:
    """Return (n,) how often each row is shown relative to the others.

    Args:
        table: the rows.
        balance: what is made equally likely.
        seed: see :func:`oversampled_rows`.
    """
    if balance == "oversample":
        return np.bincount(oversampled_rows(table.labels, seed), minlength=len(table)).astype(float)
    weights = balancing_weights(table, balance)
    return np.ones(len(table)) if weights is None else weights


def balanced_groups(table: ImageTable, balance: ClassifierBalance) -> np.ndarray:
    """Return (n,) codes of the groups that are made equally likely; all rows are of one where none are."""
    groups: list[object] = [None if balance == "none" else int(label) for label in table.labels]
    if balance == BY_BOTH:
        groups = list(zip(groups, table.values, strict=True))
    codes = {group: code for code, group in enumerate(dict.fromkeys(groups))}
    return np.asarray([codes[group] for group in groups], dtype=np.int64)


def refuse_unrecorded(balance: str, values: Iterable[str | None], column: str, setting: str) -> None:
    """Raise ConfigError where classes are to be balanced within values that no training image records.

    Args:
        balance: what is asked for.
        values: of the training images.
        column: of the values.
        setting: that asks, for the message.
    """
    if balance == BY_BOTH and not any(values):
        raise ConfigError(
            f"{setting}: {BY_BOTH} balances {column} too, and no training image records it; take class, or "
            "name what is recorded by corpus.attribute.column"
        )


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
